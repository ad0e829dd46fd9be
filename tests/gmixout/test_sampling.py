"""Exact and coin-flip masks: right counts, uniform inclusion, nothing but (key, episode) matters."""

import os
import subprocess
import sys

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gmixout import sampling
from gmixout.sampling import draw_bernoulli, draw_exact, kept_count, tensor_key

KEY = tensor_key(3, "weight")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20_000), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_exact_draws_distinct_units_in_range(total, share, episode):
    count = max(1, round(share * total))
    kept = draw_exact(KEY, episode, total, count)
    assert kept.shape == (count,)
    assert kept.unique().numel() == count
    assert kept.min() >= 0
    assert kept.max() < total


@pytest.mark.parametrize(("total", "count"), [(3, 1), (10, 5), (27, 3), (64, 6), (768, 77), (5000, 500), (9000, 77)])
def test_every_unit_is_kept_equally_often(total, count):
    draws = 3000
    kept = torch.zeros(total, dtype=torch.float64)
    for episode in range(draws):
        kept[draw_exact(KEY, episode, total, count)] += 1
    # A unit's count is binomial; units are negatively correlated, which the factor corrects.
    expected = draws * count / total
    statistic = float(((kept - expected) ** 2 / expected).sum()) / (1 - count / total) * (total - 1) / total
    assert 1e-4 < scipy.stats.chi2.sf(statistic, total - 1) < 1 - 1e-4


@pytest.mark.parametrize(("total", "count"), [(16, 8), (100, 10)])
def test_every_pair_is_kept_equally_often(total, count):
    draws = 3000
    kept = torch.zeros(draws, total, dtype=torch.float64)
    for episode in range(draws):
        kept[episode, draw_exact(KEY, episode, total, count)] = 1
    row, column = torch.triu_indices(total, total, 1)
    together = (kept.T @ kept)[row, column]
    share = count * (count - 1) / (total * (total - 1))
    dispersion = ((together - draws * share) ** 2 / (draws * share * (1 - share))).mean()
    assert 0.6 < dispersion < 1.4


def test_inclusion_is_uniform_over_seeds_too():
    total, count, seeds = 50, 10, 4000
    kept = torch.zeros(total)
    for seed in range(seeds):
        kept[draw_exact(tensor_key(seed, "w"), 0, total, count)] += 1
    statistic = float(((kept - 800) ** 2 / 800).sum()) / 0.8 * 49 / 50
    assert 1e-4 < scipy.stats.chi2.sf(statistic, total - 1) < 1 - 1e-4


def test_coin_flips_have_the_asked_rate_and_no_pattern():
    kept = torch.stack([draw_bernoulli(KEY, episode, 1000, 0.9) for episode in range(2000)]).double()
    per_unit = kept.sum(0)
    statistic = float(((per_unit - 200) ** 2 / (2000 * 0.1 * 0.9)).sum())
    assert 1e-4 < scipy.stats.chi2.sf(statistic, 1000) < 1 - 1e-4
    assert kept.sum(1).std() == pytest.approx((1000 * 0.1 * 0.9) ** 0.5, rel=0.1)


def test_draws_do_not_depend_on_threads():
    threads = torch.get_num_threads()
    drawn = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            drawn.append((draw_exact(KEY, 5, 300_000, 30_000), draw_bernoulli(KEY, 5, 300_000, 0.9)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])


def test_every_process_draws_the_same_masks():
    """Ranks of a parallel run agree without traffic: nothing of a process enters, not even Python's salted hashes."""
    code = (
        "from gmixout.sampling import draw_exact, draw_bernoulli, tensor_key as key;"
        "print(draw_exact(key(3, 'weight'), 7, 9000, 40).tolist(),"
        "draw_bernoulli(key(3, 'weight'), 7, 200, 0.9).nonzero().flatten().tolist())"
    )
    printed = set()
    for rank in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": rank, "RANK": rank, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        printed.add(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True).stdout)
    here = draw_exact(KEY, 7, 9000, 40).tolist(), draw_bernoulli(KEY, 7, 200, 0.9).nonzero().flatten().tolist()
    assert printed == {f"{here[0]} {here[1]}\n".encode()}


def test_pieces_leave_no_seams(monkeypatch):
    whole = draw_exact(KEY, 1, 100_000, 9_999), draw_bernoulli(KEY, 1, 100_000, 0.5)
    monkeypatch.setattr(sampling, "_SEGMENTS_AT_ONCE", 1)
    monkeypatch.setattr(sampling, "_COUNTERS_AT_ONCE", 100)
    assert torch.equal(draw_exact(KEY, 1, 100_000, 9_999), whole[0])
    assert torch.equal(draw_bernoulli(KEY, 1, 100_000, 0.5), whole[1])


def test_segment_bounds_hold_beyond_32_and_64_bits():
    total = 3 * 2**31
    for count in (total // 50, total // 2):
        ends = sampling._segment_ends(total, count, phase=total - 1)
        assert int(ends[-1]) == count
        sizes = ends.diff()
        assert int(sizes.max() - sizes.min()) <= 1


def test_kept_count_is_rounded_and_never_zero():
    assert [kept_count(1000, p) for p in (0.0, 0.5, 0.9996, 0.99999)] == [1000, 500, 1, 1]


def test_masks_differ_between_episodes_seeds_and_names():
    drawn = {
        tuple(draw_exact(tensor_key(seed, name), episode, 1000, 50).sort().values.tolist())
        for seed in (0, 1)
        for name in ("a", "b")
        for episode in (0, 1)
    }
    assert len(drawn) == 8


def test_stored_draw_never_changes():
    """Results of past runs are rebuilt from masks, so their bits are part of the file format."""
    assert draw_exact(KEY, 2, 10_000, 5).tolist() == STORED_EXACT
    assert draw_bernoulli(KEY, 2, 40, 0.8).nonzero().reshape(-1).tolist() == STORED_COINS


STORED_EXACT = [365, 334, 7037, 7854, 8850]
STORED_COINS = [3, 4, 13, 16, 21, 25, 26, 28, 29, 32, 37, 39]
