"""The generator: published known answers, and bits equal to Triton's under its interpreter."""

import pytest
import torch
import triton
import triton.language as tl
from hypothesis import given, settings
from hypothesis import strategies as st

from gmixout.philox import philox, rand, randint4x

FULL = 0xFFFFFFFF


@triton.jit
def _randint4x_kernel(out, offsets, seed, size: tl.constexpr):
    lanes = tl.arange(0, size)
    a, b, c, d = tl.randint4x(seed, tl.load(offsets + lanes))
    tl.store(out + lanes, a)
    tl.store(out + size + lanes, b)
    tl.store(out + 2 * size + lanes, c)
    tl.store(out + 3 * size + lanes, d)


@triton.jit
def _rand_kernel(out, offsets, seed, size: tl.constexpr):
    lanes = tl.arange(0, size)
    tl.store(out + lanes, tl.rand(seed, tl.load(offsets + lanes)))


@triton.jit
def _philox_kernel(out, c0, c1, c2, c3, seed, size: tl.constexpr):
    lanes = tl.arange(0, size)
    words = tl.load(c0 + lanes), tl.load(c1 + lanes), tl.load(c2 + lanes), tl.load(c3 + lanes)
    a, b, c, d = tl.philox(seed, words[0], words[1], words[2], words[3])
    tl.store(out + lanes, a.to(tl.int32, bitcast=True))
    tl.store(out + size + lanes, b.to(tl.int32, bitcast=True))
    tl.store(out + 2 * size + lanes, c.to(tl.int32, bitcast=True))
    tl.store(out + 3 * size + lanes, d.to(tl.int32, bitcast=True))


def as_int32(words):
    return torch.stack(words).to(torch.int32)


@pytest.mark.parametrize(
    ("seed", "counter", "expected"),
    [
        (0, (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (2**64 - 1, (FULL, FULL, FULL, FULL), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            0x299F31D0A4093822,
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers_of_random123(seed, counter, expected):
    assert tuple(int(word) for word in philox(seed, *(torch.tensor(c) for c in counter))) == expected


@pytest.mark.parametrize("seed", [0, 42, 2**31 + 5, 2**63 - 1])
@pytest.mark.parametrize("start", [0, 2**32 - 4, 2**40 + 3])
def test_randint4x_and_rand_equal_triton(seed, start):
    offsets = start + torch.arange(64)
    words = torch.empty(4, 64, dtype=torch.int32)
    _randint4x_kernel[(1,)](words, offsets, seed, 64)
    assert torch.equal(words, as_int32(randint4x(seed, offsets)))
    uniform = torch.empty(64)
    _rand_kernel[(1,)](uniform, offsets, seed, 64)
    assert torch.equal(uniform, rand(seed, offsets))
    assert uniform.min() >= 0
    assert uniform.max() < 1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, FULL), min_size=4, max_size=4))
def test_counters_equal_triton(seed, counter):
    columns = [torch.full((16,), c) + torch.arange(16) & FULL for c in counter]
    words = torch.empty(4, 16, dtype=torch.int32)
    _philox_kernel[(1,)](words, *(c.to(torch.int32) for c in columns), seed, 16)
    assert torch.equal(words, as_int32(philox(seed, *columns)))


def test_seed_out_of_range_is_refused():
    zero = torch.tensor(0)
    with pytest.raises(ValueError, match=r"seed must lie in \[0, 2\*\*64\), got -1"):
        philox(-1, zero, zero, zero, zero)
