"""Rank correlations against scipy, and partial ones against residuals of regressions on ranks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.correlation import rank_correlation


@given(st.integers(0, 2**32 - 1), st.integers(5, 40), st.booleans())
def test_plain_is_spearmans(seed: int, rows: int, has_ties: bool) -> None:
    x, y = np.random.default_rng(seed).normal(size=(2, rows))
    if has_ties:
        x = np.round(x)
    found = rank_correlation(x, y, draws=50)
    if np.ptp(x) == 0.0:
        assert np.isnan(found.estimate)
    else:
        assert found.estimate == pytest.approx(stats.spearmanr(x, y).statistic)
        assert found.low <= found.high


@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.integers(1, 3))
def test_partial_is_the_correlation_of_residuals(seed: int, rows: int, held: int) -> None:
    rows += held
    rng = np.random.default_rng(seed)
    controls = rng.normal(size=(held, rows))
    x, y = rng.normal(size=(2, rows)) + controls.sum(axis=0)
    ranks = [stats.rankdata(column) for column in (x, y, *controls)]
    design = np.column_stack([np.ones(rows), *ranks[2:]])
    left = [rank - design @ np.linalg.lstsq(design, rank, rcond=None)[0] for rank in ranks[:2]]
    expected = np.corrcoef(left)[0, 1]
    assert rank_correlation(x, y, list(controls), draws=10).estimate == pytest.approx(expected)


def test_a_common_cause_is_taken_out() -> None:
    rng = np.random.default_rng(1)
    cause = rng.normal(size=400)
    x, y = cause + 0.5 * rng.normal(size=400), cause + 0.5 * rng.normal(size=400)
    plain, partial = rank_correlation(x, y, draws=200), rank_correlation(x, y, [cause], draws=200)
    assert abs(partial.estimate) < 0.3 < 0.6 < plain.low


def test_too_few_rows_or_no_movement_give_nothing() -> None:
    assert np.isnan(rank_correlation([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).estimate)
    assert np.isnan(rank_correlation([1.0] * 9, range(9)).estimate)
    assert np.isnan(rank_correlation(range(9), [*range(8), float("nan")], [range(9)]).estimate)
    with pytest.raises(ValueError, match="one length"):
        rank_correlation([1.0], [1.0, 2.0])
