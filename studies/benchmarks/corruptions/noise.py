"""Noise corruptions: Gaussian, shot and impulse."""

from __future__ import annotations

import functools

import numpy as np

from studies.benchmarks.draws import Draws


def gaussian_noise(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Adds normal noise to every channel; strength: standard deviation (CIFAR-C)."""
    deviation = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return images + deviation * draws.normal(images.shape)


def shot_noise(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Replaces every channel by a Poisson count; strength: photons at full white (CIFAR-C).

    Expects pixels that were bytes, i.e. multiples of 1/255.
    """
    photons = (500, 250, 100, 75, 50)[severity - 1]
    level = np.floor(images * 255 + 0.5)
    # One sorted table for all 256 levels: level + distribution function; a search in it inverts all pixels at once.
    table, width = _poisson_table(photons)
    found = np.searchsorted(table, (level + draws.uniform(0, 1, images.shape)).ravel(), side="right")
    counts = found.reshape(images.shape) - level * width
    return np.minimum(counts, width - 1) / photons


@functools.cache
def _poisson_table(photons: int) -> tuple[np.ndarray, int]:
    from scipy.special import pdtr

    width = int(photons + 8 * np.sqrt(photons) + 8)
    mean = np.arange(256)[:, None] * (photons / 255)
    distribution = np.minimum(pdtr(np.arange(width), mean), 1 - 1e-9)
    return (np.arange(256)[:, None] + distribution).ravel(), width


def impulse_noise(draws: Draws, images: np.ndarray, severity: int) -> np.ndarray:
    """Sets channels to 0 or 1 at random; strength: the fraction of channels hit (CIFAR-C)."""
    amount = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    draw = draws.uniform(0, 1, images.shape)
    return np.where(draw < amount / 2, 0.0, np.where(draw < amount, 1.0, images))
