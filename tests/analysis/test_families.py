"""Adjusted p-values against statsmodels, by hand, and their promise on fabricated families of tests."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.families import benjamini_hochberg, holm, with_family

CHANCES = st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.049, 0.2, 0.5, 1.0, float("nan")])
METHODS = [(holm, "holm"), (benjamini_hochberg, "fdr_bh")]


@pytest.mark.parametrize(("adjust", "name"), METHODS)
@given(values=st.lists(CHANCES, max_size=9))
def test_adjusted_values_are_statsmodels(adjust, name, values: list[float]) -> None:
    found, p_values = adjust(values), np.array(values)
    known = ~np.isnan(p_values)
    assert np.isnan(found[~known]).all()
    if known.any():
        is_rejected, expected, *_ = multipletests(p_values[known], method=name)
        assert found[known] == pytest.approx(expected)
        assert ((found[known] <= 0.05) == is_rejected).all()


def test_by_hand_and_refusals() -> None:
    assert holm([0.01, 0.04, 0.03, float("nan")])[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert benjamini_hochberg([0.01, 0.04, 0.03, float("nan")])[:3] == pytest.approx([0.03, 0.04, 0.04])
    for adjust, _ in METHODS:
        assert adjust([]).size == 0
        for wrong in ([1.5], [-0.1], [[0.5]]):
            with pytest.raises(ValueError, match="p-values must be numbers in"):
                adjust(wrong)


def test_families_are_corrected_apart_and_keep_their_order() -> None:
    frame = pd.DataFrame({"score": ["a", "b", "a", "b", "a"], "p_value": [0.04, 0.04, 0.01, np.nan, 0.03]})
    found = with_family(frame, ["score"])
    assert found["holm_p_value"].to_numpy() == pytest.approx([0.06, 0.04, 0.03, np.nan, 0.06], nan_ok=True)
    assert found["family_tests"].tolist() == [3, 1, 3, 1, 3]
    assert found["is_significant"].tolist() == [False, True, True, False, False]
    whole = with_family(frame)
    assert whole["family"].unique().tolist() == ["all"]
    assert whole["holm_p_value"].to_numpy() == pytest.approx([0.09, 0.09, 0.04, np.nan, 0.09], nan_ok=True)
    assert len(with_family(frame.iloc[:0], ["score"])) == 0
    with pytest.raises(ValueError, match="which it lacks"):
        with_family(frame, ["metric"])
    with pytest.raises(ValueError, match=r"significance must lie in \(0, 1\), got 5"):
        with_family(frame, significance=5)


def test_holm_bounds_any_false_rejection_and_benjamini_hochberg_their_share() -> None:
    """8 of 10 tests have no effect; the bounds are those of the binomial and of a mean's standard error."""
    rng = np.random.default_rng(0)
    families, null = 2000, np.arange(10) < 8
    z_values = rng.normal(size=(families, 10)) + 3.0 * ~null
    p_values = 2 * stats.norm.sf(np.abs(z_values))
    is_wrong = [(holm(row)[null] <= 0.05).any() for row in p_values]
    assert stats.binomtest(int(np.sum(is_wrong)), families, 0.05, alternative="greater").pvalue > 0.001
    shares, found = [], 0
    for row in p_values:
        is_rejected = benjamini_hochberg(row) <= 0.05
        shares.append((is_rejected & null).sum() / max(is_rejected.sum(), 1))
        found += int((is_rejected & ~null).sum())
    assert np.mean(shares) - 3.1 * np.std(shares) / np.sqrt(families) < 0.05 * 0.8
    assert found > sum(int((holm(row)[~null] <= 0.05).sum()) for row in p_values)
