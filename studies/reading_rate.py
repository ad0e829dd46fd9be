"""Seconds that reading and cutting an image takes here: of the benchmark's own images, or of one like them."""

from __future__ import annotations

import io
import time

import numpy as np
from PIL import Image

from studies import backbones, benchmarks
from studies.reading import Reading
from studies.sizes import Sizes
from studies.viewed import ResizedImages, Viewed

SOME = 32
"""Images that are read, spread over a split."""

USUAL = (500, 375)
"""Pixels of an image that stands for absent ones: ImageNet's usual size. Camera traps take larger ones."""


def read_seconds(benchmark: str | None, backbone: str, sizes: Sizes, reading: Reading) -> float:
    """Wall time per image with so many threads that read.

    Args:
        benchmark: Name of a benchmark that is here; None reads one made-up image again and again.
        backbone: Gives the view.
        sizes: The benchmark's.
        reading: Threads that read.
    """
    view = backbones.view_of(backbone)
    if benchmark is not None:
        images = Viewed(benchmarks.load(benchmark), view, reading).load("id_test").images
        if isinstance(images, np.ndarray):
            return 0.0
        chosen = np.linspace(0, len(images) - 1, min(SOME, len(images))).astype(np.int64)
        started_at = time.perf_counter()
        images[chosen]
        return (time.perf_counter() - started_at) / len(chosen)
    rng = np.random.default_rng(0)
    if sizes.side is not None:
        small = rng.integers(0, 256, (SOME, sizes.side, sizes.side, 3), dtype=np.uint8)
        if sizes.side == view.crop:
            return 0.0
        started_at = time.perf_counter()
        ResizedImages(small, view, reading)[:]
        return (time.perf_counter() - started_at) / SOME
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize(USUAL, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    started_at = time.perf_counter()
    for _ in range(SOME // 4):
        view.cut(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
    return (time.perf_counter() - started_at) / (SOME // 4) / reading.readers
