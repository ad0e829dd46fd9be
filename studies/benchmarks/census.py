"""How many images each split holds, and how they spread over the classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from studies.benchmarks.benchmark import OOD, Benchmark
from studies.benchmarks.roots import DataError


@dataclass(frozen=True, eq=False)
class Count:
    """The images of one split.

    Attributes:
        split: Its name.
        role: ``ID``, ``OOD`` or ``unused``.
        counts: Images of each class that the split asks for, ``int64``, shape ``(classes,)``.
    """

    split: str
    role: str
    counts: np.ndarray

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.counts.sum())

    def histogram(self) -> dict[str, int]:
        """Numbers of classes by the number of their images: none, 1 to 9, 10 to 99 and so on.

        Example:
            >>> Count("train", "ID", np.array([0, 3, 40, 99])).histogram()
            {'0': 1, '1-9': 1, '10-99': 2}
        """
        digits = np.where(self.counts > 0, np.floor(np.log10(np.maximum(self.counts, 1))) + 1, 0).astype(int)
        names = {0: "0", 1: "1-9"} | {n: f"{10 ** (n - 1)}-{10**n - 1}" for n in range(2, 10)}
        return {names[n]: int(amount) for n, amount in enumerate(np.bincount(digits)) if amount}


def census(benchmark: Benchmark, unused: Iterable[str] = ()) -> list[Count]:
    """Counts every split but the corrupted ones; a split that cannot be read is left out.

    Args:
        benchmark: What to count.
        unused: Further splits, that enter no result.
    """
    found = []
    ood = benchmark.ood_splits
    for split in ("train", "id_val", "id_test", *ood, *unused):
        try:
            labels, readout = benchmark.load(split).labels, benchmark.readout(split)
            classes = len(readout.columns) if readout is not None else len(benchmark.classes)
        except DataError:
            continue
        role = "unused" if split in unused else "OOD" if split.startswith(OOD) else "ID"
        found.append(Count(split, role, np.bincount(labels, minlength=classes)))
    return found
