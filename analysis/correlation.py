"""Do two columns move together, and do they still when others are held equal? Rank correlations with intervals."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.intervals import Interval
from analysis.probabilities import Floats

FEWEST = 4


def rank_correlation(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    held: Sequence[npt.ArrayLike] = (),
    rng: np.random.Generator | None = None,
    over: str = "settings",
    level: float = 0.95,
    draws: int = 1000,
) -> Interval:
    r"""Spearman's correlation, or the partial one with other columns held equal; bootstrap over rows.

    With the inverse :math:`P` of the matrix of rank correlations of all columns,

    .. math:: \rho_{12 \cdot \mathrm{held}} = \frac{-P_{12}}{\sqrt{P_{11} P_{22}}},

    which is the correlation of what linear fits on the ranks of the held columns leave of the ranks of the two. What is
    held must not itself be an outcome of both, or it makes a correlation where there is none. Rows are drawn as if
    they were independent; settings that share levers are not, so the interval is somewhat narrow.

    Args:
        first: Shape ``(rows,)``; rows with a NaN in any column are left out.
        second: Likewise.
        held: Columns, each likewise.
        rng: Source of the draws; by default of seed 0.
        over: What the rows are.
        level: Nominal coverage, in (0, 1).
        draws: Resamples.

    Returns:
        The interval; NaN where there are fewer than ``FEWEST`` rows beyond the held columns, or a column does not move
        beside the others.

    Raises:
        ValueError: If the columns have different lengths.

    Example:
        >>> x = np.arange(8.0)
        >>> round(rank_correlation(x, x**3).estimate, 3)
        1.0
        >>> pull = np.array([0.0, 1, 0, 1, 0, 1, 0, 1])
        >>> round(rank_correlation(x + 9 * pull, 9 * pull - x).estimate, 3)
        0.524
        >>> round(rank_correlation(x + 9 * pull, 9 * pull - x, [pull]).estimate, 3)
        -1.0
    """
    columns = [np.asarray(column, dtype=np.float64) for column in (first, second, *held)]
    if len({column.shape for column in columns}) > 1:
        raise ValueError(f"columns must have one length, got shapes {', '.join(str(c.shape) for c in columns)}")
    rows = np.stack(columns, axis=1)
    rows = rows[np.isfinite(rows).all(axis=1)]
    nothing = Interval(float("nan"), float("nan"), float("nan"), level, over, "percentile")
    if len(rows) < FEWEST + len(held):
        return nothing
    estimate = float(_partial(rows[None])[0])
    if np.isnan(estimate):
        return nothing
    picks = (rng or np.random.default_rng(0)).integers(len(rows), size=(draws, len(rows)))
    found = _partial(rows[picks])
    low, high = np.nanquantile(found, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(estimate, float(low), float(high), level, over, "percentile")


def _partial(samples: Floats) -> Floats:
    """The partial rank correlation of the first two columns in each sample, shape ``(samples, rows, columns)``."""
    ranks = stats.rankdata(samples, axis=1)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    moments = np.einsum("sri,srj->sij", centred, centred)
    spread = np.sqrt(np.einsum("sii->si", moments))
    is_moving = (spread > 0.0).all(axis=1)
    safe = np.where(spread > 0.0, spread, 1.0)
    matrix = moments / (safe[:, :, None] * safe[:, None, :])
    if matrix.shape[1] == 2:
        return np.where(is_moving, matrix[:, 0, 1], np.nan)
    held, ours = matrix[:, 2:, 2:], matrix[:, :2, 2:]
    # What the held columns leave of the two, by the Schur complement: no inverse of what may be singular.
    left = matrix[:, :2, :2] - ours @ np.linalg.pinv(held, hermitian=True) @ ours.transpose(0, 2, 1)
    scale = left[:, 0, 0] * left[:, 1, 1]
    is_known = is_moving & (left[:, 0, 0] > 1e-9) & (left[:, 1, 1] > 1e-9)
    return np.where(is_known, left[:, 0, 1] / np.sqrt(np.where(is_known, scale, 1.0)), np.nan)
