"""Equivalence against scipy's one-sided tests and statsmodels, its interval, and its error rate at the margin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from analysis.equivalence import equivalence
from tests.analysis.coverage import assert_rejects_at_level

GAPS = st.lists(st.integers(-50, 50), min_size=2, max_size=9).filter(lambda values: len(set(values)) > 1)


@given(GAPS, st.integers(1, 60))
def test_it_is_two_one_sided_t_tests(values: list[int], margin: int) -> None:
    gaps = np.array(values, dtype=float)
    found = equivalence(gaps, margin)
    assert found.p_above == pytest.approx(stats.ttest_1samp(gaps, -margin, alternative="greater").pvalue)
    assert found.p_below == pytest.approx(stats.ttest_1samp(gaps, margin, alternative="less").pvalue)
    expected = ttost_paired(gaps, np.zeros(len(gaps)), -margin, margin)[0]
    assert found.p_value == pytest.approx(expected)


@given(GAPS, st.integers(1, 60))
def test_the_interval_within_the_margins_is_the_same_decision(values: list[int], margin: int) -> None:
    found = equivalence(np.array(values, dtype=float), margin)
    is_within = -margin < found.interval.low and found.interval.high < margin
    assert found.interval.level == pytest.approx(0.9)
    # At the edge itself rounding decides.
    if abs(found.p_value - 0.05) > 1e-9:
        assert found.is_equivalent == is_within
        assert found.is_noninferior == (found.interval.low > -margin) or abs(found.p_above - 0.05) < 1e-9


def test_a_large_gain_is_no_loss_but_not_equivalent() -> None:
    found = equivalence([0.05, 0.06, 0.055, 0.052], margin=0.01)
    assert found.is_noninferior
    assert not found.is_equivalent
    back = equivalence([-0.05, -0.06, -0.055, -0.052], margin=0.01)
    assert not back.is_noninferior
    assert back.p_below == pytest.approx(found.p_above)


@pytest.mark.parametrize("gaps", [[], [0.001], [0.002, 0.002, 0.002]])
def test_without_spread_nothing_is_shown(gaps) -> None:
    found = equivalence(gaps, margin=0.01)
    assert np.isnan(found.p_value)
    assert not found.is_equivalent
    assert not found.is_noninferior
    assert found.pairs == len(gaps)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="margin must be above 0, got 0"):
        equivalence([0.0, 0.1], margin=0)
    with pytest.raises(ValueError, match=r"significance must lie in \(0, 0.5\), got 0.5"):
        equivalence([0.0, 0.1], margin=0.1, significance=0.5)
    with pytest.raises(ValueError, match="1 NaN"):
        equivalence([0.0, float("nan")], margin=0.1)


@pytest.mark.parametrize("truth", [-0.01, 0.01])
def test_a_difference_of_the_margin_seldom_passes(truth: float) -> None:
    def is_passed(seed: int) -> bool:
        gaps = np.random.default_rng(seed).normal(truth, 0.005, 5)
        return equivalence(gaps, margin=0.01).is_equivalent

    assert_rejects_at_level(is_passed, 0.05, draws=2000)


def test_no_difference_passes_as_often_as_theory_says() -> None:
    """For true mean 0 the power is the chance that the interval is within; known by integrating over the deviation."""
    pairs, deviation, margin = 6, 0.006, 0.01
    grid = (np.arange(4000) + 0.5) / 4000
    spread = deviation * np.sqrt(stats.chi2.ppf(grid, pairs - 1) / (pairs - 1))
    room = (margin - stats.t.isf(0.05, pairs - 1) * spread / np.sqrt(pairs)) / (deviation / np.sqrt(pairs))
    expected = float(np.where(room > 0, 2 * stats.norm.cdf(room) - 1, 0.0).mean())
    rng = np.random.default_rng(0)
    passed = sum(equivalence(rng.normal(0, deviation, pairs), margin).is_equivalent for _ in range(2000))
    assert 0.3 < expected < 0.97
    assert stats.binomtest(passed, 2000, expected).pvalue > 1e-3
