"""The bootstrap of frames: against scipy, by enumeration, what is drawn together, and its coverage."""

from collections import Counter
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.bootstrap import bootstrap, bootstrap_positions, resamples
from tests.analysis.coverage import assert_covers


def mean(rows: pd.DataFrame) -> dict[str, float]:
    return {"mean": rows["y"].mean()}


def nested_frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    keys = [(b, r) for b, runs in (("a", 3), ("b", 4), ("c", 2)) for r in range(runs)]
    return pd.DataFrame([{"benchmark": b, "run": r, "method": m, "y": rng.normal()} for b, r in keys for m in "xy"])


@pytest.mark.parametrize(("method", "name"), [("percentile", "percentile"), ("bca", "BCa")])
def test_independent_rows_are_scipys(method: str, name: str) -> None:
    values = np.random.default_rng(1).exponential(size=40)
    frame = pd.DataFrame({"example": range(40), "y": values})
    found = bootstrap(frame, mean, "example", rng=2, draws=8000, method=method).iloc[0]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=8000, method=name, rng=np.random.default_rng(3))
    low, high = theirs.confidence_interval
    # Two Monte Carlo estimates of one quantile: their standard error, from the density of a normal.
    error = np.sqrt(2 * 0.025 * 0.975 / 8000) / stats.norm.pdf(1.96) * values.std() / np.sqrt(40)
    assert found["estimate"] == pytest.approx(values.mean())
    assert abs(found["low"] - low) < 5 * error
    assert abs(found["high"] - high) < 5 * error


def test_acceleration_of_strata_is_scipys_of_several_samples() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.exponential(size=12), rng.exponential(size=20) ** 2
    frame = pd.DataFrame({"side": ["x"] * 12 + ["y"] * 20, "run": [*range(12), *range(20)], "y": [*first, *second]})

    values, is_first = frame["y"].to_numpy(), frame["side"].eq("x").to_numpy()

    def gap(at: np.ndarray) -> dict[str, float]:
        return {"gap": values[at][is_first[at]].mean() - values[at][~is_first[at]].mean()}

    def scipys(seed: int) -> tuple[float, float]:
        ends = stats.bootstrap((first, second), lambda x, y, axis=-1: x.mean(axis) - y.mean(axis), n_resamples=20_000,
                               rng=seed, method="BCa").confidence_interval  # fmt: skip
        return ends.low, ends.high

    found = bootstrap_positions(frame, gap, "run", 0, ["side"], method="bca", draws=20_000).iloc[0]
    plain = bootstrap_positions(frame, gap, "run", 0, ["side"], draws=20_000).iloc[0]
    theirs = np.array([scipys(seed) for seed in range(8)])
    for end, ends in (("low", theirs[:, 0]), ("high", theirs[:, 1])):
        # One more draw of the same kind: a prediction interval from theirs.
        allowed = stats.t.isf(0.0005, 7) * ends.std(ddof=1) * np.sqrt(1 + 1 / 8)
        assert abs(found[end] - ends.mean()) < allowed
        assert abs(plain[end] - ends.mean()) > allowed


def test_units_are_whole_and_strata_keep_their_size() -> None:
    frame = nested_frame()
    for rows in resamples(frame, "run", 0, ["benchmark"], draws=50):
        drawn = frame.iloc[rows]
        assert drawn["benchmark"].value_counts().to_dict() == {"a": 6, "b": 8, "c": 4}
        counts = drawn.groupby(["benchmark", "run", "method"]).size().unstack("method")
        assert (counts["x"] == counts["y"]).all()


def test_without_strata_a_seed_keeps_all_its_benchmarks() -> None:
    frame = nested_frame()
    for rows in resamples(frame, "run", 0, draws=50):
        times = frame.iloc[rows].groupby("run").size() / frame.groupby("run").size()
        assert times.dropna().mod(1).eq(0).all()
        assert times.sum() == 4


def test_nested_and_crossed_draws() -> None:
    frame = pd.DataFrame([{"benchmark": b, "run": r, "y": 0.0} for b, r in product("abc", range(4))])
    shapes = set()
    for rows in resamples(frame, ["benchmark", "run"], 0, draws=80):
        drawn = frame.iloc[rows].groupby("benchmark").size()
        assert drawn.mod(4).eq(0).all()
        assert drawn.sum() == 12
        shapes.add(len(drawn))
    assert shapes == {1, 2, 3}
    for rows in resamples(frame, ["benchmark", "run"], 0, arrangement="crossed", draws=80):
        table = np.bincount(rows, minlength=12).reshape(3, 4)
        # Counts are a product of the benchmarks' and the runs' counts: every two rows are proportional.
        assert table.sum() == 12
        assert np.linalg.matrix_rank(table) == 1


def test_few_units_have_the_distribution_that_enumeration_gives() -> None:
    values = {"a": 0.0, "b": 1.0, "c": 3.0}
    frame = pd.DataFrame({"run": list(values), "y": list(values.values())})
    seen = Counter(round(frame["y"].iloc[rows].sum(), 6) for rows in resamples(frame, "run", 0, draws=5400))
    expected = Counter(round(sum(pick), 6) for pick in product(values.values(), repeat=3))
    counts = [seen[total] for total in sorted(expected)]
    assert sum(counts) == 5400
    assert stats.chisquare(counts, [200 * expected[total] for total in sorted(expected)]).pvalue > 1e-3


