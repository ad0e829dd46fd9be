"""CIFAR-100 from its publisher's files, with an ID validation split cut from training."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from studies.benchmarks.benchmark import CORRUPTION, Split
from studies.benchmarks.cifar.corrupted import FOLDER, KINDS, check_corrupted, read_corrupted
from studies.benchmarks.cifar.known import ARCHIVE, CORRUPTED_FACTS, FACTS, LONG_TAIL_FACTS, MD5
from studies.benchmarks.cifar.longtail import thin
from studies.benchmarks.cifar.pickles import read_pickle
from studies.benchmarks.corruptions import CORRUPTIONS, SEVERITIES
from studies.benchmarks.cut import cut
from studies.benchmarks.facts import Facts
from studies.benchmarks.manifests import PROTOCOL_VERSION, fingerprint
from studies.benchmarks.readout import Readout
from studies.benchmarks.roots import DataError, require
from studies.benchmarks.shots import SHOTS, shot_groups

SIDE = 32
ID_VALIDATION = 20
"""Training images of each class that become ``id_val``; there is no official one."""

SEED = 0
"""Of that cut, and of which images stay in a long tail; the same for every run."""

LABELS = "fine_labels"


class Cifar100:
    """CIFAR-100, held in memory. There is no OOD domain: its shifts are corruptions.

    ``id_test`` is the publisher's test, ``id_val`` is cut from the publisher's training images. Of the corruptions, all
    nineteen can be loaded; ``corruption_splits`` are the standard fifteen at five severities, memory-mapped.

    Args:
        data: The data folder; by default ``$GMIXOUT_DATA``.
        name: The benchmark's name.
        is_corrupted: Whether CIFAR-100-C is part of it.
        imbalance: How many times more training images the commonest class has than the rarest; 1 keeps all.
        shots: Which convention draws the lines between many, medium and few, if there is a tail: a name in ``SHOTS``.
        id_validation: Training images of each class that become ``id_val``.
        facts: What is known of it; by default what its publishers say.
        md5: MD5 (hex) of the publisher's files, for :meth:`check`.

    Raises:
        DataError: If its folder is not there.
        ValueError: If ``imbalance`` is below 1 or the convention is unknown.
    """

    image_side: int | None = SIDE
    metric = "accuracy"
    ood_splits: tuple[str, ...] = ()

    def __init__(
        self,
        data: Path | None = None,
        name: str = "cifar100",
        is_corrupted: bool = False,
        imbalance: float = 1.0,
        shots: str = "kang",
        id_validation: int = ID_VALIDATION,
        facts: Facts | None = None,
        md5: dict[str, str] = MD5,
    ) -> None:
        if imbalance < 1:
            raise ValueError(f"imbalance must be at least 1, got {imbalance}")
        if shots not in SHOTS:
            raise ValueError(f"unknown convention {shots!r}; choose one of {', '.join(SHOTS)}")
        if facts is None:
            facts = LONG_TAIL_FACTS if imbalance > 1 else CORRUPTED_FACTS if is_corrupted else FACTS
        root = require(name, facts, data)
        self.name, self.facts, self.imbalance, self.shots = name, facts, imbalance, shots
        self.id_validation, self.md5 = id_validation, md5
        self.folder = root / ARCHIVE
        self.corrupted = root / FOLDER if is_corrupted else None
        self.corruption_splits: tuple[str, ...] = ()
        if is_corrupted:
            self.corruption_splits = tuple(
                f"{CORRUPTION}{k}/{severity}" for k in CORRUPTIONS for severity in SEVERITIES
            )
        self._loaded: dict[str, Split] = {}

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that results are made of."""
        return ("train", "id_val", "id_test", *self.corruption_splits)

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, from the publisher's ``meta``."""
        names = read_pickle(self.folder / "meta").get("fine_label_names")
        if not isinstance(names, list) or len(names) != self.facts.classes:
            raise DataError(f"{self.folder / 'meta'} must name {self.facts.classes} classes; get it again")
        return tuple(name.decode("latin1") if isinstance(name, bytes) else str(name) for name in names)

    def readout(self, split: str) -> Readout | None:
        """None: every split asks for all classes."""
        return None

    def load(self, split: str) -> Split:
        """Returns a split, cached in memory; corrupted ones stay in their files.

        Raises:
            ValueError: If there is no such split; the message lists the valid names.
            DataError: If a file is missing or damaged.
        """
        if split not in self._loaded:
            self._loaded[split] = self._read(split)
        return self._loaded[split]

    @functools.cached_property
    def train_counts(self) -> np.ndarray:
        """Training images per class, ``int64``, shape ``(classes,)``."""
        return np.bincount(self.load("train").labels, minlength=len(self.classes))

    @functools.cached_property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """``many``, ``medium``, ``few`` -> class ids; empty without a tail."""
        return shot_groups(self.train_counts, self.shots) if self.imbalance > 1 else {}

    @functools.cached_property
    def manifest(self) -> str:
        """SHA-256 (hex) over protocol, classes, and the sources and labels of all splits, and sizes of all files."""
        return self.fresh_manifest()

    def fresh_manifest(self) -> str:
        """The manifest, computed anew."""
        return fingerprint(self._manifest_lines())

    def check(self) -> list[str]:
        """Returns what is wrong with the data, each problem one sentence; empty if all is well."""
        found = []
        for file, expected in self.md5.items():
            path = self.folder / file
            if path.is_file() and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != expected:
                found.append(f"{path} is not the publisher's file: its MD5 is not {expected}; get it again")
        try:
            _ = self.classes
            for split, expected_images in self.facts.images.items():
                held = len(self.load(split).labels)
                if held != expected_images:
                    found.append(f"{split} has {held} of {expected_images} images in {self.folder}")
                counts = np.bincount(self.load(split).labels, minlength=len(self.classes))
                found += [f"{split} has no image of class {self.classes[k]}" for k in np.flatnonzero(counts == 0)]
            if self.corrupted is not None:
                found += check_corrupted(self.corrupted, self._test[1])
        except DataError as error:
            found.append(str(error))
        return found

    def _read(self, split: str) -> Split:
        if split == "id_test":
            images, labels = self._test
            return Split(split, images, labels, np.arange(len(labels)))
        if split in ("train", "id_val"):
            images, labels = self._training
            chosen = self._parts[split]
            # Training and test images are numbered apart.
            return Split(split, images[chosen], labels[chosen], -1 - chosen)
        parts = split.split("/")
        is_known = len(parts) == 3 and f"{parts[0]}/" == CORRUPTION and parts[1] in KINDS and parts[2] in "12345"
        if self.corrupted is None or not is_known:
            kinds = f", corruption/<kind>/<1..5> with kind in {', '.join(KINDS)}" if self.corrupted else ""
            raise ValueError(f"unknown split {split!r} of {self.name}; choose one of train, id_val, id_test{kinds}")
        _, labels = self._test
        images, labels = read_corrupted(self.corrupted, parts[1], int(parts[2]), labels)
        return Split(split, images, labels, np.arange(len(labels)))

    @functools.cached_property
    def _training(self) -> tuple[np.ndarray, np.ndarray]:
        return self._read_batch("train")

    @functools.cached_property
    def _test(self) -> tuple[np.ndarray, np.ndarray]:
        return self._read_batch("test")

    @functools.cached_property
    def _parts(self) -> dict[str, np.ndarray]:
        _, labels = self._training
        # Padded, so that the order of the names is that of the images.
        names = [f"{position:08d}" for position in range(len(labels))]
        is_validation = cut(names, labels, "cifar100 id_val", SEED, count=self.id_validation)
        rest = np.flatnonzero(~is_validation)
        if self.imbalance > 1:
            rest = rest[thin(labels[rest], self.facts.classes, self.imbalance, "cifar100 long tail", SEED)]
        return {"train": rest, "id_val": np.flatnonzero(is_validation)}

    def _read_batch(self, file: str) -> tuple[np.ndarray, np.ndarray]:
        path = self.folder / file
        table = read_pickle(path)
        pixels, labels = table.get("data"), table.get(LABELS)
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (3 * SIDE * SIDE,):
            raise DataError(f"{path} must hold images of {3 * SIDE * SIDE} bytes under data; get it again")
        if not isinstance(labels, list) or len(labels) != len(pixels):
            raise DataError(f"{path} must hold {len(pixels)} labels under {LABELS}; get it again")
        if wrong := [label for label in labels if not isinstance(label, int) or not 0 <= label < self.facts.classes]:
            raise DataError(f"labels in {path} must lie in 0..{self.facts.classes - 1}, got {wrong[0]!r}")
        images = np.ascontiguousarray(pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
        return images, np.array(labels, np.int64)

    def _manifest_lines(self) -> Iterator[str]:
        yield f"{self.name} protocol {PROTOCOL_VERSION} metric {self.metric}"
        yield from (f"class {name}" for name in self.classes)
        yield from (f"group {name} {classes}" for name, classes in self.groups.items())
        for file in MD5:
            yield f"file {file} {(self.folder / file).stat().st_size}"
        for name in ("train", "id_val", "id_test"):
            split = self.load(name)
            yield f"split {name} {split.sources.tolist()} {split.labels.tolist()}"
        if self.corrupted is not None:
            for kind in CORRUPTIONS:
                labels = [self.load(f"{CORRUPTION}{kind}/{severity}").labels.tolist() for severity in SEVERITIES]
                yield f"corruption {kind} {(self.corrupted / f'{kind}.npy').stat().st_size} {labels}"
