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
from gmixout.philox import philox_words
from gmixout.sampling import draw_bernoulli, draw_exact, kept_count, tensor_key

KEY = tensor_key(3, "weight")


def kept_of(total, count, episode, key=KEY):
    return draw_exact(key, episode, 1, total, count)[0].long()


def many_draws(total, count):
    """3000 of them, over episodes and segments alike."""
    return torch.cat([draw_exact(KEY, episode, 60, total, count) for episode in range(50)]).long()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20_000), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_exact_draws_distinct_units_in_range(segments, length, share, episode):
    count = max(1, round(share * length))
    kept = draw_exact(KEY, episode, segments, length, count)
    assert kept.shape == (segments, count)
    ordered = kept.sort(dim=1).values
    assert (ordered.diff(dim=1) > 0).all()
    assert kept.min() >= 0
    assert kept.max() < length


@pytest.mark.parametrize(("total", "count"), [(3, 1), (10, 5), (27, 3), (65, 6), (768, 77), (5000, 500), (9000, 77)])
def test_every_unit_is_kept_equally_often(total, count):
    draws = 3000
    kept = torch.bincount(many_draws(total, count).view(-1), minlength=total).double()
    # A unit's count is binomial; units are negatively correlated, which the factor corrects.
    expected = draws * count / total
    statistic = float(((kept - expected) ** 2 / expected).sum()) / (1 - count / total) * (total - 1) / total
    assert 1e-4 < scipy.stats.chi2.sf(statistic, total - 1) < 1 - 1e-4


@pytest.mark.parametrize(("total", "count"), [(16, 8), (65, 13), (100, 10), (192, 19)])
def test_every_pair_is_kept_equally_often(total, count):
    draws = 3000
    kept = torch.zeros(draws, total, dtype=torch.float64).scatter_(1, many_draws(total, count), 1.0)
    row, column = torch.triu_indices(total, total, 1)
    together = (kept.T @ kept)[row, column]
    share = count * (count - 1) / (total * (total - 1))
    dispersion = ((together - draws * share) ** 2 / (draws * share * (1 - share))).mean()
    assert 0.6 < dispersion < 1.4


def test_segments_are_independent_and_inclusion_uniform_in_each():
    segments, length, count = 500, 24, 6
    kept = torch.zeros(segments, length)
    for episode in range(200):
        kept.scatter_add_(1, draw_exact(KEY, episode, segments, length, count).long(), torch.ones(segments, count))
    statistic = float(((kept - 50) ** 2 / 50).sum()) / (1 - count / length) * (length - 1) / length
    assert 1e-4 < scipy.stats.chi2.sf(statistic, segments * (length - 1)) < 1 - 1e-4
    first = torch.stack([draw_exact(KEY, episode, 2, length, 1).reshape(-1) for episode in range(4000)]).long()
    table = torch.zeros(length, length)
    table.index_put_((first[:, 0], first[:, 1]), torch.ones(4000), accumulate=True)
    assert 1e-4 < scipy.stats.chi2.sf(float(((table - 4000 / 576) ** 2 / (4000 / 576)).sum()), 575) < 1 - 1e-4


def test_inclusion_is_uniform_over_seeds_too():
    total, count, seeds = 50, 10, 4000
    kept = torch.zeros(total)
    for seed in range(seeds):
        kept[kept_of(total, count, 0, tensor_key(seed, "w"))] += 1
    statistic = float(((kept - 800) ** 2 / 800).sum()) / 0.8 * 49 / 50
    assert 1e-4 < scipy.stats.chi2.sf(statistic, total - 1) < 1 - 1e-4


