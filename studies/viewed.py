"""A benchmark as a backbone sees it: every image cut to the side that the backbone takes."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from studies.ahead import read_ahead
from studies.benchmarks.benchmark import Benchmark, Split
from studies.benchmarks.images import FileImages, View
from studies.reading import Reading, readers_for


class Viewed:
    """The benchmark with other images; all else is its own.

    Files are cut to the view when they are read. Images in memory of another side are resized when they are indexed,
    one by one, as Pillow does it; those of the right side stay as they are.

    Args:
        benchmark: Any benchmark.
        view: What the backbone takes.
        reading: Threads that read and resize; by default one a core that this process may use.
    """

    def __init__(self, benchmark: Benchmark, view: View, reading: Reading | None = None) -> None:
        self._benchmark, self._view = benchmark, view
        self._reading = reading or Reading(readers_for(1))
        self._splits: dict[str, Split] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._benchmark, name)

    def load(self, split: str) -> Split:
        """The split in the view. Raises as the benchmark's own ``load``."""
        if split not in self._splits:
            found = self._benchmark.load(split)
            self._splits[split] = Split(found.name, self._seen(found.images), found.labels, found.sources)
        return self._splits[split]

    def _seen(self, images: Any) -> Any:
        if isinstance(images, FileImages):
            return images.with_view(self._view, self._reading)
        is_fit = images.shape[1:3] == (self._view.crop,) * 2
        return images if is_fit else ResizedImages(images, self._view, self._reading)


class ResizedImages:
    """Images in memory that are resized when they are indexed.

    Args:
        images: uint8, shape ``(N, height, width, 3)``.
        view: What indexing gives.
        reading: Threads that resize; by default one.

    Example:
        >>> ResizedImages(np.zeros((2, 4, 4, 3), np.uint8), View(8, 8))[:].shape
        (2, 8, 8, 3)
    """

    def __init__(self, images: npt.NDArray[np.uint8], view: View, reading: Reading | None = None) -> None:
        self._images, self._view, self.reading = images, view, reading or Reading()

    def __len__(self) -> int:
        return len(self._images)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape that ``images[:]`` would have."""
        return len(self), self._view.crop, self._view.crop, 3

    def __getitem__(self, chosen: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """uint8, shape ``(n, crop, crop, 3)``."""
        return next(read_ahead(self, [np.arange(len(self))[chosen]]))

    def fill(self, out: npt.NDArray[np.uint8], positions: npt.NDArray[np.int64], crops: None = None) -> None:
        """Resizes images in this thread.

        Args:
            out: Where they go, uint8, shape ``(n, crop, crop, 3)``.
            positions: Positions of the images, shape ``(n,)``.
            crops: None: these are cropped in the view, as all images in memory are.
        """
        for row, position in zip(out, positions.tolist(), strict=True):
            row[...] = self._view.cut(Image.fromarray(self._images[position]))


def class_words(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of classes as a text tower is to read them: words apart.

    Example:
        >>> class_words(("aircraft_carrier", "zebra"))
        ('aircraft carrier', 'zebra')
    """
    return tuple(name.replace("_", " ") for name in classes)
