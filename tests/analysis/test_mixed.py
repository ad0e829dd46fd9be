"""Mixed models against the classical analysis of variance, statsmodels and brute force; planted variances."""

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import optimize, stats

from analysis.mixed import mixed_model
from analysis.variances import restricted
from tests.analysis.coverage import DRAWS, assert_covers, assert_rejects_at_level
from tests.analysis.planted import Truth, plant

LEVERS = ["anchor", "sparsity", "resample_every"]
TRUTH = Truth(run_spread=0.04, path_a={}, direct={"sparsity": 0.03})
# What the planted errors add up to: diversity's noise reaches OOD along path b.
ERROR = TRUTH.ood_noise**2 + (TRUTH.path_b * TRUTH.diversity_noise) ** 2
SMALL = {"sparsity": [0.5, 0.9], "anchor": ["pretrained", "ema"]}


def by_name(found) -> pd.DataFrame:
    return found.variances.set_index("component")["variance"]


def test_a_balanced_design_is_the_nested_analysis_of_variance() -> None:
    frame = plant(1, TRUTH, runs=5, benchmarks=6)
    found = mixed_model(frame, "ood_score", LEVERS, varying=(), has_intervals=False)
    y, cells = frame["ood_score"], 8
    runs = frame.groupby(["benchmark", "run"])["ood_score"]
    places = frame.groupby("benchmark")["ood_score"]
    of_places = 5 * cells * ((places.mean() - y.mean()) ** 2).sum() / 5
    of_runs = cells * (
        (runs.mean() - places.transform("mean").groupby([frame["benchmark"], frame["run"]]).first()) ** 2
    )
    of_runs = of_runs.sum() / (6 * 4)
    residual = y - runs.transform("mean")
    for lever in LEVERS:
        residual -= frame.groupby(lever)["ood_score"].transform("mean") - y.mean()
    degrees = 6 * 5 * (cells - 1) - 3
    error = (residual**2).sum() / degrees
    expected = {"residual": error, "run": (of_runs - error) / cells, "benchmark": (of_places - of_runs) / (5 * cells)}
    for component, variance in expected.items():
        assert by_name(found)[component] == pytest.approx(variance, rel=1e-4)
    assert found.variances["units"].tolist() == [6, 30, 240]
    assert found.variances["share"].sum() == pytest.approx(1.0)
    row = found.effects.set_index("lever").loc["sparsity"]
    means = frame.groupby("sparsity")["ood_score"].mean()
    assert row["effect"] == pytest.approx(means[0.9] - means[0.5])
    assert row["standard_error"] == pytest.approx(np.sqrt(error * 2 / 120), rel=1e-4)
    assert row["degrees"] == degrees
    half = stats.t.ppf(0.975, degrees) * row["standard_error"]
    assert (row["low"], row["high"]) == pytest.approx((row["effect"] - half, row["effect"] + half))


def test_an_effect_that_varies_is_a_paired_test_over_benchmarks() -> None:
    frame = plant(3, Truth(varying={"sparsity": 0.04}), runs=4, benchmarks=7)
    found = mixed_model(frame, "ood_score", ["sparsity"], has_intervals=False).effects.iloc[0]
    means = frame.pivot_table(index="benchmark", columns="sparsity", values="ood_score")
    theirs = stats.ttest_rel(means[0.9], means[0.5])
    assert found["effect"] == pytest.approx((means[0.9] - means[0.5]).mean())
    assert found["p_value"] == pytest.approx(theirs.pvalue, rel=1e-3)
    assert (found["degrees"], found["groups"]) == (6, 7)
    ends = theirs.confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((ends.low, ends.high), rel=1e-3)


