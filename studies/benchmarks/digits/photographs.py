"""Ground for the domain `real`: crops of the two photographs bundled with scikit-learn.

`china.jpg` (by danielbuechele) and `flower.jpg` (by vultilion), both CC BY 2.0, from Flickr. Their left halves serve
pretraining, their right halves the test images. They are decoded by Pillow: 10.4, 11.3 and 13.0 give equal bytes; a
Pillow built on another decoder may differ by a level, which the benchmark's stored hashes would show.
"""

from __future__ import annotations

import functools

import numpy as np

from studies.benchmarks.draws import Draws


@functools.cache
def halves() -> tuple[np.ndarray, np.ndarray]:
    """The left (pretraining) and right (test) halves, shrunk by 2: each ``float64`` in [0, 1], ``(2, 213, 160, 3)``."""
    from sklearn.datasets import load_sample_images

    photographs = np.stack(load_sample_images().images)[:, :426].astype(np.float64) / 255
    count, height, width, _ = photographs.shape
    small = photographs.reshape(count, height // 2, 2, width // 2, 2, 3).mean(axis=(2, 4))
    return small[:, :, : width // 4], small[:, :, width // 4 :]


def crops(draws: Draws, count: int, size: int, held_out: bool) -> np.ndarray:
    """Random square crops, half of them mirrored, shape ``(count, size, size, 3)``, in [0, 1].

    Args:
        draws: Source of the positions.
        count: Number of crops.
        size: Side in pixels.
        held_out: Whether to cut from the halves kept for testing.
    """
    half = halves()[held_out].astype(draws.dtype)
    which = draws.integers(len(half), (count, 1, 1))
    top = draws.integers(half.shape[1] - size + 1, (count, 1, 1))
    left = draws.integers(half.shape[2] - size + 1, (count, 1, 1))
    columns = np.broadcast_to(np.arange(size), (count, 1, size))
    mirrored = draws.chance(0.5, (count, 1, 1))
    columns = np.where(mirrored, size - 1 - columns, columns)
    return half[which, top + np.arange(size)[:, None], left + columns]
