"""The fifteen standard corruptions at five severities, for batches of 32x32 images.

Kinds and strengths follow CIFAR-10-C (Hendrycks and Dietterich, 2019, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations", ``make_cifar_c.py``); the code is ours, over whole batches, and uses no image
library, so equal seeds give equal bytes everywhere. Where a kind departs from CIFAR-C its docstring says so.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from studies.benchmarks.corruptions.blurs import defocus_blur, glass_blur, motion_blur, zoom_blur
from studies.benchmarks.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate
from studies.benchmarks.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from studies.benchmarks.corruptions.weather import brightness, fog, frost, snow
from studies.benchmarks.draws import Draws
from studies.benchmarks.filters import to_uint8

SEVERITIES = (1, 2, 3, 4, 5)

CORRUPTIONS: dict[str, Callable[[Draws, np.ndarray, int], np.ndarray]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
}


def corrupt(images: np.ndarray, kind: str, severity: int, seed: int | str) -> np.ndarray:
    """Corrupts a batch of images.

    Args:
        images: ``uint8``, shape ``(N, 32, 32, 3)``.
        kind: A name in ``CORRUPTIONS``.
        severity: 1 (mild) to 5 (strong).
        seed: Names the random stream together with kind and severity.

    Returns:
        ``uint8``, same shape.

    Raises:
        ValueError: If the kind or severity is unknown or the images have another shape or type.

    Example:
        >>> clean = np.full((2, 32, 32, 3), 100, np.uint8)
        >>> corrupt(clean, "brightness", severity=5, seed=0)[0, 0, 0].tolist()
        [177, 177, 177]
    """
    if kind not in CORRUPTIONS:
        raise ValueError(f"unknown corruption {kind!r}; choose one of {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be one of {SEVERITIES}, got {severity!r}")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (32, 32, 3):
        raise ValueError(f"images must be uint8 of shape (N, 32, 32, 3), got {images.dtype} of shape {images.shape}")
    draws = Draws("corruptions", seed, kind, severity)
    # One order in memory, for a network's last bits depend on it: equal pictures get equal answers.
    return np.ascontiguousarray(to_uint8(CORRUPTIONS[kind](draws, images / 255.0, severity)))
