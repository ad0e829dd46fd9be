"""ImageNet-LT: a long-tailed subset of ImageNet by its publisher's lists, with a balanced test."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from studies.benchmarks.facts import Facts
from studies.benchmarks.files import FileBenchmark
from studies.benchmarks.imagenet.classes import Classes, image_folder, read_classes
from studies.benchmarks.imagenet.validation import is_flat
from studies.benchmarks.listing import Listing, read_list
from studies.benchmarks.roots import DataError, require
from studies.benchmarks.shots import SHOTS, shot_groups

LISTS = {"train": "ImageNet_LT_train.txt", "id_val": "ImageNet_LT_val.txt", "id_test": "ImageNet_LT_test.txt"}

FACTS = Facts(
    title="1000 classes of 1280 to 5 training images; balanced test",
    home="https://github.com/zhmiao/OpenLongTailRecognition-OLTR",
    licence="that of ImageNet, whose images it names",
    gigabytes=155,
    folder="imagenet-lt",
    layout=(
        ", ".join(LISTS.values()),
        "beside it imagenet/ with train/, val/ and LOC_synset_mapping.txt or classnames.txt (see imagenet)",
    ),
    classes=1000,
    images={"train": 115_846, "id_val": 20_000, "id_test": 50_000},
    get=(
        "the lists: https://github.com/facebookresearch/classifier-balancing, data/ImageNet_LT/",
        "the images: see imagenet; no shift is needed",
    ),
    from_memory=("the size of the download", "the numbers of images"),
)


class ImageNetLongTail(FileBenchmark):
    """ImageNet-LT: ``id_val`` is its balanced validation list, ``id_test`` its balanced test list.

    Args:
        data: The data folder; by default ``$GMIXOUT_DATA``. It holds ``imagenet-lt`` and ``imagenet``.
        name: The benchmark's name.
        shots: Which convention draws the lines between many, medium and few: a name in ``SHOTS``.
        facts: What is known of it.

    Raises:
        DataError: If its folder is not there.
        ValueError: If the convention is unknown.
    """

    def __init__(
        self, data: Path | None = None, name: str = "imagenet-lt", shots: str = "kang", facts: Facts = FACTS
    ) -> None:
        if shots not in SHOTS:
            raise ValueError(f"unknown convention {shots!r}; choose one of {', '.join(SHOTS)}")
        root = require(name, facts, data)
        super().__init__(name, facts, root / facts.folder, shots)
        self.shots = shots
        self.imagenet = root / "imagenet"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, from the files that :func:`read_classes` reads."""
        return self._classes.names

    @functools.cached_property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """``many``, ``medium``, ``few`` -> class ids, by the training list."""
        return shot_groups(self.train_counts, self.shots)

    @functools.cached_property
    def _classes(self) -> Classes:
        if not self.imagenet.is_dir():
            raise DataError(f"{self.name} takes its images from {self.imagenet}, which is not there")
        return read_classes(self.imagenet)

    def _list(self, split: str) -> Listing:
        images, wnids = image_folder(self.imagenet), self._classes.wnids
        files = read_list(self.folder / LISTS[split], images, len(wnids))
        for number, label in enumerate(files.labels.tolist()):
            if wnids[label] not in files.names[number].split("/"):
                raise DataError(
                    f"{files.where(number)} has the label {label}, which is {wnids[label]}; "
                    "labels must be positions among the sorted identifiers"
                )
        if split != "id_test" or not is_flat(images):
            return files
        # The lists expect class folders in val/, the publisher packs it flat.
        flat = [f"val/{name.rpartition('/')[2]}" if name.startswith("val/") else name for name in files.names]
        return Listing(files.folder, flat, np.array(files.labels), files.source, files.lines)
