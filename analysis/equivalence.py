"""Is a difference small? Two one-sided t-tests of paired differences against a margin that was stated beforehand.

A difference that is not significant has not been shown to be small. Here the burden is the other way round: what is
rejected is that the difference is as large as the margin. The margin is a judgement about what matters, made before
looking at the numbers; a margin chosen to pass proves nothing.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.intervals import Interval, t_interval


@dataclass(frozen=True)
class Equivalence:
    """Whether paired differences are within a margin.

    Args:
        margin: The margin, a fraction above 0.
        p_above: Of the test that the mean difference is at most ``-margin``; small: no loss as large as the margin.
        p_below: Of the test that it is at least ``margin``; small: no gain as large as the margin.
        interval: Student's t at level 1 - 2 * significance, whose being within the margins is the same decision.
        significance: Level of each one-sided test.
        pairs: Number of differences.
    """

    margin: float
    p_above: float
    p_below: float
    interval: Interval
    significance: float
    pairs: int

    @property
    def p_value(self) -> float:
        """Of equivalence, the larger of the two; NaN where there is no test."""
        return max(self.p_above, self.p_below) if not np.isnan(self.p_above) else float("nan")

    @property
    def is_equivalent(self) -> bool:
        """Both a loss and a gain as large as the margin are rejected."""
        return bool(self.p_value <= self.significance)

    @property
    def is_noninferior(self) -> bool:
        """A loss as large as the margin is rejected: 'no loss', whatever the gain."""
        return bool(self.p_above <= self.significance)


def equivalence(gaps: npt.ArrayLike, margin: float, significance: float = 0.05) -> Equivalence:
    r"""Two one-sided tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 1987) of paired differences.

    .. math:: t_{-} = \frac{\bar d + m}{s/\sqrt n}, \qquad t_{+} = \frac{\bar d - m}{s/\sqrt n}

    each with n - 1 degrees of freedom. Differences are assumed independent and normal.

    Args:
        gaps: Paired differences, one a run, shape ``(runs,)``; no NaN.
        margin: Smallest difference m that matters, a fraction above 0 (.01 is a point).
        significance: Level of each one-sided test, in (0, .5).

    Returns:
        The result; p-values are NaN for fewer than two differences, and where they have no spread (to
        rounding): identical runs are not repetitions.

    Raises:
        ValueError: If ``margin`` is not above 0, ``significance`` is out of range, or a difference is NaN.

    Example:
        >>> found = equivalence([0.001, -0.002, 0.002, 0.000], margin=0.01)
        >>> found.is_equivalent, round(found.p_value, 4)
        (True, 0.0007)
        >>> equivalence([0.001, -0.002, 0.002, 0.000], margin=0.001).is_equivalent
        False
    """
    if not margin > 0.0:
        raise ValueError(f"margin must be above 0, got {margin}; state the smallest difference that matters")
    if not 0.0 < significance < 0.5:
        raise ValueError(f"significance must lie in (0, 0.5), got {significance}")
    interval = t_interval(gaps, 1.0 - 2.0 * significance)
    values = np.asarray(gaps, dtype=np.float64)
    p_above, p_below = _one_sided(values, margin)
    return Equivalence(margin, p_above, p_below, interval, significance, values.size)


def _one_sided(values: npt.NDArray[np.float64], margin: float) -> tuple[float, float]:
    if values.size < 2:
        return float("nan"), float("nan")
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    # Differences of fractions near 1 carry the rounding of fractions near 1.
    if spread <= 8.0 * np.finfo(np.float64).eps:
        return float("nan"), float("nan")
    error, degrees = spread / np.sqrt(values.size), values.size - 1
    return float(stats.t.sf((mean + margin) / error, degrees)), float(stats.t.cdf((mean - margin) / error, degrees))
