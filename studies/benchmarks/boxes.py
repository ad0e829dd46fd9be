"""Where random resized crops lie. NumPy only; whoever crops owns the pixels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from studies.benchmarks.draws import Draws

RATIOS = (3 / 4, 4 / 3)
"""Narrowest and widest crop, width over height; log-uniform between them."""

TRIES = 10


def crop_boxes(
    count: int, height: int, width: int, smallest: float, draws: Draws
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Boxes distributed as those of torchvision's ``RandomResizedCrop``: the first of ten tries that fits.

    Where none fits, the largest box in the middle whose ratio is allowed: of a square image, all of it.

    Args:
        count: Number of crops.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
        smallest: Smallest area as a fraction, in (0, 1].
        draws: Gives the numbers.

    Returns:
        Tops, lefts, heights and widths in pixels, each of shape ``(count,)``.
    """
    areas = draws.uniform(smallest, 1, (TRIES, count)) * height * width
    ratios = np.exp(draws.uniform(math.log(RATIOS[0]), math.log(RATIOS[1]), (TRIES, count)))
    heights = np.rint(np.sqrt(areas / ratios)).astype(np.int64)
    widths = np.rint(np.sqrt(areas * ratios)).astype(np.int64)
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first, every = fits.argmax(axis=0), np.arange(count)
    found = fits[first, every]
    # A wide image keeps its height, a tall one its width.
    whole_height = min(height, round(width / RATIOS[0]))
    whole_width = min(width, round(height * RATIOS[1]))
    heights = np.where(found, heights[first, every], whole_height)
    widths = np.where(found, widths[first, every], whole_width)
    places = draws.uniform(0, 1, (count,)), draws.uniform(0, 1, (count,))
    tops = np.where(found, (places[0] * (height - heights + 1)).astype(np.int64), (height - heights) // 2)
    lefts = np.where(found, (places[1] * (width - widths + 1)).astype(np.int64), (width - widths) // 2)
    return tops, lefts, heights, widths
