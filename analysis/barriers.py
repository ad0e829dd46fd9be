r"""Barriers of linear mode connectivity: what stands between two models on the straight line of their weights.

Three conventions are in use, and none bounds another; all are 0 for a constant and positive where the middle is worse:

- ``max_barrier_error``, Frankle et al. (ICML 2020, section 2): the largest loss on the path less the MEAN of its ends.
  It is at least half of the ends' difference, also on a path that runs straight downhill.
- ``midpoint_barrier_error``, as in Entezari et al.'s public code (ICLR 2022): mean ACCURACY of the ends less accuracy
  at the midpoint. A barrier beside the midpoint is not seen, and it can be negative.
- ``chord_barrier_error``, Entezari et al.'s definition 1: the largest height of the loss above the straight line
  between its ends. At least 0, and 0 on a path that runs straight downhill.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from analysis.probabilities import Floats


def max_barrier_error(alphas: npt.ArrayLike, losses: npt.ArrayLike) -> float:
    r""":math:`\max_\alpha L(\alpha) - \tfrac12\,(L(0) + L(1))` over the points that were measured.

    Args:
        alphas: Rising places on the path, the first 0 and the last 1, shape ``(points,)``.
        losses: Losses there, or error rates; the barrier has their unit.

    Returns:
        NaN where a loss is NaN.

    Raises:
        ValueError: If shapes do not fit or the path has no ends.

    Example:
        >>> max_barrier_error([0.0, 0.5, 1.0], [1.0, 4.0, 2.0])
        2.5
    """
    _, values = _path(alphas, losses)
    return float(values.max() - 0.5 * (values[0] + values[-1]))


def midpoint_barrier_error(alphas: npt.ArrayLike, accuracies: npt.ArrayLike) -> float:
    r""":math:`\tfrac12\,(A(0) + A(1)) - A(\tfrac12)`, a fraction in [-1, 1]; NaN if the midpoint was not measured.

    Args:
        alphas: As for :func:`max_barrier_error`.
        accuracies: Fractions.

    Example:
        >>> midpoint_barrier_error([0.0, 0.5, 1.0], [0.75, 0.25, 0.75])
        0.5
    """
    places, values = _path(alphas, accuracies)
    middle = np.flatnonzero(np.isclose(places, 0.5))
    return float(0.5 * (values[0] + values[-1]) - values[middle[0]]) if middle.size else float("nan")


def chord_barrier_error(alphas: npt.ArrayLike, losses: npt.ArrayLike) -> float:
    r""":math:`\max_\alpha \bigl[L(\alpha) - (1 - \alpha)\,L(0) - \alpha\,L(1)\bigr]`, at least 0.

    Args:
        alphas: As for :func:`max_barrier_error`.
        losses: Losses there, or error rates.

    Example:
        >>> chord_barrier_error([0.0, 0.5, 1.0], [1.0, 4.0, 2.0])
        2.5
        >>> chord_barrier_error([0.0, 0.5, 1.0], [3.0, 2.0, 1.0])
        0.0
    """
    places, values = _path(alphas, losses)
    return float((values - (1.0 - places) * values[0] - places * values[-1]).max())


def barrier_errors(alphas: npt.ArrayLike, losses: npt.ArrayLike, accuracies: npt.ArrayLike) -> Mapping[str, float]:
    """All three of one path, under their record names.

    Args:
        alphas: As for :func:`max_barrier_error`.
        losses: Cross-entropies there.
        accuracies: Accuracies there, for the convention that is about them.
    """
    return {
        "max_barrier_error": max_barrier_error(alphas, losses),
        "midpoint_barrier_error": midpoint_barrier_error(alphas, accuracies),
        "chord_barrier_error": chord_barrier_error(alphas, losses),
    }


def _path(alphas: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Floats, Floats]:
    places, found = np.asarray(alphas, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if places.ndim != 1 or places.shape != found.shape:
        raise ValueError(f"alphas and values must have one shape (points,), got {places.shape} and {found.shape}")
    if len(places) < 2 or places[0] != 0.0 or places[-1] != 1.0 or not (np.diff(places) > 0).all():
        raise ValueError(f"alphas must rise from 0 to 1, both included, got {places.tolist()}")
    return places, found
