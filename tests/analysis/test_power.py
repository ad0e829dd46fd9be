"""Power against statsmodels and simulation; the smallest effect and the seeds needed as its inverses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower

from analysis.comparisons import paired_p_value
from analysis.power import deviation_interval, minimum_detectable_effect, pairs_needed, power
from tests.analysis.coverage import assert_covers

SIZES = st.floats(0.05, 4.0)


def integrated(size: float, pairs: int, significance: float) -> float:
    """The chance given the sample's deviation, averaged over its distribution."""
    grid = (np.arange(20_000) + 0.5) / 20_000
    spread = np.sqrt(stats.chi2.ppf(grid, pairs - 1) / (pairs - 1))
    edge, shift = stats.t.isf(significance / 2, pairs - 1) * spread, np.sqrt(pairs) * size
    return float((stats.norm.sf(edge - shift) + stats.norm.cdf(-edge - shift)).mean())


@given(SIZES, st.integers(2, 60), st.sampled_from([0.01, 0.05, 0.1]))
def test_power_is_statsmodels_and_the_integral(size: float, pairs: int, significance: float) -> None:
    found = power(-size * 0.02, 0.02, pairs, significance)
    assert found == pytest.approx(integrated(size, pairs, significance), abs=1e-4)
    expected = TTestPower().power(size, pairs, significance, alternative="two-sided")
    # statsmodels has no number far out.
    assert np.isnan(expected) or found == pytest.approx(expected, abs=1e-6)


def test_power_is_how_often_the_test_finds_it() -> None:
    rng = np.random.default_rng(0)
    found = sum(paired_p_value(rng.normal(0.01, 0.008, 5)) < 0.05 for _ in range(2000))
    assert stats.binomtest(found, 2000, power(0.01, 0.008, 5)).pvalue > 1e-3


def test_without_an_effect_power_is_the_significance() -> None:
    assert power(0.0, 1.0, 7, 0.05) == pytest.approx(0.05)
    assert power(1.0, 1.0, 1) == 0.0
    assert power(1e3, 1.0, 5) == 1.0
    assert power(20.0, 1.0, 2) == pytest.approx(integrated(20.0, 2, 0.05), abs=1e-4)
    assert power(900.0, 1.0, 2) == pytest.approx(1.0)


@given(SIZES)
def test_pairs_needed_are_the_fewest(size: float) -> None:
    pairs = pairs_needed(size, 1.0)
    assert power(size, 1.0, pairs) >= 0.8
    assert pairs == 2 or power(size, 1.0, pairs - 1) < 0.8


@given(st.integers(2, 40), st.floats(0.5, 0.95))
def test_the_smallest_effect_has_the_wanted_power(pairs: int, chance: float) -> None:
    effect = minimum_detectable_effect(0.02, pairs, chance)
    assert power(effect, 0.02, pairs) == pytest.approx(chance, abs=1e-6)


def test_refusals() -> None:
    assert np.isnan(minimum_detectable_effect(1.0, 1))
    for call in (lambda: power(1.0, 0.0, 5), lambda: pairs_needed(1.0, -1.0)):
        with pytest.raises(ValueError, match="deviation must be above 0"):
            call()
    with pytest.raises(ValueError, match="the wanted chance between it and 1"):
        minimum_detectable_effect(1.0, 5, chance=0.04)
    with pytest.raises(ValueError, match="no number of pairs finds an effect of 0"):
        pairs_needed(0.0, 1.0)
    with pytest.raises(ValueError, match="needs more than 100000 pairs"):
        pairs_needed(1e-6, 1.0)
    with pytest.raises(ValueError, match="1 NaN"):
        deviation_interval([0.0, float("nan")])
    assert np.isnan(deviation_interval([0.1])).all()


def test_the_deviations_interval_covers() -> None:
    def interval(seed: int) -> tuple[float, float, float]:
        estimate, low, high = deviation_interval(np.random.default_rng(seed).normal(0.3, 0.02, 4))
        assert low < estimate < high
        return low, 0.02, high

    assert_covers(interval, 0.95, draws=1000)
