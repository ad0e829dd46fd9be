"""The Pareto front of the ID–OOD plane: points that no other point beats on one axis without losing on the other."""

import numpy as np
import numpy.typing as npt


def pareto_front(id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which points are non-dominated, higher being better on both axes.

    A point is dominated by another that is at least as good on both axes and better on one. Equal points do not
    dominate each other: both are on the front or neither. A point with a NaN is not on it and dominates nothing. The
    front describes test scores; no setting may be chosen by it.

    Args:
        id_scores: Shape ``(points,)``.
        ood_scores: Same shape.

    Returns:
        Shape ``(points,)``; True where the point is on the front.

    Raises:
        ValueError: If the shapes differ or are not one-dimensional.

    Example:
        >>> pareto_front([0.5, 0.6, 0.7, 0.6], [0.8, 0.9, 0.7, 0.5]).tolist()
        [False, True, True, False]
    """
    x, y = np.asarray(id_scores, dtype=np.float64), np.asarray(ood_scores, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"points have one ID and one OOD each, shape (points,), got shapes {x.shape} and {y.shape}")
    is_on = np.zeros(x.shape, dtype=bool)
    best = -np.inf
    known = np.flatnonzero(~(np.isnan(x) | np.isnan(y)))
    # From the best ID down: a point is on the front if its OOD beats that of every point with a better ID, and equals
    # the best among those with its own ID.
    for value in sorted(set(x[known].tolist()), reverse=True):
        level = known[x[known] == value]
        highest = y[level].max()
        if highest > best:
            is_on[level[y[level] == highest]] = True
            best = highest
    return is_on
