"""Who is where: the scans of every split, drawn once, with no scan in two splits.

The set's order roughly separates writers, so its blocks part pretraining, fine-tuning and test; nothing in
the set names the writers, so some may appear on both sides. Within the fine-tuning pool and within the test block,
scans are parted at random, equally many per class.
"""

from __future__ import annotations

import functools

import numpy as np

from studies.benchmarks.digits.glyphs import scans
from studies.benchmarks.draws import Draws

PRETRAINING_SCANS = range(0, 600)
POOL_SCANS = range(600, 1000)
TEST_SCANS = range(1000, 1797)
OOD_DOMAINS = ("real", "painting", "clipart", "infograph", "quickdraw")

PER_CLASS = {"train": 28, "id_val": 8, "id_test": 24, **{f"ood/{domain}": 10 for domain in OOD_DOMAINS}}
"""Scans of each class in a split."""

RENDERINGS = {"train": 3, "id_val": 3, "id_test": 2, **{f"ood/{domain}": 3 for domain in OOD_DOMAINS}}
"""Pictures drawn of each scan, each framed and drawn anew."""


@functools.cache
def sources(split: str) -> np.ndarray:
    """The scans of a drawn split, ``int64``, in ascending order, equally many per class."""
    return _cut(POOL_SCANS if split in ("train", "id_val") else TEST_SCANS)[split]


@functools.cache
def _cut(block: range) -> dict[str, np.ndarray]:
    names = ["train", "id_val"] if block is POOL_SCANS else ["id_test", *(f"ood/{domain}" for domain in OOD_DOMAINS)]
    _, labels = scans()
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for label in range(10):
        members = np.flatnonzero(labels[block.start : block.stop] == label) + block.start
        members = members[Draws("digits splits", block.start, label).order(len(members))]
        first = 0
        for name in names:
            parts[name].append(members[first : first + PER_CLASS[name]])
            first += PER_CLASS[name]
        assert first <= len(members), f"class {label} has {len(members)} scans in {block}, {first} are needed"
    cut = {name: np.sort(np.concatenate(chosen)) for name, chosen in parts.items()}
    for chosen in cut.values():
        chosen.flags.writeable = False
    return cut
