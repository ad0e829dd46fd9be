"""Intervals against scipy and closed forms; coverage with a fixed generator; pairing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.intervals import bootstrap_interval, crossed_interval, paired, t_interval


def test_t_interval_agrees_with_scipy() -> None:
    sample = np.random.default_rng(0).normal(size=7)
    low, high = stats.t.interval(0.9, 6, sample.mean(), stats.sem(sample))
    found = t_interval(sample, level=0.9)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.estimate == pytest.approx(sample.mean())


@pytest.mark.parametrize("values", [[], [0.3]])
def test_too_few_values_have_no_interval(values) -> None:
    rng = np.random.default_rng(0)
    for interval in (t_interval(values), bootstrap_interval(values, rng)):
        assert np.isnan([interval.low, interval.high]).all()
        assert not interval.excludes_zero


@pytest.mark.parametrize(("method", "name"), [("percentile", "percentile"), ("bca", "BCa")])
def test_bootstrap_agrees_with_scipy(method: str, name: str) -> None:
    sample = np.random.default_rng(1).exponential(size=40)
    found = bootstrap_interval(sample, np.random.default_rng(2), draws=20_000, method=method)
    theirs = stats.bootstrap((sample,), np.mean, n_resamples=20_000, method=name, rng=np.random.default_rng(3))
    spread = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.03 * spread)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.03 * spread)


def test_the_generator_decides_the_draws() -> None:
    sample = np.random.default_rng(0).normal(size=12)
    first, again, other = (bootstrap_interval(sample, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_bootstrap_covers() -> None:
    rng = np.random.default_rng(0)
    hits = sum(
        interval.low <= 0.0 <= interval.high
        for interval in (bootstrap_interval(rng.normal(size=40), rng, draws=400) for _ in range(400))
    )
    # Binomial with p = 0.95 less the known shortfall of the percentile method at n = 40: within 4 standard errors.
    assert 0.88 <= hits / 400 <= 0.98


def test_t_covers_with_two_seeds() -> None:
    rng = np.random.default_rng(0)
    hits = sum(i.low <= 0.0 <= i.high for i in (t_interval(rng.normal(size=2)) for _ in range(2000)))
    assert abs(hits / 2000 - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)


def test_examples_interval_has_the_binomial_width() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(2000) < 0.7
    found = crossed_interval([right[None]], rng, over="examples", draws=4000)
    width = 2 * 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 2000)
    assert found.high - found.low == pytest.approx(width, rel=0.06)


def test_both_is_wider_than_each() -> None:
    rng = np.random.default_rng(0)
    chances = np.array([0.6, 0.66, 0.72, 0.63])[:, None]
    right = rng.random((4, 500)) < chances
    widths = {}
    for over in ("seeds", "examples", "seeds and examples"):
        found = crossed_interval([right], np.random.default_rng(1), over=over, draws=2000)
        widths[over] = found.high - found.low
        assert found.estimate == pytest.approx(right.mean())
        assert found.over == over
    assert widths["seeds and examples"] > max(widths["seeds"], widths["examples"])


def test_parts_weigh_equally_whatever_their_size() -> None:
    parts = [np.ones((2, 10)), np.zeros((2, 1000))]
    assert crossed_interval(parts, np.random.default_rng(0)).estimate == 0.5
    worst = crossed_interval(parts, np.random.default_rng(0), combine=lambda means: means.min(axis=0))
    assert worst.estimate == 0.0


def test_one_seed_says_examples() -> None:
    found = crossed_interval([[[1.0, 0.0, 1.0]]], np.random.default_rng(0))
    assert found.over == "examples"
    assert found.low < found.high
    assert np.isnan(crossed_interval([[[1.0]]], np.random.default_rng(0)).low)


def test_missing_entries_are_left_out() -> None:
    matrix = np.array([[1.0, np.nan, 0.0], [1.0, 1.0, np.nan]])
    assert crossed_interval([matrix], np.random.default_rng(0)).estimate == pytest.approx(0.75)


def test_pairing_removes_what_is_common() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(1000) < 0.5
    ours = np.stack([hard | (rng.random(1000) < 0.05) for _ in range(3)])
    difference = paired(dict(enumerate(ours)), dict(enumerate(np.stack([hard] * 3))))
    found = crossed_interval([difference], rng)
    alone = crossed_interval([ours], rng)
    assert found.excludes_zero
    assert found.high - found.low < 0.6 * (alone.high - alone.low)


def test_pairs_need_common_seeds_and_examples() -> None:
    assert paired({0: 0.5, 2: 0.7}, {2: 0.4, 1: 0.1}) == pytest.approx([0.3])
    assert paired({0: 0.5}, {1: 0.5}).size == 0
    with pytest.raises(ValueError, match="same examples"):
        paired({0: np.zeros(3)}, {0: np.zeros(4)})


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.sampled_from(["percentile", "bca"]))
def test_ends_are_ordered_and_within_the_sample(values: list[float], method: str) -> None:
    found = bootstrap_interval(values, np.random.default_rng(0), draws=200, method=method)
    assert min(values) - 1e-12 <= found.low <= found.high <= max(values) + 1e-12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 1.0}, "level must lie in"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"method": "normal"}, "percentile or bca, got 'normal'"),
    ],
)
def test_bad_choices_are_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval([0.0, 1.0], np.random.default_rng(0), **arguments)


def test_bad_shapes_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="without NaN"):
        t_interval([0.1, float("nan")])
    with pytest.raises(ValueError, match="same seeds"):
        crossed_interval([np.zeros((2, 3)), np.zeros((3, 3))], rng)
    with pytest.raises(ValueError, match="over must be"):
        crossed_interval([np.zeros((2, 3))], rng, over="images")
