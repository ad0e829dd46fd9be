"""From scans to pictures: the pixels of every drawn split, a function of the split's name alone."""

from __future__ import annotations

import numpy as np

from studies.benchmarks.benchmark import OOD, Split
from studies.benchmarks.digits.domains import DOMAINS
from studies.benchmarks.digits.glyphs import enlarge, scans
from studies.benchmarks.digits.splits import RENDERINGS, sources
from studies.benchmarks.digits.warps import Framing, warp
from studies.benchmarks.draws import Draws
from studies.benchmarks.filters import to_uint8

RECIPE_VERSION = 1
"""Raised whenever a pixel, a label or a split changes; part of the manifest and of the key of pretrained weights."""

FINE_TUNING_DOMAIN = "sketch"

_FRAMING = Framing(rotation=20, scale=(0.75, 1.05), shear=0.2, shift=0.12, elastic=0.03)


def render(split: str) -> Split:
    """Draws ``train``, ``id_val``, ``id_test`` or ``ood/<domain>``.

    Each picture is framed by its own random warp and drawn with its own parameters, fixed by the name of the split.

    Returns:
        The split; pictures of one scan lie one after the other.
    """
    ink, labels = scans()
    scan = np.repeat(sources(split), RENDERINGS[split])
    domain = split.removeprefix(OOD) if split.startswith(OOD) else FINE_TUNING_DOMAIN
    draws = Draws("digits", RECIPE_VERSION, split)
    alpha = warp(draws, enlarge(ink[scan]), _FRAMING)
    return Split(split, to_uint8(DOMAINS[domain](draws, alpha, True)), labels[scan], scan)
