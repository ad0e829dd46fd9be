"""RandAugment: every operation is torchvision's, every image has its own, and the edges of the settings."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode, RandAugment

from studies.benchmarks.draws import Draws
from studies.recipe.randaugment import OPERATIONS, _strengths, rand_augment


def pictures(count, size=32):
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0)).float() / 255


def as_bytes(images):
    return images.mul(255).round().to(torch.uint8)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_is_that_of_torchvision(name):
    image = as_bytes(pictures(1))[0]
    entry = OPERATIONS[name]
    for magnitude in range(31):
        strength = _strengths(magnitude)[list(OPERATIONS).index(name)]
        ours = {entry.apply(image, sign * strength).numpy().tobytes() for sign in ([1, -1] if entry.is_signed else [1])}
        theirs = set()
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(0)
            transform = RandAugment(1, magnitude, interpolation=InterpolationMode.BILINEAR)
            transform._AUGMENTATION_SPACE = {name: RandAugment._AUGMENTATION_SPACE[name]}
            for _ in range(12):
                theirs.add(transform(image).numpy().tobytes())
        assert ours == theirs


def test_table_is_that_of_torchvision():
    assert list(OPERATIONS) == list(RandAugment._AUGMENTATION_SPACE)
    assert [entry.is_signed for entry in OPERATIONS.values()] == [
        signed for _, signed in RandAugment._AUGMENTATION_SPACE.values()
    ]


@pytest.mark.parametrize("magnitude", [3, 30])
def test_batch_is_what_its_images_are_one_by_one(magnitude):
    images = pictures(40)
    draws = Draws("batch")
    chosen, signs = draws.integers(len(OPERATIONS), (40, 2)), draws.chance(0.5, (40, 2))
    for image, kinds, turns, found in zip(
        as_bytes(images), chosen, signs, rand_augment(images, 2, magnitude, Draws("batch")), strict=True
    ):
        for kind, is_turned in zip(kinds, turns, strict=True):
            entry, strength = list(OPERATIONS.values())[kind], _strengths(magnitude)[kind]
            image = entry.apply(image, -strength if is_turned and entry.is_signed else strength)
        assert torch.equal(as_bytes(found), image)


def test_each_image_has_its_own_operations():
    augmented = rand_augment(pictures(1).expand(24, -1, -1, -1), 2, 9, Draws(0))
    assert len({image.numpy().tobytes() for image in augmented}) > 20


def test_operations_and_signs_are_uniform():
    count = 4000
    draws = Draws("uniform")
    chosen = draws.integers(len(OPERATIONS), (count, 1))
    signs = draws.chance(0.5, (count, 1))
    bright = torch.full((count, 3, 2, 2), 100 / 255)
    augmented = rand_augment(bright, 1, 30, Draws("uniform"))
    is_brightness = (chosen == list(OPERATIONS).index("Brightness"))[:, 0]
    assert abs(is_brightness.mean() - 1 / 14) < 4 * np.sqrt(13 / 14**2 / count)
    expected = np.where(signs[is_brightness, 0], 10, 190)
    assert (as_bytes(augmented)[is_brightness].numpy() == expected[:, None, None, None]).all()


def test_no_operations_leave_pictures_of_8_bits_as_they_are():
    images = pictures(8)
    assert torch.equal(rand_augment(images, 0, 9, Draws(0)), images)


def test_pixels_between_8_bit_values_are_rounded():
    images = torch.tensor([99.4, 99.6]).reshape(2, 1, 1, 1).expand(2, 3, 4, 4) / 255
    assert as_bytes(rand_augment(images, 0, 9, Draws(0)))[:, 0, 0, 0].tolist() == [99, 100]


def test_at_magnitude_0_only_contrast_changes():
    images = pictures(60).mul(0.5).mul(255).round().div(255)
    chosen = Draws(0).integers(len(OPERATIONS), (60, 1))[:, 0]
    changed = (rand_augment(images, 1, 0, Draws(0)) != images).flatten(1).any(dim=1).tolist()
    changing = {name for name, change in zip(np.array(list(OPERATIONS))[chosen], changed, strict=True) if change}
    assert changing == {"AutoContrast", "Equalize"}


def test_output_is_like_the_input_and_the_input_is_kept():
    images = pictures(8).double()
    kept = images.clone()
    augmented = rand_augment(images, 3, 30, Draws(0))
    assert augmented.dtype == torch.float64
    assert augmented.shape == images.shape
    assert 0 <= augmented.min() <= augmented.max() <= 1
    assert torch.equal(images, kept)
