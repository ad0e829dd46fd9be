"""Flips mirror some images and leave the others bit for bit; what training adds to a batch stays on its device."""

import numpy as np
import pytest
import torch

from studies.benchmarks.draws import Draws
from studies.recipe import Additions
from studies.recipe.crop import random_crop
from studies.recipe.flip import random_flip
from studies.settings.recipe import Recipe


def test_each_image_is_mirrored_by_a_coin_of_its_own():
    images = torch.rand(4000, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    found = random_flip(images, 0.3, Draws("flip", 0))
    is_mirrored = torch.tensor([torch.equal(one, other.flip(-1)) for one, other in zip(found, images)])
    is_kept = torch.tensor([torch.equal(one, other) for one, other in zip(found, images)])
    assert (is_mirrored ^ is_kept).all()
    # Five standard deviations of a fraction of 4000 coins.
    assert abs(is_mirrored.double().mean().item() - 0.3) < 5 * (0.3 * 0.7 / 4000) ** 0.5
    assert not torch.equal(random_flip(images, 0.3, Draws("flip", 1)), found)
    assert torch.equal(random_flip(images, 1.0, Draws("flip", 0)), images.flip(-1))
    assert torch.equal(random_flip(images, 0.0, Draws("flip", 0)), images)


@pytest.mark.parametrize("alphas", [(0.4, 0.0), (0.0, 1.0)])
def test_nothing_leaves_the_batchs_device(alphas):
    # A device without numbers: whatever were read from it, or sent elsewhere, would be an error.
    images, labels = torch.empty(8, 3, 16, 16, device="meta"), torch.zeros(8, dtype=torch.int64, device="meta")
    recipe = Recipe(flip=0.5, augmentation="randaugment", mixup_alpha=alphas[0], cutmix_alpha=alphas[1])
    found, targets = Additions(recipe, np.ones(5), seed=0).batch(random_crop(images, 0.5, Draws(0)), labels, 0)
    assert found.device == targets.device == images.device
    assert found.shape == images.shape
    assert targets.shape == (8, 5)
