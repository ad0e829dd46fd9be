"""What a number of seeds can show: power of the paired t-test, the smallest effect it finds, the seeds an effect needs.

All from the standard deviation of paired differences, which few seeds know badly: :func:`deviation_interval` says how
badly, and its upper end is what a careful plan uses.
"""

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

MOST_PAIRS = 100_000


def power(effect: float, deviation: float, pairs: int, significance: float = 0.05) -> float:
    r"""Chance that the two-sided paired t-test finds a true mean difference.

    .. math:: P\bigl(|T_{n-1}(\delta)| > t_{n-1, 1-\alpha/2}\bigr), \qquad \delta = \sqrt n\, |\mu| / \sigma

    with T noncentral t.

    Args:
        effect: True mean difference :math:`\mu`, a fraction, of either sign.
        deviation: Standard deviation :math:`\sigma` of the differences, above 0.
        pairs: Number of pairs n; below 2 there is no test and the power is 0.
        significance: Of the test, in (0, 1).

    Returns:
        A chance in [0, 1].

    Raises:
        ValueError: If ``deviation`` is not above 0 or ``significance`` is out of range.

    Example:
        >>> round(power(effect=0.01, deviation=0.01, pairs=10), 3)
        0.803
    """
    _check(deviation, significance, 0.5)
    if pairs < 2:
        return 0.0
    noncentrality = np.sqrt(pairs) * abs(effect) / deviation
    edge = stats.t.isf(significance / 2, pairs - 1)
    # Far out the distribution is a point far above the edge, and scipy's series gives up.
    if noncentrality > edge + 40.0 * (1.0 + edge):
        return 1.0
    upper, lower = (stats.nct.sf(edge, pairs - 1, noncentrality), stats.nct.cdf(-edge, pairs - 1, noncentrality))
    return float(upper + np.nan_to_num(lower))


def minimum_detectable_effect(deviation: float, pairs: int, chance: float = 0.8, significance: float = 0.05) -> float:
    """The smallest true mean difference that the paired t-test finds with this chance.

    Args:
        deviation: Standard deviation of the differences, above 0.
        pairs: Number of pairs; NaN is returned for fewer than two.
        chance: Wanted power, in (significance, 1).
        significance: Of the two-sided test.

    Returns:
        A fraction above 0.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> round(minimum_detectable_effect(deviation=0.01, pairs=5), 4)
        0.0168
    """
    _check(deviation, significance, chance)
    if pairs < 2:
        return float("nan")
    high = deviation
    while power(high, deviation, pairs, significance) < chance:
        high *= 2.0
    found = optimize.brentq(
        lambda effect: power(effect, deviation, pairs, significance) - chance, 0.0, high, xtol=1e-12
    )
    return float(found)


def detectable_within(low: float, high: float, pairs: int, level: float = 0.95) -> float:
    """:func:`minimum_detectable_effect` at the deviation that a Student's t interval of paired differences tells.

    Args:
        low: Lower end.
        high: Upper end.
        pairs: Number of pairs behind the interval.
        level: Coverage of the interval.

    Returns:
        A fraction above 0; NaN where there is no interval or it has no width.

    Example:
        >>> round(detectable_within(-0.0124, 0.0124, pairs=5), 4)
        0.0168
    """
    if pairs < 2 or np.isnan([low, high]).any() or not high > low:
        return float("nan")
    deviation = (high - low) / 2.0 / float(stats.t.ppf(0.5 + level / 2, pairs - 1)) * np.sqrt(pairs)
    return minimum_detectable_effect(float(deviation), pairs)


def pairs_needed(effect: float, deviation: float, chance: float = 0.8, significance: float = 0.05) -> int:
    """The fewest pairs with which the paired t-test finds a true mean difference with this chance.

    Args:
        effect: True mean difference, not 0.
        deviation: Standard deviation of the differences, above 0.
        chance: Wanted power, in (significance, 1).
        significance: Of the two-sided test.

    Returns:
        At least 2.

    Raises:
        ValueError: If an argument is out of range, or more than 100 000 pairs were needed.

    Example:
        >>> pairs_needed(effect=0.01, deviation=0.01)
        10
    """
    _check(deviation, significance, chance)
    if effect == 0.0 or np.isnan(effect):
        raise ValueError(f"no number of pairs finds an effect of {effect}; state the smallest one that matters")
    if power(effect, deviation, MOST_PAIRS, significance) < chance:
        raise ValueError(
            f"an effect of {effect} with deviation {deviation} needs more than {MOST_PAIRS} pairs; "
            "state a larger effect or lower the deviation (more test images, blocks)"
        )
    low, high = 1, 2
    while power(effect, deviation, high, significance) < chance:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, deviation, middle, significance) >= chance else (middle, high)
    return high


def deviation_interval(gaps: npt.ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    r"""Standard deviation of differences with its interval, :math:`(n-1)s^2/\sigma^2 \sim \chi^2_{n-1}`.

    Args:
        gaps: Differences, shape ``(pairs,)``; no NaN.
        level: Nominal coverage in (0, 1), for normal differences.

    Returns:
        ``(estimate, low, high)``; NaN for fewer than two.

    Raises:
        ValueError: If a difference is NaN or ``level`` is out of range.

    Example:
        >>> [round(end, 2) for end in deviation_interval([0.0, 1.0, 2.0])]
        [1.0, 0.52, 6.28]
    """
    values = np.asarray(gaps, dtype=np.float64)
    if values.ndim != 1 or np.isnan(values).any() or not 0.0 < level < 1.0:
        raise ValueError(
            f"a deviation is of numbers of shape (pairs,) without NaN at a level in (0, 1), got shape {values.shape} "
            f"with {int(np.isnan(values).sum())} NaN and level {level}"
        )
    if values.size < 2:
        return float("nan"), float("nan"), float("nan")
    degrees, estimate = values.size - 1, float(values.std(ddof=1))
    tails = stats.chi2.ppf([0.5 + level / 2, 0.5 - level / 2], degrees)
    low, high = estimate * np.sqrt(degrees / tails)
    return estimate, float(low), float(high)


def _check(deviation: float, significance: float, chance: float) -> None:
    if not deviation > 0.0:
        raise ValueError(f"deviation must be above 0, got {deviation}")
    if not 0.0 < significance < 1.0 or not significance < chance < 1.0:
        raise ValueError(
            f"significance must lie in (0, 1) and the wanted chance between it and 1, got {significance} and {chance}"
        )
