"""Digital corruptions: contrast, elastic warp, pixelation and JPEG compression."""

from __future__ import annotations

import numpy as np

from studies.benchmarks.draws import Draws
from studies.benchmarks.filters import cubic, sample


def contrast(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Pulls every channel towards its mean; strength: the share that stays (CIFAR-C)."""
    share = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    mean = images.mean(axis=(1, 2), keepdims=True)
    return mean + (images - mean) * share


def elastic_transform(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Displaces pixels by a smooth field; strength: its standard deviation at the knots, in pixels.

    CIFAR-C mixes an affine with an elastic warp whose strengths do not rise together; ours rise with severity.
    """
    deviation = (0.3, 0.5, 0.7, 0.9, 1.2)[severity - 1]
    count, size = images.shape[:2]
    matrix = cubic(size, 6)
    shift = deviation * (matrix @ draws.normal((2, count, 6, 6)) @ matrix.T)
    row, column = np.mgrid[:size, :size].astype(np.float64)
    return sample(images, row + shift[0], column + shift[1])


def pixelate(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Shrinks by area averages and enlarges by repetition; strength: the smaller side as a share (CIFAR-C)."""
    size = images.shape[1]
    small = int((0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1] * size)
    edge = np.arange(small + 1) * size / small
    pixel = np.arange(size)
    average = np.clip(np.minimum(edge[1:, None], pixel + 1) - np.maximum(edge[:-1, None], pixel), 0, None)
    average *= small / size
    # The middle of each pixel, in integers, so that no rounding decides the neighbour.
    back = (2 * pixel + 1) * small // (2 * size)
    reduced = np.einsum("ab,nbcd,ec->naed", average, images, average, optimize=True)
    return reduced[:, back][:, :, back]


def jpeg_compression(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Loses what JPEG loses at a quality (CIFAR-C), computed here so that no library's version can move a pixel.

    YCbCr with halved chroma, 8x8 cosine transform, the tables of ITU T.81 Annex K scaled as libjpeg does. Differs
    from libjpeg by its integer rounding and its chroma interpolation.
    """
    quality = (80, 65, 58, 50, 40)[severity - 1]
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    planes = images * 255 @ _TO_YCBCR.T
    size = images.shape[1]
    luma = _lose(planes[..., 0] - 128, np.clip(np.floor((_LUMA * scale + 50) / 100), 1, 255))
    table = np.clip(np.floor((_CHROMA * scale + 50) / 100), 1, 255)
    up = cubic(size, size // 2)
    chroma = []
    for channel in (1, 2):
        half = planes[..., channel].reshape(len(images), size // 2, 2, size // 2, 2).mean(axis=(2, 4))
        chroma.append(up @ _lose(half, table) @ up.T)
    return np.stack([luma + 128, *chroma], axis=-1) @ np.linalg.inv(_TO_YCBCR).T / 255


def _lose(plane: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Quantises the cosine transform of every 8x8 block of planes ``(N, S, S)``."""
    count, size = plane.shape[:2]
    blocks = plane.reshape(count, size // 8, 8, size // 8, 8).swapaxes(2, 3)
    # The offset lets exact halves round alike on every machine.
    coefficients = np.floor(_COSINES @ blocks @ _COSINES.T / table + (0.5 + 1e-6)) * table
    return (_COSINES.T @ coefficients @ _COSINES).swapaxes(2, 3).reshape(count, size, size)


_COSINES = np.cos(np.pi * np.arange(8)[:, None] * (2 * np.arange(8) + 1) / 16) * np.where(
    np.arange(8)[:, None] == 0, np.sqrt(1 / 8), np.sqrt(1 / 4)
)

_TO_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])

_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)

_CHROMA = np.array(
    [
        [17, 18, 24, 47, 99, 99, 99, 99],
        [18, 21, 26, 66, 99, 99, 99, 99],
        [24, 26, 56, 99, 99, 99, 99, 99],
        [47, 66, 99, 99, 99, 99, 99, 99],
        *[[99] * 8] * 4,
    ]
)
