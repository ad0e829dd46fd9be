"""The pretraining corpus: type and handwriting in five domains, rendered on the fly. Never in `sketch`.

The stream is a function of (seed, position), so any part of it can be drawn again, in any process.
Its bytes rest on matplotlib's faces and Pillow's FreeType; no other split does.
"""

from __future__ import annotations

import numpy as np

from studies.benchmarks.digits.domains import DOMAINS
from studies.benchmarks.digits.glyphs import enlarge, scans, through_scanner, typefaces
from studies.benchmarks.digits.splits import PRETRAINING_SCANS
from studies.benchmarks.digits.warps import Framing, warp
from studies.benchmarks.draws import Draws
from studies.benchmarks.filters import blur, dilate

CORPUS_DOMAINS = ("real", "painting", "clipart", "infograph", "quickdraw")
TYPE_SHARE = 0.6
CHUNK = 480
"""Images rendered at a time; a multiple of the five domains."""

_FRAMING = Framing(rotation=18, scale=(0.7, 1.25), shear=0.3, shift=0.1, elastic=0.04)


def chunk(seed: int, index: int, dtype: type[np.floating] = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Renders one chunk of the corpus.

    Args:
        seed: Seed of the stream.
        index: Number of the chunk, 0 or more.
        dtype: Precision. ``float32`` is fast; only ``float64`` rounds to equal bytes on every processor.

    Returns:
        Images in [0, 1], shape ``(480, 32, 32, 3)``, and labels ``int64``, shape ``(480,)``, in random order.

    Example:
        >>> images, labels = chunk(seed=0, index=0)
        >>> images.shape, labels.shape
        ((480, 32, 32, 3), (480,))
    """
    draws = Draws("digits corpus", seed, index, dtype=dtype)
    alpha, labels = _glyphs(draws)
    alpha = warp(draws, alpha, _FRAMING)
    images = np.empty((*alpha.shape, 3), dtype)
    order = draws.order(CHUNK)
    for part, name in zip(np.split(order, len(CORPUS_DOMAINS)), CORPUS_DOMAINS, strict=True):
        images[part] = DOMAINS[name](draws, alpha[part], False)
    return _jitter(draws, images), labels


def _glyphs(draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    printed = draws.chance(TYPE_SHARE, (CHUNK,))
    faces = typefaces()
    face, digit = draws.integers(len(faces), (CHUNK,)), draws.integers(10, (CHUNK,))
    typed = faces[face, digit].astype(draws.dtype)
    # Thin strokes vanish under erosion, so type is only ever made bolder.
    typed = np.where(draws.chance(0.35, (CHUNK, 1, 1)), dilate(typed), typed)
    typed = np.where(draws.chance(0.6, (CHUNK, 1, 1)), through_scanner(typed), typed)

    ink, classes = scans()
    scan = PRETRAINING_SCANS.start + draws.integers(len(PRETRAINING_SCANS), (CHUNK,))
    written = enlarge(ink[scan].astype(draws.dtype))
    alpha = np.where(printed[:, None, None], typed, written)
    return alpha, np.where(printed, digit, classes[scan])


def _jitter(draws: Draws, images: np.ndarray) -> np.ndarray:
    """Mild changes of gain, brightness and colour, blur, grey and noise."""
    one = (len(images), 1, 1, 1)
    images = (images - 0.5) * draws.uniform(0.75, 1.2, one) + 0.5 + draws.uniform(-0.12, 0.12, one)
    images = images + draws.uniform(-0.06, 0.06, (len(images), 1, 1, 3))
    grey = draws.chance(0.15, one)
    images = np.where(grey, images.mean(axis=3, keepdims=True), images)
    blurred = draws.chance(0.25, (len(images),))
    images[blurred] = blur(images[blurred], draws.uniform(0.3, 1.0, (int(blurred.sum()),)))
    strength = draws.uniform(0.01, 0.08, one) * draws.chance(0.3, one)
    return np.clip(images + strength * draws.noise((*images.shape[:3], 1)), 0, 1)