@pytest.mark.parametrize("varying", [(), ("sparsity",)])
def test_a_design_with_holes_agrees_with_statsmodels(varying) -> None:
    frame = plant(5, Truth(varying={"sparsity": 0.05}), runs=3, benchmarks=5)
    frame = frame.drop(index=[0, 3, 17, 18, 40, 41, 42, 77])
    found = mixed_model(frame, "ood_score", LEVERS, varying=varying, has_intervals=False)
    plain = frame.assign(k=frame["resample_every"].astype(str), a=frame["anchor"].map({"pretrained": "0", "ema": "1"}))
    parts = {"run": "0 + C(run)"} | {f"benchmark:{name}": f"0 + C({name})" for name in varying}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = smf.mixedlm("ood_score ~ C(a) + C(k) + C(sparsity)", plain, groups="benchmark", vc_formula=parts,
                            re_formula="1")  # fmt: skip
        theirs = model.fit(reml=True)
    assert theirs.converged
    assert by_name(found)["benchmark"] == pytest.approx(theirs.cov_re.iloc[0, 0], rel=2e-2)
    assert by_name(found)["residual"] == pytest.approx(theirs.scale, rel=1e-3)
    for name, variance in zip(model.exog_vc.names, theirs.vcomp):
        assert by_name(found)[name] == pytest.approx(variance, rel=2e-2, abs=1e-7)
    effects = found.effects.set_index("lever")
    for lever, name in {"anchor": "C(a)[T.1]", "sparsity": "C(sparsity)[T.0.9]"}.items():
        assert effects.loc[lever, "effect"] == pytest.approx(theirs.fe_params[name], rel=1e-3)
        assert effects.loc[lever, "standard_error"] == pytest.approx(theirs.bse_fe[name], rel=1e-2)


def test_an_interaction_is_a_paired_test_of_differences_of_differences_over_benchmarks() -> None:
    truth = Truth(levels=SMALL, interaction=0.02, varying={"sparsity": 0.08, "anchor": 0.08})
    frame = plant(5, truth, runs=2, benchmarks=6)
    rng = np.random.default_rng(1)
    # An interaction that differs between benchmarks, too, so that no variance is estimated as zero.
    own = frame["benchmark"].map({name: rng.normal(0.0, 0.05) for name in frame["benchmark"].unique()})
    frame["ood_score"] += own * frame["x_anchor"] * frame["x_sparsity"]
    pair = ("anchor", "sparsity")
    found = mixed_model(frame, "ood_score", list(pair), has_intervals=False, interactions=[pair])
    means = frame.pivot_table(index="benchmark", columns=list(pair), values="ood_score")
    change = means["ema", 0.9] - means["pretrained", 0.9] - means["ema", 0.5] + means["pretrained", 0.5]
    theirs = stats.ttest_1samp(change, 0.0)
    row = found.effects.set_index("lever").loc["anchor:sparsity"]
    assert (row["from_level"], row["to_level"], row["degrees"]) == ("pretrained:0.5", "ema:0.9", 5)
    assert row["effect"] == pytest.approx(change.mean())
    assert row["p_value"] == pytest.approx(theirs.pvalue, rel=1e-3)
    # The main effect stays the mean over the other lever's levels.
    lever = (means["ema"] - means["pretrained"]).mean(axis=1)
    assert found.effects.set_index("lever").loc["anchor", "effect"] == pytest.approx(lever.mean())
    assert "benchmark:anchor:sparsity" in set(found.variances["component"])


def test_interactions_of_fixed_effects_agree_with_statsmodels() -> None:
    frame = plant(5, Truth(interaction=0.02), runs=3, benchmarks=4)
    pair = ("anchor", "sparsity")
    found = mixed_model(frame, "ood_score", LEVERS, varying=(), has_intervals=False, interactions=[pair])
    plain = frame.assign(a=frame["anchor"].eq("ema") - 0.5, p=frame["sparsity"].eq(0.9) - 0.5,
                         k=frame["resample_every"].eq(10.0) - 0.5)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = smf.mixedlm("ood_score ~ a * p + k", plain, groups="benchmark", vc_formula={"run": "0 + C(run)"},
                            re_formula="1")  # fmt: skip
        theirs = model.fit(reml=True)
    effects = found.effects.set_index("lever")
    for ours, name in {"anchor": "a", "sparsity": "p", "resample_every": "k", "anchor:sparsity": "a:p"}.items():
        assert effects.loc[ours, "effect"] == pytest.approx(theirs.fe_params[name], abs=1e-6)
        assert effects.loc[ours, "standard_error"] == pytest.approx(theirs.bse_fe[name], rel=1e-2)
    with pytest.raises(ValueError, match="varying anchor:sparsity"):
        mixed_model(frame, "ood_score", LEVERS, varying=["anchor:sparsity"], has_intervals=False)


@pytest.mark.slow
def test_intervals_cover_a_planted_interaction() -> None:
    pair = ("anchor", "sparsity")

    def interval(seed: int) -> tuple[float, float, float]:
        frame = plant(seed, Truth(levels=SMALL, interaction=0.01), runs=3, benchmarks=4)
        found = mixed_model(frame, "ood_score", list(pair), varying=(), has_intervals=False, interactions=[pair])
        row = found.effects.set_index("lever").loc["anchor:sparsity"]
        return row["low"], 4 * 0.01, row["high"]

    assert_covers(interval, 0.95)


