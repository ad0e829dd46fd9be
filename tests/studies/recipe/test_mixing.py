"""MixUp and CutMix by brute force: pixels, targets, and areas cut off at the borders."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torch.nn import functional

from studies.benchmarks.draws import Draws
from studies.recipe.mixing import cut_box, cut_mix, mix, mix_up

SHARES = st.floats(0, 1)
SIZES = st.integers(1, 12)


def batch(count, height, width, seed=0):
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, height, width, generator=random, dtype=torch.float64)
    labels = torch.randint(0, 5, (count,), generator=random)
    return images, functional.one_hot(labels, 5).double()


@settings(deadline=None, max_examples=50)
@given(count=st.integers(1, 5), share=SHARES, seed=st.integers(0, 99))
def test_mixup_is_the_stated_mixture(count, share, seed):
    images, targets = batch(count, 4, 3, seed)
    mixed, soft = mix_up(images, targets, share)
    for index in range(count):
        for found, given_ in ((mixed, images), (soft, targets)):
            exact = share * given_[index] + (1 - share) * given_[(index - 1) % count]
            torch.testing.assert_close(found[index], exact, rtol=0, atol=1e-15)


@settings(deadline=None, max_examples=100)
@given(height=SIZES, width=SIZES, share=SHARES, at=st.tuples(SHARES, SHARES), count=st.integers(1, 4))
def test_cutmix_pastes_the_box_and_shares_by_the_true_area(height, width, share, at, count):
    y, x = (min(int(part * size), size - 1) for part, size in zip(at, (height, width), strict=True))
    images, targets = batch(count, height, width)
    top, left, bottom, right = box = cut_box(share, y, x, height, width)
    mixed, soft = cut_mix(images, targets, box)
    for index in range(count):
        other, pasted = (index - 1) % count, 0
        for row in range(height):
            for column in range(width):
                is_inside = top <= row < bottom and left <= column < right
                source = other if is_inside else index
                pasted += is_inside
                assert torch.equal(mixed[index, :, row, column], images[source, :, row, column])
        kept = 1 - pasted / (height * width)
        exact = kept * targets[index] + (1 - kept) * targets[other]
        torch.testing.assert_close(soft[index], exact, rtol=0, atol=1e-15)


@settings(deadline=None, max_examples=100)
@given(size=st.integers(8, 64), share=SHARES, at=st.tuples(SHARES, SHARES))
def test_box_is_around_its_centre_within_the_image_and_not_larger_than_drawn(size, share, at):
    y, x = (min(int(part * size), size - 1) for part in at)
    top, left, bottom, right = cut_box(share, y, x, size, size)
    assert 0 <= top <= y <= bottom <= size
    assert 0 <= left <= x <= right <= size
    assert (bottom - top) * (right - left) <= (1 - share) * size**2 + 1e-9
    half = int(0.5 * np.sqrt(1 - share) * size)
    if half <= min(y, x) and max(y, x) + half <= size:
        assert (bottom - top) == (right - left) == 2 * half


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.3, 0.0), (0.0, 1.0), (1.0, 1.0), (1e-3, 1e-3), (1e3, 1e3)])
def test_targets_stay_probabilities_and_inputs_are_kept(mixup, cutmix):
    images, targets = batch(6, 8, 8)
    kept = images.clone(), targets.clone()
    for seed in range(50):
        mixed, soft = mix(images, targets, mixup, cutmix, Draws(seed))
        assert (soft >= 0).all()
        torch.testing.assert_close(soft.sum(dim=1), torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-12)
        assert 0 <= mixed.min() <= mixed.max() <= 1
    assert torch.equal(images, kept[0])
    assert torch.equal(targets, kept[1])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_share_follows_its_beta_distribution(alpha):
    images, targets = torch.tensor([0.0, 1.0]).double().reshape(2, 1, 1, 1), torch.eye(2).double()
    shares = [mix(images, targets, alpha, 0.0, Draws("beta", seed))[0][1].item() for seed in range(2000)]
    assert kstest(shares, "beta", args=(alpha, alpha)).pvalue > 0.01


def test_a_fair_coin_chooses_when_both_are_on():
    images, targets = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 16, 16), torch.eye(2)
    is_mixup = []
    for seed in range(1000):
        mixed, _ = mix(images, targets, 1.0, 1.0, Draws("coin", seed))
        is_mixup.append(bool((mixed[1] == mixed[1, 0, 0, 0]).all() and 0 < mixed[1, 0, 0, 0] < 1))
    assert abs(np.mean(is_mixup) - 0.5) < 4 * 0.5 / np.sqrt(1000)


def test_nothing_to_mix_is_an_error():
    with pytest.raises(ValueError, match="above 0, got 0 for both"):
        mix(*batch(2, 2, 2), 0.0, 0.0, Draws(0))
