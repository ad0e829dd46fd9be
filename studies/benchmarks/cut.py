"""Parting a list of labelled files by a seed, class by class: how an ID validation split is cut from training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studies.benchmarks.draws import Draws
from studies.benchmarks.roots import DataError


def cut(
    names: Sequence[str], labels: np.ndarray, *key: str | int, count: int | None = None, fraction: float | None = None
) -> np.ndarray:
    """Chooses equally many files of each class, or an equal part of it.

    A function of the key, the names and the labels: the order of the files does not matter.

    Args:
        names: Names of the files, no two alike.
        labels: Their labels, shape ``(N,)``.
        *key: Strings and integers that name the random stream.
        count: Files to choose of each class that has any.
        fraction: Or the part of each class, in (0, 1), rounded, at least one file; of a class with one file, none.

    Returns:
        Booleans, shape ``(N,)``: which files are chosen.

    Raises:
        ValueError: If not exactly one of ``count`` and ``fraction`` is given, or one is out of range.
        DataError: If a class has no more than ``count`` files, so that none would be left.

    Example:
        >>> cut(["a", "b", "c", "d"], np.array([0, 0, 1, 1]), "seed", 0, count=1).sum()
        np.int64(2)
    """
    if (count is None) == (fraction is None):
        raise ValueError(f"give count or fraction, got count {count} and fraction {fraction}")
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if fraction is not None and not 0 < fraction < 1:
        raise ValueError(f"fraction must lie in (0, 1), got {fraction}")
    chosen = np.zeros(len(names), bool)
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    for members in np.split(order, starts[1:]) if len(order) else ():
        label = int(labels[members[0]])
        taken = count if count is not None else _part(len(members), float(fraction or 0))
        if taken >= len(members) and count is not None:
            raise DataError(
                f"class {label} has {len(members)} training files, {count} are to be cut off for {key[0]}; "
                "choose fewer, or complete the data"
            )
        by_name = np.array(sorted(members.tolist(), key=lambda position: names[position]), np.int64)
        chosen[by_name[Draws(*key, label).order(len(by_name))[:taken]]] = True
    return chosen


def _part(members: int, fraction: float) -> int:
    return min(max(1, int(np.floor(members * fraction + 0.5))), members - 1)