def test_the_likelihood_and_its_slope_are_those_of_the_whole_matrices() -> None:
    rng = np.random.default_rng(0)
    fixed = np.stack([np.ones(14), rng.normal(size=14)], axis=1)
    units = {"a": np.eye(4)[rng.integers(4, size=14)], "b": np.eye(3)[rng.integers(3, size=14)]}
    y = rng.normal(size=14)
    found = restricted(y, fixed, units)

    def whole(variances) -> float:
        covariance = variances[2] * np.eye(14) + sum(v * z @ z.T for v, z in zip(variances, units.values()))
        inverse = np.linalg.inv(covariance)
        inner = fixed.T @ inverse @ fixed
        rest = y - fixed @ np.linalg.solve(inner, fixed.T @ inverse @ y)
        return -0.5 * (np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(inner)[1] + rest @ inverse @ rest)

    points = rng.uniform(0.1, 2.0, size=(5, 3))
    gaps = [found.value(point) - whole(point) for point in points]
    assert gaps == pytest.approx([gaps[0]] * 5, abs=1e-9)
    slope = optimize.approx_fprime(points[0], lambda point: -found.value(point), 1e-7)
    assert found._loss_and_slope(points[0])[1] == pytest.approx(slope, rel=1e-4)
    _, top = found.top
    grid = np.linspace(1e-3, 4.0, 9)
    assert top >= max(found.value((a, b, c)) for a in [0.0, *grid] for b in [0.0, *grid] for c in grid) - 1e-9


def test_intervals_end_where_the_likelihood_ratio_does() -> None:
    """One way, balanced: with very many rows a group, squares of groups' means have the law of chi squared."""
    rng = np.random.default_rng(3)
    means = rng.normal(0.0, 0.1, 9)
    frame = pd.DataFrame({
        "benchmark": np.repeat(np.arange(9), 60), "run": 0, "sparsity": np.tile([0.5, 0.9], 270),
        "y": np.repeat(means, 60) + rng.normal(0.0, 1e-3, 540),
    })  # fmt: skip
    row = mixed_model(frame, "y", ["sparsity"], varying=()).variances.set_index("component").loc["benchmark"]
    mean_square = frame.groupby("benchmark")["y"].mean().var()

    def gap(ratio: float) -> float:
        return 8 * (np.log(ratio) + 1 / ratio - 1) - stats.chi2.ppf(0.95, 1)

    low, high = optimize.brentq(gap, 1e-2, 1.0), optimize.brentq(gap, 1.0, 50.0)
    assert (row["low"], row["high"]) == pytest.approx((low * mean_square, high * mean_square), rel=1e-2)


def test_a_variance_of_nothing_is_zero_with_an_interval_from_zero() -> None:
    frame = plant(2, Truth(benchmark_spread=0.0, run_spread=0.0, path_a={}), runs=3, benchmarks=5)
    found = mixed_model(frame, "ood_score", LEVERS, varying=()).variances.set_index("component")
    assert (found.loc[["benchmark", "run"], "low"] == 0.0).all()
    assert (found["high"] > found["variance"]).all()
    assert found["variance"].min() >= 0.0


def test_several_levels_names_and_what_is_left_out() -> None:
    truth = Truth(levels={"anchor": ["pretrained", "ema", "latest"], "sparsity": [0.5, 0.9]}, direct={"anchor": 0.04})
    frame = plant(0, truth, runs=2, benchmarks=4).assign(resample_every=10.0)
    found = mixed_model(frame, "ood_score", LEVERS, has_intervals=False)
    assert found.effects["lever"].tolist() == ["anchor", "anchor", "sparsity"]
    assert found.effects["to_level"].tolist() == ["ema", "latest", "0.9"]
    assert found.effects["degrees"].tolist() == [6, 6, 3]
    assert found.variances["component"].tolist() == [
        "benchmark", "run", "benchmark:anchor", "benchmark:sparsity", "residual"
    ]  # fmt: skip
    # A run name that benchmarks share is a run of each, and one run a benchmark is no component.
    alone = mixed_model(frame[frame["run"].eq("0/0")], "ood_score", ["sparsity"], varying=(), has_intervals=False)
    assert alone.variances["component"].tolist() == ["benchmark", "residual"]
    # The order of rows is of no account.
    shuffled = mixed_model(frame.sample(frac=1.0, random_state=1), "ood_score", LEVERS, has_intervals=False)
    pd.testing.assert_frame_equal(shuffled.effects, found.effects, rtol=1e-4)


