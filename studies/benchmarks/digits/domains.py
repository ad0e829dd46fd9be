"""The six drawn domains: each turns glyph masks into pictures with random parameters per image.

A domain is a function ``(draws, alpha, held_out) -> images``: ``alpha`` holds masks in [0, 1], shape ``(N, 32, 32)``;
the images are in [0, 1], shape ``(N, 32, 32, 3)``; ``held_out`` picks photographs kept for testing and matters to
`real` only.
The names follow DomainNet (Peng et al., 2019), whose six domains these imitate.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from studies.benchmarks.digits.photographs import crops
from studies.benchmarks.digits.sketch import sketch
from studies.benchmarks.digits.warps import displacement
from studies.benchmarks.draws import Draws
from studies.benchmarks.filters import blur, dilate, sample, smooth_field

Domain = Callable[[Draws, np.ndarray, bool], np.ndarray]


def real(draws: Draws, alpha: np.ndarray, held_out: bool) -> np.ndarray:
    """A textured figure with a cast shadow on a photograph, with sensor noise."""
    count, size = alpha.shape[:2]
    ground = crops(draws, count, size, held_out)
    texture = crops(draws, count, size, held_out)
    brightness = ground.mean(axis=(1, 2, 3), keepdims=True)
    away = np.where(brightness < 0.5, 1, -1).astype(alpha.dtype)
    level = brightness + away * draws.uniform(0.35, 0.6, (count, 1, 1, 1))
    tint = draws.uniform(-0.12, 0.12, (count, 1, 1, 3))
    figure = level + tint + 0.5 * (texture - texture.mean(axis=(1, 2), keepdims=True))

    offset_y, offset_x = draws.integers(3, (2, count)) + 1
    image, row, column = np.ogrid[:count, :size, :size]
    fallen = alpha[
        image,
        np.maximum(row - offset_y[:, None, None], 0),
        np.maximum(column - offset_x[:, None, None], 0),
    ]
    shadow = blur(fallen, 1.0) * draws.uniform(0.2, 0.6, (count, 1, 1))
    ground = ground * (1 - shadow[..., None])
    image = _over(ground, figure, alpha * draws.uniform(0.8, 1.0, (count, 1, 1)))
    return np.clip(image + 0.03 * draws.noise(image.shape), 0, 1)


def painting(draws: Draws, alpha: np.ndarray, held_out: bool) -> np.ndarray:
    """A smeared figure on a smooth field of two colours, with brush streaks, in six levels per channel."""
    count, size = alpha.shape[:2]
    field = 1 / (1 + np.exp(-2 * smooth_field(draws, count, 4, size)))[..., None]
    hue = draws.uniform(0, 1, (count,))
    value = draws.uniform(0.25, 0.95, (count,))
    one, two = (
        _colour(hue + draws.uniform(-0.2, 0.2, (count,)), draws.uniform(0.3, 0.9, (count,)), value * share)
        for share in (1.0, 0.7)
    )
    ground = one * field + two * (1 - field)
    contrary = np.where(value > 0.6, draws.uniform(0.05, 0.25, (count,)), draws.uniform(0.85, 1.0, (count,)))
    figure = _colour(hue + draws.uniform(0.3, 0.7, (count,)), draws.uniform(0.3, 0.9, (count,)), contrary)

    row, column = np.mgrid[:size, :size].astype(alpha.dtype)
    smear = displacement(draws, count, size, 1.0, knots=6)
    mask = blur(sample(alpha, row + smear[0], column + smear[1]), draws.uniform(0.4, 1.0, (count,)))
    image = _over(ground, figure, np.clip(1.15 * mask, 0, 1))

    streaks = draws.noise((count, size, size))
    lengthwise = np.matmul(_long_kernel(size, alpha.dtype), streaks)
    upright = draws.chance(0.5, (count, 1, 1))
    streaks = np.where(upright, lengthwise, lengthwise.swapaxes(1, 2))
    image = image + streaks[..., None] * draws.uniform(0.03, 0.1, (count, 1, 1, 1))
    return np.floor(np.clip(image, 0, 1) * 5 + 0.5) / 5


def clipart(draws: Draws, alpha: np.ndarray, held_out: bool) -> np.ndarray:
    """A flat figure in a contrasting colour, outlined, on a flat saturated ground with discs."""
    count, size = alpha.shape[:2]
    hue = draws.uniform(0, 1, (count,))
    image = np.broadcast_to(
        _colour(hue, draws.uniform(0.6, 1.0, (count,)), draws.uniform(0.55, 0.9, (count,))), (count, size, size, 3)
    )
    row, column = np.mgrid[:size, :size].astype(alpha.dtype)
    for _ in range(3):
        centre_y, centre_x = draws.uniform(0, size, (2, count, 1, 1))
        radius = draws.uniform(3, 9, (count, 1, 1))
        distance = np.sqrt((row - centre_y) ** 2 + (column - centre_x) ** 2)
        shade = _colour(
            hue + draws.uniform(-0.15, 0.15, (count,)),
            draws.uniform(0.6, 1, (count,)),
            draws.uniform(0.5, 0.9, (count,)),
        )
        image = _over(image, shade, np.clip(radius - distance, 0, 1))
    light = draws.chance(0.6, (count,))
    figure = _colour(
        hue + 0.5 + draws.uniform(-0.1, 0.1, (count,)),
        np.where(light, draws.uniform(0, 0.35, (count,)), draws.uniform(0.6, 1, (count,))),
        np.where(light, 1.0, draws.uniform(0.15, 0.4, (count,))),
    )
    outline = np.where(light, draws.uniform(0, 0.15, (count,)), 1.0)[:, None, None, None]
    solid = np.clip((alpha - 0.3) * 3, 0, 1)
    image = _over(image, outline, dilate(solid) * draws.chance(0.7, (count, 1, 1)))
    return _over(image, figure, solid)


def infograph(draws: Draws, alpha: np.ndarray, held_out: bool) -> np.ndarray:
    """A dark figure with a pale halo on a pastel chart with bars and a grid."""
    count, size = alpha.shape[:2]
    hue = draws.uniform(0, 1, (count,))
    image = np.broadcast_to(
        _colour(hue, draws.uniform(0.05, 0.3, (count,)), draws.uniform(0.85, 1.0, (count,))), (count, size, size, 3)
    )
    row, column = np.mgrid[:size, :size]
    pitch = (draws.integers(4, (count, 1, 1)) + 5).astype(np.int64)
    phase = draws.integers(8, (count, 1, 1))
    grid = ((row + phase) % pitch == 0) | ((column + phase) % pitch == 0)
    image = _over(image, _colour(hue, 0.15, 0.6), grid * draws.uniform(0.2, 0.8, (count, 1, 1)))

    bars = 4
    heights = draws.uniform(4, 26, (count, bars))
    width = size // bars
    shade = _colour(hue + draws.uniform(0.2, 0.8, (count,)), draws.uniform(0.3, 0.7, (count,)), 0.9)
    inside = (size - row < heights[:, column[0] // width][:, None, :]) & (column % width < width - 2)
    image = _over(image, shade, inside * draws.uniform(0.4, 0.9, (count, 1, 1)))

    figure = _colour(
        hue + draws.uniform(0.2, 0.8, (count,)), draws.uniform(0.4, 1.0, (count,)), draws.uniform(0.1, 0.45, (count,))
    )
    halo = blur(dilate(alpha), 0.8) * draws.uniform(0.3, 0.9, (count, 1, 1))
    return _over(_over(image, np.ones(1, alpha.dtype), halo), figure, alpha)


def quickdraw(draws: Draws, alpha: np.ndarray, held_out: bool) -> np.ndarray:
    """A jagged black figure on white, every third one inverted."""
    count, size = alpha.shape[:2]
    row, column = np.mgrid[:size, :size].astype(alpha.dtype)
    jitter = displacement(draws, count, size, 0.7, knots=12)
    jagged = sample(alpha, row + jitter[0], column + jitter[1])
    ink = np.clip((jagged - draws.uniform(0.25, 0.5, (count, 1, 1))) * 6 + 0.5, 0, 1)
    inverted = draws.chance(1 / 3, (count, 1, 1))
    grey = np.where(inverted, ink, 1 - ink)[..., None]
    return np.broadcast_to(grey, (count, size, size, 3)).astype(alpha.dtype)


DOMAINS: dict[str, Domain] = {
    "sketch": sketch,
    "real": real,
    "painting": painting,
    "clipart": clipart,
    "infograph": infograph,
    "quickdraw": quickdraw,
}


def _over(ground: np.ndarray, figure: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lays a colour or picture over the ground where ``alpha`` ``(N, H, W)`` says so."""
    return ground + (figure - ground) * alpha[..., None].astype(ground.dtype)


def _colour(hue: np.ndarray, saturation: np.ndarray | float, value: np.ndarray | float) -> np.ndarray:
    """Colours from hue (in turns, any real), saturation and value, shape ``(N, 1, 1, 3)``."""
    sector = (hue[:, None] + np.array([0, 2, 1], hue.dtype) / 3) % 1 * 6
    pure = np.clip(np.abs(sector - 3) - 1, 0, 1)
    saturations = np.broadcast_to(np.asarray(saturation, hue.dtype), hue.shape)[:, None]
    values = np.broadcast_to(np.asarray(value, hue.dtype), hue.shape)[:, None]
    return (values * (1 - saturations * (1 - pure)))[:, None, None, :]


def _long_kernel(size: int, dtype: np.dtype) -> np.ndarray:
    """A running mean over 7 pixels scaled to keep the variance of white noise, as a matrix ``(size, size)``."""
    distance = np.abs(np.arange(size)[:, None] - np.arange(size))
    return ((distance <= 3) / np.sqrt(7.0)).astype(dtype)
