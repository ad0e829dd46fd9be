"""The fifteen corruptions: they keep the type, grow with severity, and are functions of their seed."""

import io

import numpy as np
import pytest
from PIL import Image

from studies.benchmarks import load
from studies.benchmarks.corruptions import CORRUPTIONS, SEVERITIES, corrupt


@pytest.fixture(scope="module")
def images():
    benchmark = load("digits")
    return np.concatenate([benchmark.load(name).images[::12] for name in ("id_test", *benchmark.ood_splits)])


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_change_grows_with_severity(kind, images):
    changes = []
    for severity in SEVERITIES:
        corrupted = corrupt(images, kind, severity, seed=0)
        assert corrupted.dtype == np.uint8
        assert corrupted.shape == images.shape
        changes.append(np.abs(corrupted.astype(float) - images).mean())
    assert changes[0] > 0.5
    assert (np.diff(changes) > 0).all()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_is_a_function_of_its_seed_and_leaves_the_input_alone(kind, images):
    before = images.copy()
    once, again, other = (corrupt(images, kind, 3, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(images, before)
    if kind not in {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}:
        assert (once != other).any()


def test_shot_noise_has_the_moments_of_a_poisson_count():
    grey = np.full((200, 32, 32, 3), 128, np.uint8)
    noisy = corrupt(grey, "shot_noise", 3, seed=0) / 255
    mean = 128 / 255
    assert noisy.mean() == pytest.approx(mean, rel=0.01)
    assert noisy.var() == pytest.approx(mean / 100, rel=0.03)


def test_jpeg_loses_what_libjpeg_loses(images):
    ours = corrupt(images, "jpeg_compression", 3, seed=0).astype(float)
    theirs = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=58)
        theirs.append(np.asarray(Image.open(buffer)))
    lost = np.abs(ours - images).mean()
    assert np.abs(ours - np.stack(theirs)).mean() < 0.25 * lost


@pytest.mark.parametrize(
    ("kind", "severity", "message"),
    [("rain", 1, "unknown corruption 'rain'; choose one of gaussian_noise"), ("fog", 6, "severity must be one of")],
)
def test_unknown_kind_or_severity_is_refused(kind, severity, message, images):
    with pytest.raises(ValueError, match=message):
        corrupt(images, kind, severity, seed=0)


def test_other_shapes_and_types_are_refused(images):
    with pytest.raises(ValueError, match="images must be uint8 of shape"):
        corrupt(images / 255, "fog", 1, seed=0)
