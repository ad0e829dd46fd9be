"""What must hold of the rendered data: its bytes, its balance, and that no scan lies in two splits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from studies.benchmarks.benchmark import Split
from studies.benchmarks.digits.glyphs import scans
from studies.benchmarks.digits.splits import PRETRAINING_SCANS


def fingerprint(*splits: Split) -> str:
    """SHA-256 (hex) of the names, shapes, pixels, labels and sources of splits, in the order given."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(f"{split.name} {split.images.shape}".encode())
        for array, kind in ((split.images, "u1"), (split.labels, "<i8"), (split.sources, "<i8")):
            digest.update(np.ascontiguousarray(array, dtype=kind).tobytes())
    return digest.hexdigest()


def overlaps(drawn: Mapping[str, Split]) -> list[str]:
    """Scans that lie in two splits, or in a split and in the pretraining block."""
    problems = []
    seen = {int(scan): "pretraining" for scan in PRETRAINING_SCANS}
    for name, split in drawn.items():
        for scan in np.unique(split.sources).tolist():
            if scan in seen:
                problems.append(f"scan {scan} lies in {seen[scan]} and in {name}; no scan may lie in two splits")
            seen.setdefault(scan, name)
    return problems


def mislabelled(drawn: Mapping[str, Split]) -> list[str]:
    """Images whose label is not that of their scan."""
    _, labels = scans()
    return [
        f"{name} has {wrong} labels that differ from those of their scans"
        for name, split in drawn.items()
        if (wrong := int((labels[split.sources] != split.labels).sum()))
    ]


def unbalanced(split: Split, expected: np.ndarray) -> list[str]:
    """Classes of a split with another count than ``expected`` ``(classes,)``; an empty class is named as such."""
    counts = np.bincount(split.labels, minlength=len(expected))
    problems = [f"{split.name} has no image of class {label}" for label in np.flatnonzero(counts == 0)]
    if len(counts) != len(expected) or (counts != expected).any():
        problems.append(f"{split.name} should hold {expected.tolist()} images per class, holds {counts.tolist()}")
    return problems


def changed(found: Mapping[str, str], stored: Mapping[str, str]) -> list[str]:
    """Splits whose fingerprint differs from the stored one."""
    return [
        f"{name} renders to {found[name][:12]} on this machine, {digest[:12]} is stored; "
        "compare the versions of numpy, scipy, Pillow and scikit-learn with constraints.txt"
        for name, digest in stored.items()
        if found[name] != digest
    ]
