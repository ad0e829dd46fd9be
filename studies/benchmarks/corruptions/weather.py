"""Weather corruptions: snow, frost, fog and brightness."""

from __future__ import annotations

import numpy as np

from studies.benchmarks.corruptions.blurs import magnify, smear
from studies.benchmarks.draws import Draws
from studies.benchmarks.filters import cubic


def snow(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Falling flakes over a whitened image; strengths near CIFAR-C, made to rise."""
    mean, deviation, zoom, threshold, length, decay, share = (
        (0.1, 0.2, 1.0, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1.0, 0.55, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.5, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )[severity - 1]
    flakes = magnify(mean + deviation * draws.normal((*images.shape[:3], 1)), zoom)[..., 0]
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    flakes = smear(flakes, np.deg2rad(draws.uniform(-135, -45, (len(images),))), length, decay)[..., None]
    grey = images @ np.array([0.299, 0.587, 0.114])
    white = np.maximum(images, grey[..., None] * 1.5 + 0.5)
    return share * images + (1 - share) * white + flakes + flakes[:, ::-1, ::-1]


def frost(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Lays ice crystals over the image; strength: their opacity.

    CIFAR-C adds one of six photographs of ice to a dimmed image. Here the ice is drawn, ridges of smooth noise at three
    scales, and blended, so that a higher severity changes bright images more, too.
    """
    opacity = (0.2, 0.3, 0.4, 0.5, 0.6)[severity - 1]
    count, size = images.shape[:2]
    ridges = sum(
        weight * np.exp(-((_field(draws, count, knots, size) / 0.2) ** 2))
        for knots, weight in ((4, 0.5), (8, 0.4), (16, 0.3))
    )
    ice = np.clip(0.3 + ridges, 0, 1)[..., None] * np.array([0.88, 0.95, 1.0])
    return (1 - opacity) * images + opacity * ice


def fog(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Adds a cloud of fractal noise and restores the range; strength: amount and decay per octave (CIFAR-C)."""
    amount, decay = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))[severity - 1]
    count, size = images.shape[:2]
    cloud = np.sum([_field(draws, count, 2**octave, size) / decay**octave for octave in range(1, 6)], axis=0)
    cloud -= cloud.min(axis=(1, 2), keepdims=True)
    cloud /= cloud.max(axis=(1, 2), keepdims=True)
    brightest = images.max(axis=(1, 2, 3), keepdims=True)
    return (images + amount * cloud[..., None]) * brightest / (brightest + amount)


def brightness(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Raises the value in hue, saturation, value; strength: the rise (CIFAR-C)."""
    rise = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    value = images.max(axis=3, keepdims=True)
    raised = np.minimum(value + rise, 1)
    return np.where(value > 0, images * (raised / np.where(value > 0, value, 1)), raised)


def _field(draws: Draws, count: int, knots: int, size: int) -> np.ndarray:
    """Smooth noise from uniform knots in [-1, 1], shape ``(count, size, size)``."""
    matrix = cubic(size, knots)
    return matrix @ draws.uniform(-1, 1, (count, knots, knots)) @ matrix.T
