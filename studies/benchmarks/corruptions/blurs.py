"""Blur corruptions: defocus, glass, motion and zoom."""

from __future__ import annotations

import numpy as np

from studies.benchmarks.draws import Draws
from studies.benchmarks.filters import blur, sample


def defocus_blur(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Averages over an antialiased disk; strength: radius and antialiasing in pixels (CIFAR-C)."""
    radius, alias = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))[severity - 1]
    offset = np.arange(-2, 3)
    disk = (offset[:, None] ** 2 + offset**2 <= radius**2).astype(np.float64)
    kernel = blur((disk / disk.sum())[None], alias)[0]
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    height, width = images.shape[1:3]
    return sum(kernel[y, x] * padded[:, y : y + height, x : x + width] for y in range(5) for x in range(5))


def glass_blur(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Swaps neighbouring pixels at random between two blurs; strength: blur in pixels and the share swapped.

    CIFAR-C swaps every pixel, once or twice, which at this size hardly leaves room for severities; ours rise.
    """
    sigma, share = ((0.2, 0.15), (0.25, 0.3), (0.3, 0.45), (0.35, 0.6), (0.4, 0.8))[severity - 1]
    images = blur(images, sigma)
    count, height, width, _ = images.shape
    everyone = np.arange(count)
    moves = (draws.integers(3, (2, height, width, count)) - 1) * draws.chance(share, (height, width, count))
    for y in range(height - 2, 0, -1):
        for x in range(width - 2, 0, -1):
            other = (everyone, y + moves[0, y, x], x + moves[1, y, x])
            held = images[:, y, x].copy()
            images[:, y, x] = images[other]
            images[other] = held
    return blur(images, sigma)


def motion_blur(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Smears along one direction within 45 degrees of the horizontal; strength: length and decay in pixels.

    Close to CIFAR-C, whose decays do not rise strictly.
    """
    length, decay = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.5), (9, 3.0))[severity - 1]
    angle = np.deg2rad(draws.uniform(-45, 45, (len(images),)))
    return smear(images, angle, length, decay)


def smear(images: np.ndarray, angle: np.ndarray, length: int, decay: float) -> np.ndarray:
    """One-sided Gaussian smear of images ``(N, H, W[, C])`` along ``angle`` ``(N,)`` in radians."""
    weights = np.exp(-(np.arange(length + 1) ** 2) / (2 * decay**2))
    weights /= weights.sum()
    row, column = np.mgrid[: images.shape[1], : images.shape[2]].astype(np.float64)
    down, across = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return sum(
        weight * sample(images, row + step * down, column + step * across) for step, weight in enumerate(weights)
    )


def zoom_blur(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Averages over magnifications about the centre; strength: the largest magnification (CIFAR-C)."""
    hundredths = (6, 11, 16, 21, 26)[severity - 1]
    factors = 1 + np.arange(hundredths) / 100
    return (images + sum(magnify(images, factor) for factor in factors)) / (len(factors) + 1)


def magnify(images: np.ndarray, factor: float) -> np.ndarray:
    """Magnifies images ``(N, S, S, C)`` about the centre, bilinear, shape kept."""
    count, size, _, channels = images.shape
    position = (size - 1) / 2 + (np.arange(size) - (size - 1) / 2) / factor
    matrix = np.clip(1 - np.abs(position[:, None] - np.arange(size)), 0, None)
    rows = np.matmul(matrix, images.reshape(count, size, size * channels))
    return np.matmul(matrix, rows.reshape(images.shape))