def test_what_cannot_be_modelled_is_refused() -> None:
    frame = plant(0, TRUTH, runs=2, benchmarks=3)
    with pytest.raises(ValueError, match="at least two of them, got 1; take an analysis of variance"):
        mixed_model(frame[frame["benchmark"].eq("place0")], "ood_score", LEVERS)
    with pytest.raises(ValueError, match="a lever with two levels"):
        mixed_model(frame[frame["sparsity"].eq(0.5)], "ood_score", ["sparsity"])
    with pytest.raises(ValueError, match="varying count"):
        mixed_model(frame, "ood_score", LEVERS, varying=["count"])
    with pytest.raises(ValueError, match="told apart"):
        mixed_model(frame.assign(anchor=frame["sparsity"].astype(str)), "ood_score", ["anchor", "sparsity"])


def likelihood_of(frame):
    sparse = frame["sparsity"].eq(0.9).to_numpy(dtype=float)
    units = {name: pd.get_dummies(frame[names].agg(" ".join, axis=1)).to_numpy(dtype=float)
             for name, names in (("benchmark", ["benchmark"]), ("run", ["benchmark", "run"]))}  # fmt: skip
    return restricted(frame["ood_score"], np.stack([np.ones(len(frame)), sparse], axis=1), units)


def test_an_interval_ends_where_the_ratio_reaches_its_quantile() -> None:
    frame = plant(4, Truth(levels=SMALL, run_spread=0.04), runs=3, benchmarks=6)
    found = likelihood_of(frame)
    for position, row in enumerate(mixed_model(frame, "ood_score", ["sparsity"], varying=()).variances.itertuples()):
        assert row.low < row.variance < row.high
        for end in (row.low, row.high):
            assert found.ratio(position, end) == pytest.approx(stats.chi2.ppf(0.95, 1), rel=1e-2)
        assert found.ratio(position, row.variance) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.slow
def test_likelihood_ratios_cover_the_planted_variances() -> None:
    """What lies within the quantile lies within the interval, by the test before this one; this costs a tenth."""
    small = Truth(levels=SMALL, run_spread=TRUTH.run_spread, path_a={}, direct={})
    found = [likelihood_of(plant(seed, small, runs=3, benchmarks=8)) for seed in range(DRAWS)]
    allowed = stats.chi2.ppf(0.95, 1)
    for position, truth in enumerate((TRUTH.benchmark_spread**2, TRUTH.run_spread**2, ERROR)):
        ratios = [likelihood.ratio(position, truth) for likelihood in found]
        assert_covers(lambda seed, ratios=ratios: (0.0, ratios[seed], allowed), 0.95)


VARYING = Truth(levels=SMALL, path_a={}, direct={"sparsity": 0.03}, varying={"sparsity": 0.03})


@pytest.mark.slow
def test_intervals_cover_an_effect_that_varies() -> None:
    def interval(seed: int) -> tuple[float, float, float]:
        frame = plant(seed, VARYING, runs=3, benchmarks=5).drop(index=[0, 5, 6, 30, 31])
        row = mixed_model(frame, "ood_score", ["sparsity"], has_intervals=False).effects.iloc[0]
        return row["low"], 0.03, row["high"]

    assert_covers(interval, 0.95, draws=60)


@pytest.mark.slow
def test_an_effect_of_no_mean_is_seldom_significant_where_it_varies() -> None:
    """And often (half the time here), where the variation is left out of the model: what this model is for."""
    truth = Truth(levels=SMALL, path_a={}, direct={}, varying={"sparsity": 0.03})

    def p_value(seed: int, varying) -> float:
        frame = plant(seed, truth, runs=3, benchmarks=4)
        found = mixed_model(frame, "ood_score", ["sparsity"], varying=varying, has_intervals=False)
        return found.effects["p_value"].iloc[0]

    assert_rejects_at_level(lambda seed: p_value(seed, None) < 0.05, 0.05, draws=60)
    assert np.mean([p_value(seed, ()) < 0.05 for seed in range(20)]) > 0.2
