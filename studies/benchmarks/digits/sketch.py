"""The fine-tuning domain `sketch`: pencil outlines, broken and hatched, among stray lines. Never in pretraining."""

from __future__ import annotations

import numpy as np

from studies.benchmarks.draws import Draws
from studies.benchmarks.filters import blur, dilate, erode, smooth_field

STRAY_LINES = 3


def sketch(draws: Draws, alpha: np.ndarray, held_out: bool) -> np.ndarray:
    """The outline of the figure in broken pencil strokes, hatching, up to three stray lines, grain.

    Args:
        draws: Source of the parameters.
        alpha: Masks in [0, 1], shape ``(N, 32, 32)``.
        held_out: Ignored; no photograph is used.

    Returns:
        Grey images in [0, 1], shape ``(N, 32, 32, 3)``.
    """
    count, size = alpha.shape[:2]
    one = (count, 1, 1)
    solid = np.clip((alpha - 0.25) * 2.5, 0, 1)
    outline = dilate(solid) - np.where(draws.chance(0.5, one), solid, erode(solid))
    gaps = np.clip((smooth_field(draws, count, 9, size) + draws.uniform(0.4, 1.4, one)) * 3, 0, 1)
    ink = blur(outline, 0.45) * gaps * draws.uniform(0.7, 1.0, one)

    inside = draws.chance(0.5, one)
    hatching = _hatching(draws, count, size, alpha.dtype) * np.where(inside, solid, 1 - solid)
    ink = np.maximum(ink, hatching * draws.uniform(0.0, 0.3, one))
    for _ in range(STRAY_LINES):
        line = _line(draws, count, size, alpha.dtype) * draws.chance(0.4, one)
        ink = np.maximum(ink, line * draws.uniform(0.3, 0.8, one))

    paper = draws.uniform(0.8, 1.0, one)
    grey = paper - ink * draws.uniform(0.6, 0.9, one) + 0.10 * draws.noise((count, size, size))
    return np.broadcast_to(np.clip(grey, 0, 1)[..., None], (count, size, size, 3))


def _hatching(draws: Draws, count: int, size: int, dtype: np.dtype) -> np.ndarray:
    """Parallel lines at a random angle, pitch and phase, in [0, 1]."""
    angle = draws.uniform(0, np.pi, (count, 1, 1))
    pitch = draws.uniform(3.0, 5.5, (count, 1, 1))
    phase = draws.uniform(0, 2 * np.pi, (count, 1, 1))
    row, column = np.mgrid[:size, :size].astype(dtype)
    wave = np.cos((row * np.sin(angle) + column * np.cos(angle)) * (2 * np.pi / pitch) + phase)
    return np.clip(wave * 2 - 0.8, 0, 1)


def _line(draws: Draws, count: int, size: int, dtype: np.dtype) -> np.ndarray:
    """A pencil line of finite length somewhere on the paper, in [0, 1]."""
    angle = draws.uniform(0, np.pi, (count, 1, 1))
    centre_y, centre_x = draws.uniform(4, size - 4, (2, count, 1, 1))
    length, width = draws.uniform(5, 14, (count, 1, 1)), draws.uniform(0.5, 1.1, (count, 1, 1))
    row, column = np.mgrid[:size, :size].astype(dtype)
    along = (row - centre_y) * np.sin(angle) + (column - centre_x) * np.cos(angle)
    across = (row - centre_y) * np.cos(angle) - (column - centre_x) * np.sin(angle)
    return np.clip(width + 0.5 - np.abs(across), 0, 1) * np.clip(length + 0.5 - np.abs(along), 0, 1)
