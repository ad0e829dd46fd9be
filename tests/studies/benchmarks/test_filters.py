"""Draws and filters: moments, identities, exact rounding."""

import numpy as np
import pytest

from studies.benchmarks.draws import Draws
from studies.benchmarks.filters import blur, cubic, dilate, erode, sample, to_uint8


def test_draws_are_named_by_their_key():
    one, same, other = (Draws("a", key).uniform(0, 1, (5,)) for key in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_have_their_moments_and_type(dtype):
    draws = Draws("moments", dtype=dtype)
    for values in (draws.normal((40000,)), draws.noise((40000,))):
        assert values.dtype == dtype
        assert abs(values.mean()) < 0.03
        assert values.std() == pytest.approx(1, abs=0.02)
    assert set(draws.integers(3, (100,)).tolist()) == {0, 1, 2}
    assert sorted(draws.order(50).tolist()) == list(range(50))


def test_halves_round_up_however_they_were_reached():
    half = 127.5 / 255
    around = np.array([half, np.nextafter(half, 0), np.nextafter(half, 1)])
    assert to_uint8(around).tolist() == [128, 128, 128]


def test_every_byte_survives_rounding():
    assert to_uint8(np.arange(256) / 255).tolist() == list(range(256))


def test_filters_keep_constant_images():
    flat = np.full((2, 8, 8, 3), 0.3)
    np.testing.assert_allclose(blur(flat, np.array([0.5, 2.0])), flat)
    np.testing.assert_allclose(cubic(32, 5).sum(axis=1), 1)
    np.testing.assert_array_equal(dilate(flat[..., 0]), flat[..., 0])


def test_blur_of_no_width_is_the_identity():
    images = Draws("blur").uniform(0, 1, (2, 8, 8))
    np.testing.assert_allclose(blur(images, 0.0), images)


def test_erosion_and_dilation_bound_the_image():
    alpha = Draws("morphology").uniform(0, 1, (2, 8, 8))
    assert (erode(alpha) <= alpha).all()
    assert (alpha <= dilate(alpha)).all()


def test_sampling_at_pixel_centres_is_the_identity():
    images = Draws("sample").uniform(0, 1, (2, 6, 7, 3))
    y, x = np.mgrid[:6, :7].astype(float)
    grid = (np.broadcast_to(y, (2, 6, 7)), np.broadcast_to(x, (2, 6, 7)))
    np.testing.assert_allclose(sample(images, *grid), images)
