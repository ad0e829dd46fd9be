"""Random framing of glyphs: affine and elastic warps, over a whole batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studies.benchmarks.draws import Draws
from studies.benchmarks.filters import cubic, sample


@dataclass(frozen=True)
class Framing:
    """Ranges of a random warp; every parameter is drawn uniformly and independently per image.

    Attributes:
        rotation: Largest angle either way, in degrees.
        scale: Smallest and largest magnification, drawn per axis.
        shear: Largest horizontal shear either way.
        shift: Largest shift either way per axis, in halves of the image side.
        elastic: Standard deviation of the smooth displacement, in halves of the image side.
    """

    rotation: float
    scale: tuple[float, float]
    shear: float
    shift: float
    elastic: float


def warp(draws: Draws, alpha: np.ndarray, framing: Framing) -> np.ndarray:
    """Warps each glyph by its own random affine map and elastic field.

    Args:
        draws: Source of the parameters.
        alpha: Masks in [0, 1], shape ``(N, S, S)``, 0 along the border.
        framing: Ranges of the parameters.

    Returns:
        Warped masks, same shape.
    """
    count, size = alpha.shape[:2]
    angle = np.deg2rad(draws.uniform(-framing.rotation, framing.rotation, (count,)))
    stretch_y, stretch_x = draws.uniform(*framing.scale, (2, count))
    shear = draws.uniform(-framing.shear, framing.shear, (count,))
    shift_y, shift_x = draws.uniform(-framing.shift, framing.shift, (2, count, 1, 1))
    cosine, sine = np.cos(angle), np.sin(angle)

    # The inverse map: undo the shift, the rotation, the shear, then the scale.
    axis = (np.arange(size, dtype=draws.dtype) + 0.5) * 2 / size - 1
    v, u = axis[None, :, None] - shift_y, axis[None, None, :] - shift_x
    shape = (count, 1, 1)
    upright_x = cosine.reshape(shape) * u + sine.reshape(shape) * v
    upright_y = -sine.reshape(shape) * u + cosine.reshape(shape) * v
    x = (upright_x - shear.reshape(shape) * upright_y) / stretch_x.reshape(shape)
    y = upright_y / stretch_y.reshape(shape)

    if framing.elastic > 0:
        field = displacement(draws, count, size, framing.elastic)
        y, x = y + field[0], x + field[1]
    return sample(alpha, (y + 1) * (size / 2) - 0.5, (x + 1) * (size / 2) - 0.5)


def displacement(draws: Draws, count: int, size: int, amplitude: float, knots: int = 5) -> np.ndarray:
    """Smooth displacement fields ``(2, count, size, size)`` for rows and columns, in the unit of ``amplitude``."""
    matrix = cubic(size, knots).astype(draws.dtype)
    grid = draws.noise((2, count, knots, knots)) * draws.dtype(amplitude)
    return matrix @ grid @ matrix.T
