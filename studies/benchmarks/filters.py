"""Filters over batches of small images: blur, dilation, smooth random fields, sampling, rounding to bytes.

Every function works on a batch at once, in the dtype it is given, and uses no library whose version could move a pixel.
"""

from __future__ import annotations

import functools

import numpy as np

from studies.benchmarks.draws import Draws


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Rounds values in [0, 1] to bytes.

    Values that lie on a half in exact arithmetic round up on every machine: the offset exceeds the last-bit
    differences between processors by far.
    """
    return np.floor(np.clip(images, 0, 1) * 255 + (0.5 + 1e-6)).astype(np.uint8)


def blur(images: np.ndarray, sigma: np.ndarray | float) -> np.ndarray:
    """Gaussian blur, normalised at the borders.

    Args:
        images: Shape ``(N, H, W)`` or ``(N, H, W, C)``.
        sigma: Standard deviation in pixels, one number or shape ``(N,)``; 0 leaves an image as it is.
    """
    widths = np.maximum(np.atleast_1d(np.asarray(sigma, images.dtype)), images.dtype.type(1e-2))[:, None, None]
    flat = images.reshape(*images.shape[:3], -1)
    down, across = (_gaussian(size, widths) for size in flat.shape[1:3])
    count, height, width, channels = flat.shape
    rows = np.matmul(down, flat.reshape(count, height, width * channels)).reshape(flat.shape)
    if channels == 1:
        return np.matmul(rows[..., 0], across.swapaxes(1, 2)).reshape(images.shape)
    return np.matmul(across[:, None], rows).reshape(images.shape)


def _gaussian(size: int, widths: np.ndarray) -> np.ndarray:
    distance = np.arange(size, dtype=widths.dtype)[:, None] - np.arange(size, dtype=widths.dtype)
    kernel = np.exp(-(distance**2) / (2 * widths**2))
    return kernel / kernel.sum(axis=2, keepdims=True)


def dilate(alpha: np.ndarray) -> np.ndarray:
    """The largest value within the 3x3 neighbourhood, shape ``(N, H, W)``."""
    padded = np.pad(alpha, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return np.maximum(np.maximum(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:])


def erode(alpha: np.ndarray) -> np.ndarray:
    """The smallest value within the 3x3 neighbourhood, shape ``(N, H, W)``."""
    return -dilate(-alpha)


@functools.cache
def cubic(size: int, knots: int) -> np.ndarray:
    """Catmull-Rom interpolation from ``knots`` values to ``size`` pixels, as a matrix ``(size, knots)``.

    Pixel and knot centres are aligned as in image resizing; beyond the border the last knot repeats.
    """
    position = (np.arange(size) + 0.5) * knots / size - 0.5
    first = np.floor(position).astype(int)
    matrix = np.zeros((size, knots))
    for offset in (-1, 0, 1, 2):
        distance = np.abs(position - (first + offset))
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        np.add.at(
            matrix,
            (np.arange(size), np.clip(first + offset, 0, knots - 1)),
            np.where(distance <= 1, near, np.where(distance < 2, far, 0.0)),
        )
    matrix.flags.writeable = False
    return matrix


def smooth_field(draws: Draws, count: int, knots: int, size: int) -> np.ndarray:
    """Smooth random fields: normal values on a ``knots`` x ``knots`` grid, interpolated to ``(count, size, size)``."""
    matrix = cubic(size, knots).astype(draws.dtype)
    return matrix @ draws.normal((count, knots, knots)) @ matrix.T


def sample(images: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bilinear values at pixel coordinates; beyond the border the last pixel repeats.

    Args:
        images: Shape ``(N, H, W)`` or ``(N, H, W, C)``.
        y: Row coordinates, shape ``(N, h, w)``, 0 at the centre of the first row.
        x: Column coordinates, same shape.

    Returns:
        Shape ``(N, h, w)`` or ``(N, h, w, C)``.
    """
    count, height, width = images.shape[:3]
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = np.minimum(y.astype(np.int64), height - 2), np.minimum(x.astype(np.int64), width - 2)
    down, right = (y - top).astype(images.dtype), (x - left).astype(images.dtype)
    corner = (np.arange(count) * (height * width))[:, None, None] + top * width + left
    flat = images.reshape(count * height * width, *images.shape[3:])
    if images.ndim == 4:
        down, right = down[..., None], right[..., None]
    upper = flat[corner] * (1 - right) + flat[corner + 1] * right
    lower = flat[corner + width] * (1 - right) + flat[corner + width + 1] * right
    return upper * (1 - down) + lower * down
