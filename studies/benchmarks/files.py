"""What all benchmarks of image files share: a family says which files make a split, the rest is here."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from studies.benchmarks import wholeness
from studies.benchmarks.benchmark import Split
from studies.benchmarks.facts import Facts
from studies.benchmarks.images import FileImages, View
from studies.benchmarks.listing import Listing
from studies.benchmarks.manifests import PROTOCOL_VERSION, fingerprint, remembered
from studies.benchmarks.readout import Readout
from studies.benchmarks.roots import DataError


class FileBenchmark:
    """A benchmark whose splits are lists of image files.

    A family derives from it and says ``classes``, ``ood_splits`` and :meth:`_list`; where it needs to, also
    :meth:`readout`, ``groups`` and :meth:`_border`. Splits are listed when first asked for, images read when indexed.

    Args:
        name: The benchmark's name.
        facts: What is known of it.
        folder: The benchmark's own folder.
        parameters: The settings that make it, as words; part of the key of remembered manifests.
    """

    ood_splits: tuple[str, ...] = ()
    corruption_splits: tuple[str, ...] = ()
    image_side: int | None = None

    def __init__(self, name: str, facts: Facts, folder: Path, parameters: str = "") -> None:
        self.name, self.facts, self.folder, self.parameters = name, facts, folder, parameters
        self._listings: dict[str, Listing] = {}
        self._loaded: dict[str, Split] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Printed names of the classes; a label indexes this tuple."""
        raise NotImplementedError

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """``many``, ``medium``, ``few`` -> class ids; empty if training has no long tail."""
        return {}

    @property
    def metric(self) -> str:
        """How answers are scored: ``accuracy`` or ``macro_f1``."""
        return self.facts.metric

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that results are made of."""
        return ("train", "id_val", "id_test", *self.ood_splits)

    def readout(self, split: str) -> Readout | None:
        """How logits over ``classes`` become answers of a split; None if they are."""
        return None

    def listing(self, split: str) -> Listing:
        """The files of a split with their labels.

        Raises:
            ValueError: If there is no such split; the message lists the valid names.
            DataError: If what says which files there are is missing or damaged.
        """
        valid = (*self.splits, *self.facts.unused)
        if split not in valid:
            raise ValueError(f"unknown split {split!r} of {self.name}; choose one of {', '.join(valid)}")
        if split not in self._listings:
            self._listings[split] = self._list(split)
        return self._listings[split]

    def load(self, split: str) -> Split:
        """Returns a split; its images are :class:`FileImages` in CLIP's view, to be changed by ``with_view``.

        Raises:
            ValueError: If there is no such split; the message lists the valid names.
            DataError: If what says which files there are is missing or damaged, or there is none.
        """
        if split not in self._loaded:
            files = self.listing(split)
            if not len(files):
                raise DataError(f"{split} of {self.name} has no image; run `gmixout data check {self.name}`")
            images = FileImages(files.folder, files.names, View(), self._border(split))
            self._loaded[split] = Split(split, images, files.labels, files.sources())
        return self._loaded[split]

    @functools.cached_property
    def train_counts(self) -> np.ndarray:
        """Training images per class, ``int64``, shape ``(classes,)``."""
        return np.bincount(self.listing("train").labels, minlength=len(self.classes))

    @functools.cached_property
    def manifest(self) -> str:
        """SHA-256 (hex) over protocol, classes, readouts, and the names, sizes and labels of all files.

        Contents are not read, so two files of equal size can be swapped unseen. Where data lies does not matter.

        Raises:
            DataError: If a listed file is missing.
        """
        listings = [self.listing(split) for split in self.splits]
        folders = {files.folder / name.rpartition("/")[0] for files in listings for name in files.names}
        lists = {Path(files.source) for files in listings if files.source}
        subject = f"{self.name} {self.parameters} {self.folder.resolve()}"
        watched = [path for path in folders | lists if path.exists()]
        return remembered(subject, watched, lambda: fingerprint(self._manifest_lines()))

    def fresh_manifest(self) -> str:
        """The manifest, computed anew whatever is remembered.

        Raises:
            DataError: If a listed file is missing.
        """
        return fingerprint(self._manifest_lines())

    def check(self) -> list[str]:
        """Returns what is wrong with the data, each problem one sentence; empty if all is well.

        Looks at names, sizes, labels and counts; images are read by ``gmixout data check --images``.
        """
        return wholeness.problems(self)

    def _list(self, split: str) -> Listing:
        raise NotImplementedError

    def _border(self, split: str) -> int:
        return 0

    def _manifest_lines(self) -> Iterator[str]:
        yield f"{self.name} protocol {PROTOCOL_VERSION} metric {self.metric}"
        yield from (f"class {name}" for name in self.classes)
        yield from (f"group {name} {classes}" for name, classes in self.groups.items())
        for split in self.splits:
            files, readout = self.listing(split), self.readout(split)
            yield f"split {split} border {self._border(split)} columns {readout.columns if readout else ()}"
            sizes = files.sizes()
            if (missing := np.flatnonzero(sizes < 0)).size:
                raise DataError(
                    f"{len(missing)} of {len(files)} files of {split} are missing, the first is "
                    f"{files.where(int(missing[0]))}; run `gmixout data check {self.name}`"
                )
            for name, size, label in zip(files.names, sizes.tolist(), files.labels.tolist()):
                yield f"{name} {size} {label}"
