"""Mediation against statsmodels' regressions, its identity, planted paths, and a planted common cause."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols

from analysis.mediation import ASSUMPTIONS, EFFECTS, mediation, sensitivity
from tests.analysis.coverage import assert_covers
from tests.analysis.planted import Truth, plant

NAMES = ("x_sparsity", "diversity_score", "ood_score")
HELD = ("run", "anchor", "resample_every")


def test_paths_are_those_of_two_regressions() -> None:
    frame = plant(0, Truth()).drop(index=[2, 9, 17])
    found = mediation(frame, *NAMES, HELD, draws=20).set_index("effect")["estimate"]
    held = " + C(run) + C(anchor) + C(resample_every)"
    first = ols(f"diversity_score ~ x_sparsity{held}", frame).fit().params
    second = ols(f"ood_score ~ x_sparsity + diversity_score{held}", frame).fit().params
    total = ols(f"ood_score ~ x_sparsity{held}", frame).fit().params
    assert list(found.index) == list(EFFECTS)
    assert found["path_a"] == pytest.approx(first["x_sparsity"])
    assert found["path_b"] == pytest.approx(second["diversity_score"])
    assert found["direct"] == pytest.approx(second["x_sparsity"])
    assert found["total"] == pytest.approx(total["x_sparsity"])
    assert found["indirect"] == pytest.approx(first["x_sparsity"] * second["diversity_score"])
    assert found["total"] == pytest.approx(found["direct"] + found["indirect"])


def test_the_result_says_what_it_assumes_and_over_what() -> None:
    found = mediation(plant(0, Truth(), runs=6), *NAMES, HELD, draws=50)
    assert found["assumptions"].unique().tolist() == [ASSUMPTIONS]
    assert "no unmeasured cause" in ASSUMPTIONS
    assert (found["over"].unique().tolist(), found["units"].unique().tolist()) == (["run"], [6])
    pd.testing.assert_frame_equal(found, mediation(plant(0, Truth(), runs=6), *NAMES, HELD, draws=50, rng=0))


def test_no_total_effect_has_no_proportion() -> None:
    """Direct and indirect effect cancel: both are there, and their ratio to nothing is shown by chance alone."""
    truth = Truth(direct={"sparsity": -0.03}, path_a={"sparsity": -0.06}, path_b=-0.5, ood_noise=0.01)
    assert truth.total("sparsity") == 0.0
    hidden = 0
    for seed in range(10):
        found = mediation(plant(seed, truth, runs=20), *NAMES, HELD, draws=200).set_index("effect")
        assert found.loc[["direct", "indirect"], "excludes_zero"].all()
        is_hidden = found.loc["proportion_mediated", ["estimate", "low", "high"]].isna().all()
        assert is_hidden == (not found.loc["total", "excludes_zero"])
        hidden += is_hidden
    assert stats.binomtest(hidden, 10, 0.95).pvalue > 1e-3
    whole = mediation(plant(3, Truth(), runs=20), *NAMES, HELD, draws=200).set_index("effect")
    assert whole.loc["proportion_mediated", "estimate"] == pytest.approx(
        whole.loc["indirect", "estimate"] / whole.loc["total", "estimate"]
    )


def test_two_runs_need_their_settings_drawn_too() -> None:
    frame = plant(0, Truth(), runs=2)
    frame["group"] = frame["anchor"] + frame["resample_every"].astype(str)
    few = mediation(frame, *NAMES, ("run", "group"), draws=200).set_index("effect")
    both = mediation(
        frame, *NAMES, ("run", "group"), ("run", "group"), arrangement="crossed", interval="percentile", draws=200
    )
    assert both["over"].unique().tolist() == ["run and group"]
    # Two runs have three different resamples.
    assert few.loc["total", "high"] - few.loc["total", "low"] < np.ptp(both.loc[2, ["low", "high"]].to_numpy(float))


def test_what_cannot_be_told_apart_is_refused() -> None:
    frame = plant(0, Truth())
    with pytest.raises(ValueError, match="must move apart"):
        mediation(frame.query("sparsity == 0.5"), *NAMES, HELD)
    with pytest.raises(ValueError, match="must move apart"):
        mediation(frame.assign(diversity_score=frame["x_sparsity"]), *NAMES, HELD)
    with pytest.raises(ValueError, match="got depth, which it lacks"):
        mediation(frame, "depth", *NAMES[1:])
    with pytest.raises(ValueError, match="must be columns of numbers"):
        mediation(frame, "anchor", *NAMES[1:])
    with pytest.raises(ValueError, match=r"correlations must lie in \(-1, 1\), got \[1.0\]"):
        sensitivity(frame, *NAMES, HELD, correlations=[0.0, 1.0])


def test_sensitivity_begins_at_the_indirect_effect_and_crosses_zero_where_it_says() -> None:
    frame = plant(0, Truth(), runs=8)
    indirect = mediation(frame, *NAMES, HELD, draws=100).set_index("effect").loc["indirect"]
    found = sensitivity(frame, *NAMES, HELD, draws=100)
    at_none = found[found["correlation"].eq(0.0)].iloc[0]
    assert at_none["indirect"] == pytest.approx(indirect["estimate"])
    assert at_none["low"] == pytest.approx(indirect["low"])
    zero = found["correlation_at_zero"].iloc[0]
    assert sensitivity(frame, *NAMES, HELD, [zero], draws=10)["indirect"].item() == pytest.approx(0.0, abs=1e-12)
    assert zero < 0


def confounded(seed: int, units: int, correlation: float) -> pd.DataFrame:
    """No path from mediator to response but a common cause of their errors; effects of the treatment .5 and .3."""
    rng = np.random.default_rng(seed)
    errors = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], size=units)
    x = np.tile([0.0, 1.0], units // 2)
    return pd.DataFrame({"run": range(units), "x": x, "m": 0.5 * x + errors[:, 0], "y": 0.3 * x + errors[:, 1]})


def test_the_planted_correlation_takes_a_spurious_mediation_away() -> None:
    frame = confounded(0, 4000, 0.6)
    naive = mediation(frame, "x", "m", "y", draws=50).set_index("effect").loc["indirect"]
    assert naive["low"] > 0.2
    found = sensitivity(frame, "x", "m", "y", correlations=[0.6], draws=200).iloc[0]
    assert found["low"] < 0.0 < found["high"]
    assert found["correlation_at_zero"] == pytest.approx(0.6, abs=4 * (1 - 0.36) / np.sqrt(4000))


@pytest.mark.slow
def test_intervals_cover_the_planted_parts() -> None:
    truth = Truth()
    planted = {"path_a": -0.06, "path_b": -0.5, "indirect": 0.03, "direct": 0.02, "total": truth.total("sparsity")}

    found = [mediation(plant(seed, truth, runs=25), *NAMES, ("run", "anchor"), draws=200).set_index("effect")
             for seed in range(200)]  # fmt: skip
    for effect, value in planted.items():
        ends = [(float(one.loc[effect, "low"]), value, float(one.loc[effect, "high"])) for one in found]
        assert_covers(ends.__getitem__, 0.95)
