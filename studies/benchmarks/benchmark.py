"""What a benchmark is: named splits of labelled images, and a manifest that pins every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from studies.benchmarks.images import FileImages
from studies.benchmarks.readout import Readout

CORRUPTION = "corruption/"
OOD = "ood/"

Images = np.ndarray | FileImages
"""uint8 ``(N, height, width, 3)``, or files that a slice or an array of positions reads into such an array."""


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images of one split.

    Attributes:
        name: ``train``, ``id_val``, ``id_test``, ``ood/<domain>`` or ``corruption/<kind>/<severity 1..5>``.
        images: ``uint8``, shape ``(N, height, width, 3)``, sRGB, read-only; or files that a slice or an array of
            positions reads into such an array.
        labels: ``int64``, shape ``(N,)``, class ids; positions in the readout's classes if the split has a readout.
        sources: ``int64``, shape ``(N,)``: the recording behind each image. Two images of one source are
            renderings of the same recording and never lie in two splits; only corruption splits repeat the
            sources (and images) of ``id_test``, which they corrupt.
    """

    name: str
    images: Images
    labels: np.ndarray
    sources: np.ndarray

    def __post_init__(self) -> None:
        counts = {len(self.images), len(self.labels), len(self.sources)}
        if len(counts) != 1:
            raise ValueError(
                f"split {self.name!r} needs as many labels and sources as images, "
                f"got {len(self.images)} images, {len(self.labels)} labels, {len(self.sources)} sources"
            )
        for array in (self.images, self.labels, self.sources):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.images)


@runtime_checkable
class Benchmark(Protocol):
    """Splits to fine-tune, select and test on.

    Attributes:
        name: Its name in ``BENCHMARKS``.
        classes: Printed names of the classes; a label indexes this tuple.
        ood_splits: Names of the out-of-distribution test splits.
        corruption_splits: Names of the corrupted test splits.
        train_counts: ``int64``, shape ``(classes,)``: training images per class.
        groups: ``many``, ``medium``, ``few`` -> class ids; empty if training is balanced.
        manifest: SHA-256 (hex) over the recipe's version and the pixels and labels of every split; of files, over
            their names, sizes and labels.
        metric: How answers are scored: ``accuracy``, or ``macro_f1`` over the labels that a split holds (WILDS).
        image_side: Pixels of the images' sides; None if they are files of any size.
    """

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def ood_splits(self) -> tuple[str, ...]: ...

    @property
    def corruption_splits(self) -> tuple[str, ...]: ...

    @property
    def train_counts(self) -> np.ndarray: ...

    @property
    def groups(self) -> dict[str, tuple[int, ...]]: ...

    @property
    def manifest(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def image_side(self) -> int | None: ...

    def readout(self, split: str) -> Readout | None:
        """How logits over ``classes`` become answers of a split; None if they are its answers already."""
        ...

    def load(self, split: str) -> Split:
        """Returns a split, cached in memory. Raises ``ValueError`` with the valid names for an unknown one."""
        ...

    def check(self) -> list[str]:
        """Returns the problems found in the data, each one sentence; empty if all is well."""
        ...
