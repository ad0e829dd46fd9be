"""A weight in two halves: nothing is lost, and the upper half is the nearest bfloat16."""

import pytest
import torch

from gmixout.hilo import join, split


def from_bits(*bits):
    return torch.tensor([b - 2**32 if b >= 2**31 else b for b in bits], dtype=torch.int32).view(torch.float32)


SPECIAL = from_bits(
    0, 0x80000000, 1, 0x80000001, 0x7FFF, 0x8000, 0x8001, 0x18000, 0x80008000, 0x007FFFFF, 0x00800000, 0x3F808000,
    0x3F818000, 0xBF808000, 0x3F807FFF, 0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000,
)  # fmt: skip


def random_bits(count):
    bits = torch.randint(-(2**31), 2**31, (count,), generator=torch.Generator().manual_seed(0)).to(torch.int32)
    weight = bits.view(torch.float32)
    return weight[~weight.isnan()]


@pytest.mark.parametrize("weight", [SPECIAL, random_bits(100_000)], ids=["special", "random"])
def test_every_number_comes_back_bit_for_bit(weight):
    assert torch.equal(join(*split(weight)).view(torch.int32), weight.view(torch.int32))


def test_the_upper_half_is_a_nearest_bfloat16():
    weight = random_bits(100_000)
    weight = weight[weight.abs() < 1e38].double()
    hi, nearest = split(weight.float())[0].double(), weight.float().bfloat16().double()
    assert torch.equal((hi - weight).abs(), (nearest - weight).abs())


def test_nans_stay_nans_in_both():
    nans = from_bits(0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0xFF80FFFF)
    hi, lo = split(nans)
    assert hi.isnan().all()
    assert join(hi, lo).isnan().all()


def test_largest_numbers_are_restored_though_their_upper_half_is_infinite():
    weight = torch.tensor([torch.finfo(torch.float32).max])
    hi, lo = split(weight)
    assert hi.isinf().all()
    assert torch.equal(join(hi, lo), weight)


def test_only_float32_is_split():
    with pytest.raises(TypeError, match="float32"):
        split(torch.zeros(2, dtype=torch.float64))
