"""Analysis of variance against the textbook sums of squares and statsmodels; contrasts and level means by loops."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.formula.api import ols

from analysis.effects import anova, contrast, level_means


def design(seed: int = 0, runs: int = 3, effect: float = 0.3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {"anchor": a, "sparsity": p, "resample_every": k, "run": f"0/{r}"}
        for a, p, k, r in product(["pretrained", "ema", "latest"], [0.5, 0.9], [1.0, np.inf], range(runs))
    ]
    frame = pd.DataFrame(rows)
    frame["y"] = effect * frame["sparsity"] + 0.1 * frame["run"].str[-1].astype(int) + rng.normal(0, 0.02, len(frame))
    return frame


FACTORS = ["anchor", "sparsity", "resample_every"]


def test_balanced_sums_of_squares_by_hand() -> None:
    frame = design()
    table = anova(frame, "y", FACTORS).set_index("term")
    grand = frame["y"].mean()
    for term in [*FACTORS, "run"]:
        groups = frame.groupby(term)["y"]
        expected = float((groups.size() * (groups.mean() - grand) ** 2).sum())
        assert table.loc[term, "sum_of_squares"] == pytest.approx(expected)
    cells = frame.groupby(["anchor", "sparsity"])["y"].transform("mean")
    mains = sum(frame.groupby(f)["y"].transform("mean") for f in ("anchor", "sparsity"))
    assert table.loc["anchor:sparsity", "sum_of_squares"] == pytest.approx(((cells - mains + grand) ** 2).sum())
    total = ((frame["y"] - grand) ** 2).sum()
    assert table["sum_of_squares"].sum() == pytest.approx(total)
    assert table["degrees"].sum() == len(frame) - 1


def test_unbalanced_design_agrees_with_statsmodels() -> None:
    frame = design().drop(index=[0, 7, 20])
    table = anova(frame, "y", FACTORS).set_index("term")
    plain = frame.assign(k=frame["resample_every"].astype(str))
    fit = ols("y ~ (C(anchor) + C(sparsity) + C(k))**2 + C(run)", plain).fit()
    theirs = sm.stats.anova_lm(fit, typ=2)
    names = {"anchor": "C(anchor)", "sparsity": "C(sparsity)", "anchor:sparsity": "C(anchor):C(sparsity)"}
    for term, name in names.items():
        assert table.loc[term, "f"] == pytest.approx(theirs.loc[name, "F"])
        assert table.loc[term, "p_value"] == pytest.approx(theirs.loc[name, "PR(>F)"])
        squares, error = theirs.loc[name, "sum_sq"], theirs.loc["Residual", "sum_sq"]
        assert table.loc[term, "partial_eta_squared"] == pytest.approx(squares / (squares + error))
        degrees, mean_error = theirs.loc[name, "df"], error / fit.df_resid
        omega = (squares - degrees * mean_error) / (squares + (len(frame) - degrees) * mean_error)
        assert table.loc[term, "partial_omega_squared"] == pytest.approx(omega)


def test_only_what_moves_is_significant() -> None:
    table = anova(design(runs=4), "y", FACTORS).set_index("term")
    assert table.loc["sparsity", "p_value"] < 1e-9
    assert table.loc["run", "p_value"] < 1e-9
    assert table.loc[["anchor", "resample_every"], "p_value"].min() > 0.001


def test_too_little_data_is_refused() -> None:
    frame = design(runs=1)
    with pytest.raises(ValueError, match="more rows than effects"):
        anova(frame, "y", FACTORS, interactions=3)
    with pytest.raises(ValueError, match="two levels"):
        anova(frame[frame["anchor"].eq("ema")], "y", ["anchor"])


def test_contrast_is_the_mean_of_matched_differences() -> None:
    frame = design().drop(index=[3, 11])
    found = contrast(frame, "y", "sparsity", (0.5, 0.9), ["anchor", "resample_every"], np.random.default_rng(0))
    wide = frame.pivot_table(index=["anchor", "resample_every", "run"], columns="sparsity", values="y")
    differences = (wide[0.9] - wide[0.5]).dropna()
    assert found.interval.estimate == pytest.approx(differences.mean())
    assert found.pairs == len(differences)
    assert found.runs == 3
    assert found.interval.excludes_zero
    assert found.interval.low < 0.12 < found.interval.high


def test_contrast_without_a_pair_is_nan() -> None:
    frame = design().query("not (sparsity == 0.9 and anchor != 'ema') and not (sparsity == 0.5 and anchor == 'ema')")
    found = contrast(frame, "y", "sparsity", (0.5, 0.9), ["anchor", "resample_every"], np.random.default_rng(0))
    assert np.isnan(found.interval.estimate)
    assert found.pairs == 0


def test_contrast_covers_an_effect_of_zero() -> None:
    hits = 0
    for seed in range(100):
        frame = design(seed, runs=4, effect=0.0)
        found = contrast(frame, "y", "sparsity", (0.5, 0.9), ["anchor", "resample_every"],
                         np.random.default_rng(seed), draws=300)  # fmt: skip
        hits += not found.interval.excludes_zero
    assert hits >= 85


def test_level_means_are_means_of_complete_groups() -> None:
    frame = design()
    means = level_means(frame, "y", "sparsity", [0.5, 0.9], ["anchor", "resample_every"], np.random.default_rng(0))
    assert [m.estimate for m in means] == pytest.approx(frame.groupby("sparsity")["y"].mean().tolist())
    assert all(m.low < m.estimate < m.high for m in means)
    # The differences of 0.1 between runs are removed: what is left is the noise.
    assert all(m.high - m.low < 0.05 for m in means)
