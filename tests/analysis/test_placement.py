"""Labels beside crowded points: off each other, inside the axes, near their points, the same every time."""

import numpy as np
import pytest

from analysis.figures.placement import RADII, place_labels

BOX = (9.4, 6.6)
CANVAS = (330.0, 390.0)


def boxes_overlap(centres: np.ndarray) -> int:
    gaps = np.abs(centres[:, None] - centres[None])
    both = (gaps[..., 0] < BOX[0] - 1e-9) & (gaps[..., 1] < BOX[1] - 1e-9)
    return int((both.sum() - len(centres)) / 2)


def crowd(seed: int, spread: float, points: int = 36) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(0.5, spread, size=(points, 2)), 0.0, 1.0) * np.array(CANVAS)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.3, 0.08])
def test_labels_of_a_crowd_are_readable(seed: int, spread: float) -> None:
    points = crowd(seed, spread)
    centres = place_labels(points, [BOX] * 36, [5.0] * 36, CANVAS)
    assert boxes_overlap(centres) == 0
    assert (centres - np.array(BOX) / 2 >= -1e-9).all()
    assert (centres + np.array(BOX) / 2 <= np.array(CANVAS) + 1e-9).all()
    away = np.linalg.norm(centres - points, axis=1)
    assert away.min() >= RADII[0] - 1e-9
    assert away.max() <= RADII[-1] + 1e-9
    assert np.array_equal(centres, place_labels(points, [BOX] * 36, [5.0] * 36, CANVAS))


def test_a_label_clears_its_own_large_mark() -> None:
    points = np.array([[100.0, 100.0]])
    (centre,) = place_labels(points, [BOX], [16.0], CANVAS)
    gaps = np.abs(centre - points[0])
    assert gaps[0] >= (BOX[0] + 16.0) / 2 - 0.5 or gaps[1] >= (BOX[1] + 16.0) / 2 - 0.5


def test_nothing_and_what_does_not_fit() -> None:
    assert place_labels(np.empty((0, 2)), np.empty((0, 2)), [], CANVAS).shape == (0, 2)
    with pytest.raises(ValueError, match="must have shape"):
        place_labels([[0.0, 0.0]], [[1.0, 1.0]], [1.0, 2.0], CANVAS)
