"""ImageNet: trained on its training images, tested on its validation images and on five natural shifts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from studies.benchmarks.cut import cut
from studies.benchmarks.facts import Facts
from studies.benchmarks.files import FileBenchmark
from studies.benchmarks.imagenet.classes import Classes, image_folder, read_classes
from studies.benchmarks.imagenet.objectnet import BORDER, read_objectnet
from studies.benchmarks.imagenet.shifts import FOLDERS, find_shift, read_matched_frequency, read_subset
from studies.benchmarks.imagenet.validation import read_validation, require_folders
from studies.benchmarks.listing import Listing, read_tree
from studies.benchmarks.readout import Readout
from studies.benchmarks.roots import DataError, require

ID_VALIDATION = 10
"""Training images of each class that become ``id_val``; there is no official one."""

SEED = 0
"""Of that cut; the same for every run, so that all methods select on the same images."""

FACTS = Facts(
    title="1000 classes; V2, Rendition, Adversarial, Sketch and ObjectNet are OOD",
    home="https://image-net.org/download.php",
    licence="research and education only, after registration; the shifts have licences of their own",
    gigabytes=155,
    folder="imagenet",
    layout=(
        "train/ with 1000 class folders",
        "val/ in class folders, or flat with LOC_val_solution.csv",
        "LOC_synset_mapping.txt or classnames.txt",
        "inside or beside it imagenetv2-matched-frequency-format-val/ (github.com/modestyachts/ImageNetV2, 1.3 GB)",
        "imagenet-r/ (github.com/hendrycks/imagenet-r, 2.2 GB)",
        "imagenet-a/ (github.com/hendrycks/natural-adv-examples, 0.7 GB)",
        "sketch/ (github.com/HaohanWang/ImageNet-Sketch, 7.7 GB)",
        "objectnet-1.0/ with images/ and mappings/ (objectnet.dev, 190 GB, for tests only)",
    ),
    classes=1000,
    images={
        "train": 1_271_167,
        "id_val": 10_000,
        "id_test": 50_000,
        "ood/v2": 10_000,
        "ood/r": 30_000,
        "ood/a": 7_500,
        "ood/sketch": 50_889,
        "ood/objectnet": 18_574,
    },
    subsets={"ood/r": 200, "ood/a": 200, "ood/objectnet": 113},
    get=(
        "kaggle competitions download -c imagenet-object-localization-challenge (or, after registration, "
        "https://image-net.org/download.php)",
        "V2: https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/imagenetv2-matched-frequency.tar.gz",
        "R and A: https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar and imagenet-a.tar",
        "Sketch: https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/data/ImageNet-Sketch.zip",
        "ObjectNet: https://objectnet.dev/downloads/objectnet-1.0.zip (password objectnetisatestset; its licence "
        "forbids training on it)",
    ),
    from_memory=("the sizes of the downloads", "the numbers of images", "the licences"),
)


class ImageNet(FileBenchmark):
    """ImageNet with its natural shifts.

    ``id_test`` is ImageNet's validation set, as everywhere in the field; ``id_val`` is cut from the training images. A
    label is a position among the sorted identifiers. ``ood/r``, ``ood/a`` and ``ood/objectnet`` have readouts.

    Args:
        data: The data folder; by default ``$GMIXOUT_DATA``.
        name: The benchmark's name.
        shifts: Which shifts are OOD splits, names of ``FOLDERS``.
        id_validation: Training images of each class that become ``id_val``.
        facts: What is known of it.

    Raises:
        DataError: If its folder is not there.
        ValueError: If a shift is unknown.
    """

    def __init__(
        self,
        data: Path | None = None,
        name: str = "imagenet",
        shifts: Sequence[str] = tuple(FOLDERS),
        id_validation: int = ID_VALIDATION,
        facts: Facts = FACTS,
    ) -> None:
        if unknown := [shift for shift in shifts if shift not in FOLDERS]:
            raise ValueError(f"unknown shift {unknown[0]!r}; choose from {', '.join(FOLDERS)}")
        folder = require(name, facts, data) / facts.folder
        super().__init__(name, facts, folder, f"{','.join(shifts)} {id_validation}")
        self.id_validation = id_validation
        self._shifts: dict[str, tuple[Listing, Readout | None]] = {}
        self.ood_splits = tuple(f"ood/{shift}" for shift in shifts)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, from the files that :func:`read_classes` reads."""
        return self._classes.names

    def readout(self, split: str) -> Readout | None:
        """For the shifts that ask for fewer classes than 1000; None for the others.

        Raises:
            DataError: If the shift's folder is missing or damaged.
        """
        return self._shift(split.removeprefix("ood/"))[1] if split in self.ood_splits else None

    def check(self) -> list[str]:
        """Returns what is wrong with the data, each problem one sentence; empty if all is well."""
        found = super().check()
        for split, expected in self.facts.subsets.items():
            try:
                readout = self.readout(split) if split in self.ood_splits else None
            except DataError:
                # Said already: the split could not be listed.
                continue
            if readout is not None and len(readout.columns) != expected:
                found.append(f"{split} has {len(readout.columns)} of {expected} classes")
        return found

    @functools.cached_property
    def _classes(self) -> Classes:
        return read_classes(self.folder)

    @functools.cached_property
    def _training(self) -> tuple[Listing, np.ndarray]:
        images, wnids = image_folder(self.folder), self._classes.wnids
        require_folders(images / "train", wnids)
        files = read_tree(images, "train", {wnid: label for label, wnid in enumerate(wnids)})
        return files, cut(files.names, files.labels, "imagenet id_val", SEED, count=self.id_validation)

    def _shift(self, shift: str) -> tuple[Listing, Readout | None]:
        if shift not in self._shifts:
            self._shifts[shift] = self._read_shift(shift)
        return self._shifts[shift]

    def _read_shift(self, shift: str) -> tuple[Listing, Readout | None]:
        folder, wnids = find_shift(shift, self.folder), self._classes.wnids
        if shift == "v2":
            return read_matched_frequency(folder, len(wnids)), None
        if shift == "objectnet":
            return read_objectnet(folder, len(wnids))
        if shift == "sketch":
            require_folders(folder, wnids)
            labels = {wnid: label for label, wnid in enumerate(wnids)}
            return read_tree(folder, "", labels, "ood/sketch"), None
        return read_subset(folder, wnids, f"ood/{shift}")

    def _list(self, split: str) -> Listing:
        if split.startswith("ood/"):
            return self._shift(split.removeprefix("ood/"))[0]
        if split == "id_test":
            return read_validation(self.folder, image_folder(self.folder), self._classes.wnids)
        files, is_validation = self._training
        return files.take(np.flatnonzero(is_validation if split == "id_val" else ~is_validation))

    def _border(self, split: str) -> int:
        return BORDER if split == "ood/objectnet" else 0
