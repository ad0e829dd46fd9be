"""Interquartile mean, profiles and probability of improvement: by hand, against brute force, and coverage."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.performance import (
    aggregates,
    interquartile_mean,
    normalised,
    performance_profiles,
    probability_of_improvement,
)
from tests.analysis.coverage import assert_covers


def scores(seed: int = 0, runs: int = 6, tasks: int = 3, lift: float = 0.05) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for task, run in product(range(tasks), range(runs)):
        shared = rng.normal(0.5, 0.05)
        rows.append({"method": "full", "benchmark": f"b{task}", "run": run, "score": shared})
        rows.append({"method": "ours", "benchmark": f"b{task}", "run": run, "score": shared + rng.normal(lift, 0.02)})
    return pd.DataFrame(rows)


def test_interquartile_mean_by_hand() -> None:
    assert interquartile_mean([9, 1, 2, 3, 4, 5, 6, -50]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert interquartile_mean([1, 2, 3, 4, 50]) == pytest.approx(3)
    assert interquartile_mean([0.7]) == 0.7
    assert np.isnan(interquartile_mean([]))
    with pytest.raises(ValueError, match="got 1 NaN"):
        interquartile_mean([0.1, float("nan")])


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_interquartile_mean_drops_quarters(values: list[float]) -> None:
    cut = len(values) // 4
    kept = sorted(values)[cut : len(values) - cut]
    assert interquartile_mean(values) == pytest.approx(np.mean(kept))


def test_aggregates_by_hand_and_missing_runs() -> None:
    rows = [("x", "a", 0, 0.2), ("x", "a", 1, 0.4), ("x", "b", 0, 1.2), ("x", "b", 1, np.nan), ("x", "c", 0, 0.1),
            ("y", "a", 0, np.nan)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["method", "benchmark", "run", "score"])
    found = aggregates(frame, "score", draws=50)
    assert found["method"].unique().tolist() == ["x"]
    estimates = found.set_index("statistic")["estimate"]
    assert estimates["mean"] == pytest.approx((0.3 + 1.2 + 0.1) / 3)
    assert estimates["median"] == pytest.approx(0.3)
    assert estimates["interquartile_mean"] == pytest.approx((0.2 + 0.4) / 2)
    assert estimates["optimality_gap"] == pytest.approx((0.8 + 0.6 + 0.0 + 0.9) / 4)
    assert (found["missing"].unique(), found["strata"].unique()) == ([1], ["benchmark"])


def test_profiles_by_hand_fall_and_weigh_benchmarks_equally() -> None:
    rows = [("x", "a", run, 0.9) for run in range(9)] + [("x", "b", 0, 0.1)]
    frame = pd.DataFrame(rows, columns=["method", "benchmark", "run", "score"])
    found = performance_profiles(frame, "score", [0.0, 0.1, 0.5, 0.9], draws=40)
    # Above the threshold, not at it.
    assert found["fraction"].to_numpy() == pytest.approx([1.0, 0.5, 0.5, 0.0])
    whole = performance_profiles(scores(), "score", np.linspace(0.3, 0.8, 11), draws=200)
    for _, rows_here in whole.groupby("method"):
        assert (rows_here["fraction"].diff().dropna() <= 0).all()
        assert (rows_here["low"] <= rows_here["fraction"] + 1e-12).all()
        assert (rows_here["fraction"] <= rows_here["high"] + 1e-12).all()
    area = whole.groupby("method")["fraction"].mean()
    assert area["ours"] > area["full"]


def test_probability_of_improvement_is_mann_whitneys() -> None:
    frame = scores()
    frame["score"] = frame["score"].round(2)
    found = probability_of_improvement(frame, "score", "full", draws=100).iloc[0]
    chances = []
    for _, rows in frame.groupby("benchmark"):
        ours, theirs = (rows.loc[rows["method"].eq(name), "score"] for name in ("ours", "full"))
        chances.append(stats.mannwhitneyu(ours, theirs).statistic / (len(ours) * len(theirs)))
    assert found["probability"] == pytest.approx(np.mean(chances))
    assert (found["method"], found["reference"], found["tasks"]) == ("ours", "full", 3)
    back = probability_of_improvement(frame, "score", "ours", draws=100).iloc[0]
    assert back["probability"] == pytest.approx(1 - found["probability"])
    assert back["low"] == pytest.approx(1 - found["high"], abs=0.1)


def test_ties_count_half_and_unshared_benchmarks_do_not() -> None:
    rows = [("x", "a", 0, 0.5), ("y", "a", 0, 0.5), ("x", "b", 0, 0.9), ("z", "c", 0, 0.1)]
    frame = pd.DataFrame(rows, columns=["method", "benchmark", "run", "score"])
    found = probability_of_improvement(frame, "score", "y", draws=20)
    assert found[["method", "probability", "tasks"]].values.tolist() == [["x", 0.5, 1]]
    with pytest.raises(ValueError, match="must be one of x, y, z, got 'w'"):
        probability_of_improvement(frame, "score", "w")
    with pytest.raises(ValueError, match="pairing must be run or none, got 'seed'"):
        probability_of_improvement(frame, "score", "y", pairing="seed")


def test_normalised_scores_put_two_methods_at_zero_and_one() -> None:
    frame = pd.concat([scores(), scores().query("method == 'full'").assign(method="zero_shot", score=0.1)])
    found = normalised(frame, "score", "zero_shot", "full")
    means = found.groupby(["method", "benchmark"])["score"].mean()
    assert means["zero_shot"].to_numpy() == pytest.approx(0.0)
    assert means["full"].to_numpy() == pytest.approx(1.0)
    assert normalised(frame, "score", "lora", "full")["score"].isna().all()


@pytest.mark.slow
def test_intervals_cover_what_was_planted() -> None:
    """Two normal methods a known distance apart: the chance of improvement is known exactly."""
    distance, runs = 0.8, 30
    truth = stats.norm.cdf(distance / np.sqrt(2))

    def interval(seed: int) -> tuple[float, float, float]:
        rng = np.random.default_rng(seed)
        rows = [{"method": m, "benchmark": b, "run": r, "score": rng.normal(distance * (m == "x"))}
                for m, b, r in product("xy", "ab", range(runs))]  # fmt: skip
        found = probability_of_improvement(pd.DataFrame(rows), "score", "y", rng, draws=150).iloc[0]
        return found["low"], truth, found["high"]

    assert_covers(interval, 0.95)
