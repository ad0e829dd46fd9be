"""Fused Mixout draws the coins of the law, bit for bit, and mixes as the law mixes."""

import pytest
import torch
import triton
import triton.language as tl

from gmixout import reference
from gmixout.kernels import mixing
from gmixout.kernels.mixing import coins, draw_planes, mix, mix_gradient, plane_positions
from gmixout.philox import philox_words
from gmixout.sampling import coin_threshold, draw_bernoulli
from tests.gmixout.kernels.weights import DTYPES, assert_as_close

KEY = 0x9ABCDEF012345678
# Shape, type and type of the result.
CASES = [((77, 513), dtype, out_dtype) for dtype in DTYPES for out_dtype in DTYPES]
CASES += [(shape, torch.float32, torch.bfloat16) for shape in [(1,), (3,), (16, 4, 32), (0, 5)]]


@pytest.fixture(autouse=True)
def _fresh_memory_is_nan():
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def normal(shape, dtype, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def word_of(unit, total, key, episode):
    """The 32 bits of a unit, as `gmixout.sampling.draw_bernoulli` describes them."""
    plane, place = divmod(unit, 4 * -(-total // 16))
    streams = [philox_words(key, (place // 4, 0, episode, stream))[plane] for stream in range(4)]
    return int.from_bytes(bytes(word >> 8 * (place % 4) & 0xFF for word in streams), "big")


@pytest.mark.parametrize("sparsity", [0.0, 2.0**-32, 0.1, 0.5, 0.75, 0.9, 0.98, 1 - 2.0**-32])
@pytest.mark.parametrize("total", [1, 3, 16, 77 * 513])
def test_coins_are_those_of_the_law(total, sparsity):
    got = coins(total, KEY, 7, coin_threshold(sparsity))
    assert got.dtype == torch.bool
    assert torch.equal(got, draw_bernoulli(KEY, 7, total, sparsity))


def test_coins_of_many_programs():
    total = 4 * 16 * mixing.COUNTERS_A_PROGRAM + 5
    assert torch.equal(coins(total, KEY, 0, coin_threshold(0.3)), draw_bernoulli(KEY, 0, total, 0.3))


@pytest.mark.parametrize("number", [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_all_bits_of_key_and_episode_count(number):
    for key, episode in [(number, 5), (KEY, number % 2**32)]:
        expected = draw_bernoulli(key, episode, 100, 0.5)
        assert torch.equal(coins(100, key, episode, 2**31), expected), (key, episode)
        read = mix_gradient(
            torch.ones(100), 1.0, key=key, episode=torch.tensor([episode]), threshold=2**31, out_dtype=torch.float32
        )
        assert torch.equal(read.bool(), expected), (key, episode)


@pytest.mark.parametrize(("total", "unit"), [(100, 0), (100, 29), (100, 58), (100, 99), (77 * 513, 77 * 513 - 1)])
def test_a_word_at_the_threshold_is_held_and_one_below_it_kept(total, unit):
    word = word_of(unit, total, KEY, 9)
    # Thresholds that agree with the word in its first byte, two, three and all.
    for threshold in [word, word + 1, *((word >> bit ^ 1) << bit for bit in range(0, 32, 5))]:
        got = coins(total, KEY, 9, threshold)
        assert got[unit] == (word < threshold), f"{word:#x} {threshold:#x}"
        assert torch.equal(got, draw_bernoulli(KEY, 9, total, 1 - threshold / 2**32)), f"{threshold:#x}"


def test_programs_of_any_size_agree(monkeypatch):
    whole = coins(10_000, KEY, 1, 3 * 2**30 + 1)
    monkeypatch.setattr(mixing, "COUNTERS_A_PROGRAM", 128)
    assert torch.equal(coins(10_000, KEY, 1, 3 * 2**30 + 1), whole)


def coin_arguments(shape, sparsity):
    """Both ways to name a mask, and the mask."""
    keep = draw_bernoulli(KEY, 3, torch.Size(shape).numel(), sparsity).view(shape)
    drawn = {"key": KEY, "episode": 3, "threshold": coin_threshold(sparsity)}
    return keep, {"drawn": drawn, "stored": {"keep": keep}}


@pytest.mark.parametrize(("shape", "dtype", "out_dtype"), CASES, ids=str)
def test_mix(shape, dtype, out_dtype):
    weight, anchor = normal(shape, dtype), normal(shape, dtype, seed=1)
    keep, ways = coin_arguments(shape, 0.7)
    results = []
    for name, mask in ways.items():
        got = mix(weight, anchor, 2.5, **mask, out_dtype=out_dtype)
        assert (got.shape, got.dtype) == (weight.shape, out_dtype)
        if got.numel():
            plain = reference.mix(weight, anchor, keep, 2.5).to(out_dtype)
            exact = reference.mix(weight.double(), anchor.double(), keep, 2.5)
            assert_as_close(name, got, plain, exact)
        if dtype == torch.float64 and out_dtype == torch.float32:
            assert torch.equal(got, plain), "computed in float64, rounded once"
        assert torch.equal(bits(got[~keep]), bits(anchor.to(out_dtype)[~keep])), name
        results.append(got)
    assert torch.equal(*results)


@pytest.mark.parametrize(("shape", "dtype", "out_dtype"), CASES, ids=str)
def test_mix_gradient(shape, dtype, out_dtype):
    gradient = normal(shape, dtype)
    keep, ways = coin_arguments(shape, 0.7)
    for name, mask in ways.items():
        for scale in (1.0, 2.5):
            got = mix_gradient(gradient, scale, **mask, out_dtype=out_dtype)
            assert (got.shape, got.dtype) == (gradient.shape, out_dtype)
            if got.numel():
                plain = reference.mix_gradient(gradient, keep, scale).to(out_dtype)
                assert_as_close(name, got, plain, reference.mix_gradient(gradient.double(), keep, scale))
            assert (got[~keep] == 0).all(), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_without_a_factor_both_ends_keep_every_bit(dtype):
    weight, anchor = normal((77, 513), dtype), normal((77, 513), dtype, seed=1)
    weight[0, :3] = torch.tensor([torch.inf, -torch.inf, -0.0])
    anchor[1, :3] = torch.tensor([torch.inf, -torch.inf, -0.0])
    keep, ways = coin_arguments((77, 513), 0.5)
    for mask in ways.values():
        got = mix(weight, anchor, 1.0, **mask, out_dtype=dtype)
        assert torch.equal(bits(got), bits(torch.where(keep, weight, anchor)))


@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf, -torch.inf])
def test_nothing_leaks_through_the_mask(spoilt):
    weight, anchor = torch.full((40, 50), spoilt), normal((40, 50), torch.float32)
    keep, ways = coin_arguments((40, 50), 0.5)
    for mask in ways.values():
        assert torch.equal(mix(weight, anchor, 2.0, **mask, out_dtype=torch.float32)[~keep], anchor[~keep])
        gradient = mix_gradient(weight, 2.0, **mask, out_dtype=torch.bfloat16)
        assert (gradient[~keep] == 0).all()
        assert not gradient[keep].isfinite().any()


def test_strided_tensors():
    weight, anchor = normal((30, 50), torch.float32).T, normal((100, 30), torch.float32, seed=1)[::2]
    keep, ways = coin_arguments((50, 30), 0.5)
    ways["stored"]["keep"] = keep.T.contiguous().T
    for mask in ways.values():
        got = mix(weight, anchor, 1.0, **mask, out_dtype=torch.float32)
        assert got.is_contiguous()
        assert torch.equal(got, torch.where(keep, weight, anchor))
        got = mix_gradient(weight, 1.0, **mask, out_dtype=torch.float32)
        assert torch.equal(got, torch.where(keep, weight, 0.0))


def test_what_cannot_be_mixed_is_refused():
    weight, keep = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"anchor must have the shape \(2, 3\), got \(3, 2\)"):
        mix(weight, weight.T, 1.0, keep=keep, out_dtype=torch.float32)
    with pytest.raises(ValueError, match="keep must have the shape"):
        mix_gradient(weight, 1.0, keep=keep[:1], out_dtype=torch.float32)
    for mask in ({}, {"key": 1, "episode": 2}, {"key": 1, "episode": 2, "threshold": 3, "keep": keep}):
        with pytest.raises(ValueError, match="either keep, or all of"):
            mix_gradient(weight, 1.0, **mask, out_dtype=torch.float32)
    vast = torch.zeros(1).expand(2**36 + 1)
    with pytest.raises(ValueError, match="at most 68719476736 entries"):
        mix_gradient(vast, 1.0, key=0, episode=0, threshold=0, out_dtype=torch.float32)
    with pytest.raises(ValueError, match="at most"):
        coins(2**36 + 1, key=0, episode=0, threshold=0)


@triton.jit
def _late_program_kernel(
    POSITIONS, EXISTS, KEPT, program, total, counters, key_low, key_high, episode, head, tail, COUNTERS: tl.constexpr
):
    drawn = draw_planes(program, key_low, key_high, episode, head, tail, COUNTERS)
    lane = tl.arange(0, 4 * COUNTERS)
    for plane in tl.static_range(4):
        position, exists = plane_positions(program, plane, total, counters, COUNTERS)
        tl.store(POSITIONS + plane * 4 * COUNTERS + lane, position)
        tl.store(EXISTS + plane * 4 * COUNTERS + lane, exists.to(tl.uint8))
        tl.store(KEPT + plane * 4 * COUNTERS + lane, drawn[plane].to(tl.uint8))


@pytest.mark.parametrize("total", [3 * 2**31 + 17, 2**36])
def test_the_last_program_of_a_vast_tensor(total):
    lanes = 4 * (counters_a_program := 128)
    counters = -(-total // 16)
    program = (counters - 1) // counters_a_program
    positions = torch.full((4, lanes), -1)
    exists, kept = torch.zeros(2, 4, lanes, dtype=torch.uint8)
    arguments = mixing._arguments(total, KEY, 3, threshold := 2**31 + 12345)
    _late_program_kernel[(1,)](positions, exists, kept, program, *arguments, COUNTERS=counters_a_program)
    place = program * lanes + torch.arange(lanes)
    expected = place + 4 * counters * torch.arange(4)[:, None]
    assert torch.equal(positions, expected)
    assert torch.equal(exists.bool(), (place < 4 * counters) & (expected < total))
    assert expected[exists.bool()].max() > 2**31
    for plane in range(4):
        for lane in (0, 6, 4 * (counters % counters_a_program or counters_a_program) - 1):
            word = word_of(expected[plane, lane].item(), total, KEY, 3)
            assert kept[plane, lane] == (word < threshold)
