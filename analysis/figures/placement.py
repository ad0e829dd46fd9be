"""Where the numbers of crowded points go: beside their points, off each other and inside the axes."""

from itertools import product

import numpy as np
import numpy.typing as npt

from analysis.probabilities import Floats

RADII = (6.5, 9.0, 12.5, 17.0, 23.0, 31.0)
ANGLES = 24
_SWEEPS = 4


def place_labels(
    points: npt.ArrayLike, sizes: npt.ArrayLike, marks: npt.ArrayLike, canvas: tuple[float, float]
) -> Floats:
    """Centres of labels, one a point, by greedy search over rings around each point; the same input, the same answer.

    Labels of crowded points are placed first; then every label is moved a few times to the best place that the others
    leave. What is best trades overlap with other labels (worst), with points, and beyond the canvas against distance.

    Args:
        points: Positions in typographic points from the lower left corner, shape ``(points, 2)``.
        sizes: Width and height of each label in the same unit, shape ``(points, 2)``.
        marks: Diameter of each point's marker in the same unit, shape ``(points,)``.
        canvas: Width and height of the axes in the same unit.

    Returns:
        Shape ``(points, 2)``.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> place_labels([[50.0, 50.0]], [[8.0, 8.0]], [4.0], (100.0, 100.0)).round(1).tolist()
        [[56.5, 50.0]]
    """
    at, boxes = np.asarray(points, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    diameters = np.asarray(marks, dtype=np.float64)
    if at.ndim != 2 or at.shape[1] != 2 or boxes.shape != at.shape or diameters.shape != at.shape[:1]:
        raise ValueError(
            "points and sizes must have shape (points, 2) and marks (points,), "
            f"got {at.shape}, {boxes.shape} and {diameters.shape}"
        )
    if not len(at):
        return at
    squares = np.stack([diameters, diameters], axis=1)
    angles = 2.0 * np.pi * np.arange(ANGLES) / ANGLES
    ring = np.array([(radius * np.cos(angle), radius * np.sin(angle)) for radius, angle in product(RADII, angles)])
    effort = np.repeat(np.array(RADII), ANGLES)
    distances = np.linalg.norm(at[:, None] - at[None], axis=-1)
    order = np.argsort(-(distances < RADII[-1]).sum(axis=1), kind="stable")
    centres = np.full(at.shape, np.nan)
    for index in np.concatenate([order] * _SWEEPS):
        places = at[index] + ring
        centres[index] = np.nan
        taken = ~np.isnan(centres[:, 0])
        cost = effort.copy()
        cost += 30.0 * _overlap(places, boxes[index], centres[taken], boxes[taken])
        cost += 1.5 * _overlap(places, boxes[index], at, squares)
        outside = np.maximum(np.abs(places - np.array(canvas) / 2) + boxes[index] / 2 - np.array(canvas) / 2, 0.0)
        cost += 50.0 * outside.sum(axis=1)
        centres[index] = places[int(np.argmin(cost.round(9)))]
    return centres


def _overlap(places: Floats, box: Floats, centres: Floats, boxes: Floats) -> Floats:
    """Total overlap of a box at each place with the boxes, in square points."""
    gaps = np.abs(places[:, None] - centres[None])
    sides = np.clip((box + boxes[None]) / 2 - gaps, 0.0, np.minimum(box, boxes[None]))
    return np.asarray(sides.prod(axis=-1).sum(axis=1))