@pytest.mark.parametrize("length", [1, 3, 64, 65, 1000, 4096])
def test_the_network_permutes_its_whole_domain(length):
    """Each power of two, odd and even numbers of bits, by enumeration."""
    bits = sampling.permutation_bits(length)
    keys, _ = sampling.segment_keys([KEY], 3, 1, length)
    image = sampling._feistel(torch.arange(1 << bits, dtype=torch.int32), keys, bits)
    assert torch.equal(image.sort().values, torch.arange(1 << bits, dtype=torch.int32))


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.99999, 1 - 3 / 256, 1 - 2**-32])
@pytest.mark.parametrize("total", [1, 15, 17, 1000])
def test_coins_are_their_definition(total, sparsity):
    """Word by word in plain integers: four bytes from four streams, compared with the threshold."""
    counters, threshold = (total + 15) // 16, sampling.coin_threshold(sparsity)
    expected = []
    for unit in range(total):
        word = 0
        for stream in range(4):
            drawn = philox_words(KEY, (unit % (4 * counters) // 4, 0, 6, stream))[unit // (4 * counters)]
            word = word << 8 | drawn >> 8 * (unit % 4) & 0xFF
        expected.append(word < threshold)
    assert draw_bernoulli(KEY, 6, total, sparsity).tolist() == expected


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
            drawn.append((draw_exact(KEY, 5, 300, 1000, 100), draw_bernoulli(KEY, 5, 300_000, 0.9)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])


def test_every_process_draws_the_same_masks():
    """Ranks of a parallel run agree without traffic: nothing of a process enters, not even Python's salted hashes."""
    code = (
        "from gmixout.sampling import draw_exact, draw_bernoulli, tensor_key as key;"
        "print(draw_exact(key(3, 'weight'), 7, 2, 9000, 40).tolist(),"
        "draw_bernoulli(key(3, 'weight'), 7, 200, 0.9).nonzero().flatten().tolist())"
    )
    printed = set()
    for rank in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": rank, "RANK": rank, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        printed.add(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True).stdout)
    here = draw_exact(KEY, 7, 2, 9000, 40).tolist(), draw_bernoulli(KEY, 7, 200, 0.9).nonzero().flatten().tolist()
    assert printed == {f"{here[0]} {here[1]}\n".encode()}


def test_pieces_leave_no_seams(monkeypatch):
    whole = draw_exact(KEY, 1, 100, 1000, 99), draw_bernoulli(KEY, 1, 100_000, 0.5)
    monkeypatch.setattr(sampling, "_SLOTS_AT_ONCE", 1)
    monkeypatch.setattr(sampling, "_COUNTERS_AT_ONCE", 100)
    assert torch.equal(draw_exact(KEY, 1, 100, 1000, 99), whole[0])
    assert torch.equal(draw_bernoulli(KEY, 1, 100_000, 0.5), whole[1])


def test_impossible_draws_are_refused():
    with pytest.raises(ValueError, match=r"count must lie in \[1, 10\], got 11"):
        draw_exact(KEY, 0, 1, 10, 11)
    with pytest.raises(ValueError, match=r"length must lie in \[1, 2\*\*30\], got 0"):
        draw_exact(KEY, 0, 1, 0, 1)


def test_kept_count_is_rounded_and_never_zero():
    assert [kept_count(1000, p) for p in (0.0, 0.5, 0.9996, 0.99999)] == [1000, 500, 1, 1]


def test_masks_differ_between_episodes_seeds_and_names():
    drawn = {
        tuple(kept_of(1000, 50, episode, tensor_key(seed, name)).sort().values.tolist())
        for seed in (0, 1)
        for name in ("a", "b")
        for episode in (0, 1)
    }
    assert len(drawn) == 8


def test_stored_draw_never_changes():
    """Results of past runs are rebuilt from masks, so their bits are part of the file format."""
    assert draw_exact(KEY, 2, 2, 1000, 5).tolist() == STORED_EXACT
    assert draw_bernoulli(KEY, 2, 40, 0.8).nonzero().reshape(-1).tolist() == STORED_COINS


STORED_EXACT = [[651, 335, 893, 798, 257], [19, 908, 786, 597, 251]]
STORED_COINS = [1, 6, 7, 8, 21, 24, 28, 39]
