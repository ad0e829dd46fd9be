r"""Where models lie in the space of their weights: distances, angles and changed entries, in all and per layer.

A model is a mapping from names to arrays; a layer is one of them. Everything is computed in double precision.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Weights = Mapping[str, npt.NDArray[Any]]


def distance(first: Weights, second: Weights) -> float:
    """Euclidean distance of two models over all entries.

    Raises:
        ValueError: If names or shapes differ.

    Example:
        >>> distance({"a": np.array([0.0, 0.0])}, {"a": np.array([3.0, 4.0])})
        5.0
    """
    return float(np.sqrt(sum(float(np.vdot(gap, gap)) for _, gap in _gaps(second, first))))


def update_angle(first: Weights, second: Weights, origin: Weights) -> float:
    r"""Angle between two models' ways from a common origin, in radians, in [0, :math:`\pi`]; NaN if one has none.

    0 is the same direction, :math:`\pi/2` unrelated ones, as of two random vectors in many dimensions.

    Raises:
        ValueError: If names or shapes differ.

    Example:
        >>> o = {"a": np.zeros(2)}
        >>> round(update_angle({"a": np.array([1.0, 0.0])}, {"a": np.array([0.0, 5.0])}, o) / np.pi, 3)
        0.5
    """
    ways = zip(_gaps(first, origin), _gaps(second, origin), strict=True)
    products = np.array([[np.vdot(a, b), np.vdot(a, a), np.vdot(b, b)] for (_, a), (_, b) in ways])
    return _angle(*products.reshape(-1, 3).sum(axis=0))


def layer_updates(model: Weights, origin: Weights) -> pd.DataFrame:
    """How far each layer has moved from an origin.

    Args:
        model: The weights.
        origin: Names and shapes alike.

    Returns:
        A row a layer: ``layer``, ``entries``, ``distance``, ``relative_distance`` (to the length of the origin's
        layer; NaN where that is 0), ``changed_fraction`` (entries that differ at all).

    Raises:
        ValueError: If names or shapes differ.

    Example:
        >>> found = layer_updates({"a": np.array([3.0, 2.0])}, {"a": np.array([3.0, 4.0])})
        >>> found[["distance", "relative_distance", "changed_fraction"]].to_numpy().tolist()
        [[2.0, 0.4, 0.5]]
    """
    rows = []
    for name, gap in _gaps(model, origin):
        length, moved = float(np.linalg.norm(np.asarray(origin[name], np.float64))), float(np.linalg.norm(gap))
        rows.append({
            "layer": name, "entries": gap.size, "distance": moved,
            "relative_distance": moved / length if length else float("nan"),
            "changed_fraction": np.count_nonzero(gap) / gap.size if gap.size else float("nan"),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=["layer", "entries", "distance", "relative_distance", "changed_fraction"])


def layer_angles(members: Sequence[Weights], origin: Weights) -> pd.DataFrame:
    """Mean angle between members' ways from an origin over pairs of members, per layer.

    Args:
        members: At least two models.
        origin: What they started from.

    Returns:
        A row a layer: ``layer``, ``angle`` (radians; pairs with a member that has not moved there are left out, NaN if
        none is left).

    Raises:
        ValueError: If names or shapes differ.

    Example:
        >>> members = [{"a": np.array([1.0])}, {"a": np.array([-2.0])}]
        >>> layer_angles(members, {"a": np.zeros(1)})["angle"].round(3).tolist()
        [3.142]
    """
    ways = [dict(_gaps(member, origin)) for member in members]
    rows = []
    for name in origin:
        flat = np.stack([way[name].ravel() for way in ways]) if ways else np.empty((0, 0))
        products = flat @ flat.T
        pairs = [_angle(products[i, j], products[i, i], products[j, j]) for i, j in combinations(range(len(ways)), 2)]
        defined = [angle for angle in pairs if not np.isnan(angle)]
        rows.append({"layer": name, "angle": float(np.mean(defined)) if defined else float("nan")})
    return pd.DataFrame(rows, columns=["layer", "angle"])


def average(members: Sequence[Weights]) -> dict[str, npt.NDArray[np.float64]]:
    """The members' mean weights.

    Raises:
        ValueError: If there is none, or names differ.

    Example:
        >>> average([{"a": np.array([1.0])}, {"a": np.array([2.0])}])["a"].tolist()
        [1.5]
    """
    if not members or any(member.keys() != members[0].keys() for member in members):
        raise ValueError(f"an average needs members with the same layers, got {len(members)} members")
    return {name: np.mean([np.asarray(member[name], np.float64) for member in members], axis=0) for name in members[0]}


def locality(members: Sequence[Weights]) -> float:
    """Largest distance of a member from the members' average: DiWA's locality (Rame et al., NeurIPS 2022).

    Raises:
        ValueError: If there is none, or names differ.

    Example:
        >>> locality([{"a": np.array([0.0])}, {"a": np.array([4.0])}, {"a": np.array([5.0])}])
        3.0
    """
    centre = average(members)
    return max(distance(member, centre) for member in members)


def _gaps(model: Weights, origin: Weights) -> list[tuple[str, npt.NDArray[np.float64]]]:
    if model.keys() != origin.keys():
        odd = sorted(model.keys() ^ origin.keys())[0]
        raise ValueError(f"both models must have the same layers, but only one has {odd!r}")
    gaps = []
    for name, start in origin.items():
        if np.shape(model[name]) != np.shape(start):
            raise ValueError(f"layer {name!r} must have one shape, got {np.shape(model[name])} and {np.shape(start)}")
        gaps.append((name, np.asarray(model[name], np.float64) - np.asarray(start, np.float64)))
    return gaps


def _angle(product: float, first: float, second: float) -> float:
    if not (first > 0 and second > 0):
        return float("nan")
    return float(np.arccos(np.clip(product / np.sqrt(first) / np.sqrt(second), -1.0, 1.0)))