def test_the_seed_decides_and_a_generator_goes_on() -> None:
    frame = nested_frame()
    first, again, other = (bootstrap(frame, mean, "run", seed, ["benchmark"], draws=100) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert first["low"].item() != other["low"].item()
    generator = np.random.default_rng(0)
    one, two = (bootstrap(frame, mean, "run", generator, ["benchmark"], draws=100) for _ in range(2))
    pd.testing.assert_frame_equal(first, one)
    assert one["low"].item() != two["low"].item()


def test_pairing_is_narrower_where_runs_differ() -> None:
    rng = np.random.default_rng(0)
    runs = rng.normal(0, 1, 20)
    frame = pd.DataFrame({"run": [*range(20)] * 2, "method": ["x"] * 20 + ["y"] * 20,
                          "y": [*(runs + 0.1), *(runs + rng.normal(0, 0.02, 20))]})  # fmt: skip

    def gap(rows: pd.DataFrame) -> dict[str, float]:
        means = rows.groupby("method")["y"].mean()
        return {"gap": means["x"] - means["y"]}

    paired = bootstrap(frame, gap, "run", draws=300).iloc[0]
    apart = bootstrap(frame, gap, "run", strata=["method"], draws=300).iloc[0]
    assert paired["high"] - paired["low"] < 0.2 * (apart["high"] - apart["low"])
    assert paired["low"] < 0.1 < paired["high"]


def test_one_unit_has_no_interval_and_undefined_draws_are_counted() -> None:
    frame = pd.DataFrame({"run": ["a", "a"], "y": [1.0, 2.0]})
    alone = bootstrap(frame, mean, "run").iloc[0]
    assert (alone["estimate"], alone["units"]) == (1.5, 1)
    assert np.isnan(alone["low"])
    assert np.isnan(alone["high"])
    two = pd.DataFrame({"run": ["a", "b"], "y": [1.0, 2.0]})

    def only_with_both(rows: pd.DataFrame) -> dict[str, float]:
        return {"y": rows["y"].mean() if rows["run"].nunique() == 2 else float("nan")}

    found = bootstrap(two, only_with_both, "run", draws=400).iloc[0]
    assert stats.binomtest(int(found["undefined"]), 400, 0.5).pvalue > 1e-3
    assert found["low"] == found["high"] == 1.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": "day"}, "without nulls, got day"),
        ({"strata": ["hole"]}, "without nulls, got hole"),
        ({"arrangement": "mixed"}, "nested, crossed, got 'mixed'"),
        ({"method": "normal"}, "percentile, expanded, bca, got 'normal'"),
        ({"unit": ["benchmark", "run"], "method": "bca"}, "bca is for a single unit"),
        (
            {"unit": ["benchmark", "run"], "method": "expanded", "arrangement": "crossed"},
            "expanded is for a single unit",
        ),
        ({"level": 1.0}, "level must lie in"),
        ({"draws": 0}, "draws be at least 1"),
        ({"unit": []}, "needs a unit and rows"),
    ],
)
def test_bad_arguments_are_refused(change, message) -> None:
    frame = nested_frame().assign(hole=np.nan)
    with pytest.raises(ValueError, match=message):
        bootstrap(frame, mean, **{"unit": "run", **change})


@pytest.mark.slow
def test_it_covers_a_mean_over_independent_units_with_repeats() -> None:
    """40 runs of 3 rows each: rows of a run are alike, so resampling rows would be far too narrow."""

    def interval(seed: int, unit: str) -> tuple[float, float, float]:
        rng = np.random.default_rng(seed)
        values = np.repeat(rng.normal(size=40), 3) + rng.normal(0.0, 0.1, 120)
        frame = pd.DataFrame({"run": np.repeat(np.arange(40), 3), "row": range(120)})
        found = bootstrap_positions(frame, lambda at: {"mean": values[at].mean()}, unit, rng, draws=300).iloc[0]
        return found["low"], 0.0, found["high"]

    assert_covers(lambda seed: interval(seed, "run"), 0.95)
    with pytest.raises(AssertionError, match="intervals hold the truth"):
        assert_covers(lambda seed: interval(seed, "row"), 0.95)


@pytest.mark.slow
def test_the_expanded_interval_covers_with_few_units() -> None:
    units = 6

    def interval(seed: int, method: str) -> tuple[float, float, float]:
        rng = np.random.default_rng(seed)
        values = rng.normal(size=units)
        frame = pd.DataFrame({"run": range(units)})
        found = bootstrap_positions(frame, lambda at: {"mean": values[at].mean()}, "run", rng, draws=400, method=method)
        return found["low"].item(), 0.0, found["high"].item()

    assert_covers(lambda seed: interval(seed, "expanded"), 0.95)
    with pytest.raises(AssertionError, match="intervals hold the truth"):
        assert_covers(lambda seed: interval(seed, "percentile"), 0.95)


def test_expanded_ends_are_students_where_the_bootstrap_is_normal() -> None:
    """40 normal values in two strata: 38 degrees of freedom, and the bootstrap's own variance made whole."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=40)
    frame = pd.DataFrame({"run": [*range(20)] * 2, "side": np.repeat(["x", "y"], 20)})
    arguments = (frame, lambda at: {"mean": values[at].mean()}, "run", 1, ["side"])
    found, plain = (bootstrap_positions(*arguments, draws=20_000, method=m) for m in ("expanded", "percentile"))
    factor = (found["high"] - found["low"]).item() / (plain["high"] - plain["low"]).item()
    assert factor == pytest.approx(np.sqrt(40 / 38) * stats.t.isf(0.025, 38) / stats.norm.isf(0.025), abs=0.03)
