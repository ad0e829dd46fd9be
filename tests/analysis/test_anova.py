"""Analysis of variance against textbook sums of squares and statsmodels; effect sizes' intervals; planted effects."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import special, stats
from statsmodels.formula.api import ols

from analysis.anova import anova, partial_eta_squared_interval
from tests.analysis.coverage import assert_covers, assert_rejects_at_level
from tests.analysis.planted import Truth, plant
from tests.analysis.test_effects import design

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


def test_type_one_and_three_are_statsmodels_on_a_design_with_holes() -> None:
    frame = design().drop(index=[0, 1, 7, 20, 33])
    plain = frame.assign(k=frame["resample_every"].astype(str))
    names = {"anchor": "a", "sparsity": "p", "resample_every": "k", "anchor:sparsity": "a:p", "run": "r"}
    for squares, coding, kind in (("I", "", 1), ("III", ", Sum", 3)):
        model = plain.rename(columns={"anchor": "a", "sparsity": "p", "run": "r"})
        fit = ols(f"y ~ C(r{coding}) + (C(a{coding}) + C(p{coding}) + C(k{coding}))**2", model).fit()
        theirs = sm.stats.anova_lm(fit, typ=kind)
        table = anova(frame, "y", FACTORS, squares=squares).set_index("term")
        assert table["squares"].unique().tolist() == [squares]
        assert "Intercept" not in table.index
        for name, short in names.items():
            term = ":".join(f"C({part}{coding})" for part in short.split(":"))
            assert table.loc[name, "sum_of_squares"] == pytest.approx(theirs.loc[term, "sum_sq"])
            assert table.loc[name, "p_value"] == pytest.approx(theirs.loc[term, "PR(>F)"])
    found = {squares: anova(frame, "y", FACTORS, squares=squares).set_index("term") for squares in ("I", "II", "III")}
    assert found["I"].loc["anchor", "f"] != pytest.approx(found["II"].loc["anchor", "f"], rel=1e-6)
    assert found["III"].loc["anchor", "f"] != pytest.approx(found["II"].loc["anchor", "f"], rel=1e-6)
    # The last term of all is the same question for types I and II.
    last = "sparsity:resample_every"
    assert found["I"].loc[last, "f"] == pytest.approx(found["II"].loc[last, "f"])
    assert found["II"].index.tolist()[-2:] == ["run", "residual"]


def test_all_types_agree_on_a_balanced_design() -> None:
    one, two, three = (anova(design(), "y", FACTORS, squares=squares) for squares in ("I", "II", "III"))
    for table in (one, three):
        assert table["sum_of_squares"].to_numpy() == pytest.approx(two["sum_of_squares"].to_numpy())
    with pytest.raises(ValueError, match="squares must be one of I, II, III, got 2"):
        anova(design(), "y", FACTORS, squares=2)


def test_type_three_is_the_mean_over_levels_with_equal_weight() -> None:
    """Two by two with an interaction and very unequal cells: type III tests the unweighted mean of the two effects."""
    counts = {(0, 0): 2, (0, 1): 9, (1, 0): 8, (1, 1): 3}
    means = {(0, 0): 0.0, (0, 1): 1.0, (1, 0): 2.0, (1, 1): 0.5}
    rng = np.random.default_rng(0)
    rows = [
        {"a": a, "b": b, "run": 0, "y": means[a, b] + rng.normal()} for (a, b), n in counts.items() for _ in range(n)
    ]
    frame = pd.DataFrame(rows)
    cell = frame.groupby(["a", "b"])["y"]
    residual = frame["y"] - cell.transform("mean")
    degrees = len(frame) - 4
    mean_error = (residual**2).sum() / degrees
    m = cell.mean()
    gap = (m[1, 0] + m[1, 1] - m[0, 0] - m[0, 1]) / 2
    f = gap**2 / (mean_error * sum(1 / n for n in counts.values()) / 4)
    found = anova(frame, "y", ["a", "b"], squares="III").set_index("term")
    assert found.loc["a", "f"] == pytest.approx(f)
    assert found.loc["a", "p_value"] == pytest.approx(stats.f.sf(f, 1, degrees))


@pytest.mark.parametrize("case", [(11.221, 4, 50, 55), (1654.8, 1, 152, 208), (2.64, 9, 152, 208), (30.0, 3, 8, 12)])
def test_ends_are_the_noncentralities_of_the_tails(case) -> None:
    f, degrees, error_degrees, rows = case
    for level in (0.9, 0.95):
        low, high = partial_eta_squared_interval(*case, level=level)
        for end, chance in ((low, 0.5 + level / 2), (high, 0.5 - level / 2)):
            noncentrality = end * rows / (1 - end)
            # The noncentral F as a Poisson mixture of central ones.
            terms = np.arange(20_000)
            chances = special.betainc(
                degrees / 2 + terms, error_degrees / 2, degrees * f / (degrees * f + error_degrees)
            )
            mixture = float((stats.poisson.pmf(terms, noncentrality / 2) * chances).sum())
            assert mixture == pytest.approx(chance, abs=1e-8)


def test_small_f_values_begin_at_zero_and_impossible_ones_are_refused() -> None:
    assert partial_eta_squared_interval(0.0, 2, 10, 20) == (0.0, 0.0)
    edge = stats.f.isf(0.025, 2, 10)
    assert partial_eta_squared_interval(edge * 0.999, 2, 10, 20)[0] == 0.0
    assert partial_eta_squared_interval(edge * 1.001, 2, 10, 20)[0] > 0.0
    assert partial_eta_squared_interval(float("inf"), 2, 10, 20) == (1.0, 1.0)
    assert np.isnan(partial_eta_squared_interval(float("nan"), 2, 10, 20)).all()
    for wrong in ((-1.0, 2, 10, 20), (1.0, 0, 10, 20), (1.0, 2, 0, 20)):
        with pytest.raises(ValueError, match="F >= 0, positive degrees"):
            partial_eta_squared_interval(*wrong)


# Sparsity moves OOD alone and directly, by .03 from its first level to its last; errors have the two noises' variance.
DIRECT = Truth(path_a={}, direct={"sparsity": 0.03}, ood_noise=0.03)


@pytest.mark.slow
def test_intervals_cover_the_planted_effect_size() -> None:
    variance = DIRECT.ood_noise**2 + (DIRECT.path_b * DIRECT.diversity_noise) ** 2
    spread = (0.03 / 2) ** 2
    truth = spread / (spread + variance)

    def interval(seed: int) -> tuple[float, float, float]:
        row = anova(plant(seed, DIRECT, runs=4), "ood_score", FACTORS).set_index("term").loc["sparsity"]
        return row["partial_eta_squared_low"], truth, row["partial_eta_squared_high"]

    assert_covers(interval, 0.95)


@pytest.mark.slow
@pytest.mark.parametrize("squares", ["II", "III"])
def test_what_does_not_move_is_seldom_significant_even_with_holes(squares) -> None:
    def is_rejected(seed: int) -> bool:
        frame = plant(seed, DIRECT, runs=4).drop(index=[0, 3, 9, 20, 21])
        return anova(frame, "ood_score", FACTORS, squares=squares).set_index("term").loc["anchor", "p_value"] < 0.05

    assert_rejects_at_level(is_rejected, 0.05, draws=100)


def test_a_planted_interaction_is_found_and_named() -> None:
    table = anova(plant(0, Truth(interaction=0.02), runs=5), "ood_score", FACTORS).set_index("term")
    assert table.loc["anchor:sparsity", "p_value"] < 1e-6
    assert table.loc[["anchor:resample_every", "sparsity:resample_every"], "p_value"].min() > 0.001
