"""Random resized crops: torchvision's pixels, torchvision's boxes, one box an image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as torchvision

from studies.benchmarks.boxes import crop_boxes
from studies.benchmarks.draws import Draws
from studies.recipe.crop import random_crop


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 40), width=st.integers(1, 40), smallest=st.floats(0.01, 1), seed=st.integers(0, 99))
def test_pixels_are_those_of_torchvision(height, width, smallest, seed):
    images = torch.rand(4, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    crops = random_crop(images, smallest, Draws(seed))
    boxes = np.stack(crop_boxes(4, height, width, smallest, Draws(seed)), axis=1).tolist()
    for image, crop, (top, left, tall, wide) in zip(images, crops, boxes, strict=True):
        assert 0 <= top <= top + tall <= height
        assert 0 <= left <= left + wide <= width
        same = torchvision.resized_crop(image, top, left, tall, wide, [height, width], antialias=False)
        torch.testing.assert_close(crop, same, rtol=0, atol=1e-12)


def test_boxes_are_distributed_as_those_of_torchvision():
    count, transform = 3000, RandomResizedCrop(32, scale=(0.3, 1.0))
    ours = np.stack(crop_boxes(count, 32, 32, 0.3, Draws("boxes")), axis=1)
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        drawn = [transform.make_params([torch.zeros(3, 32, 32)]) for _ in range(count)]
    theirs = np.array([[params[name] for name in ("top", "left", "height", "width")] for params in drawn])
    for column in range(4):
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 0.01
    assert ks_2samp(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]).pvalue > 0.01


def test_a_whole_square_is_the_image_bit_for_bit():
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(random_crop(images, 1.0, Draws(0)), images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_image_has_its_own_box(dtype):
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=dtype)
    crops = random_crop(image.expand(16, -1, -1, -1), 0.1, Draws(0))
    assert crops.dtype == dtype
    assert len({crop.numpy().tobytes() for crop in crops}) == 16
