"""A benchmark as a backbone sees it: every image cut to the side that the backbone takes."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from studies.benchmarks.benchmark import Benchmark, Split
from studies.benchmarks.images import FileImages, View


class Viewed:
    """The benchmark with other images; all else is its own.

    Files are cut to the view when they are read. Images in memory of another side are resized when they are indexed,
    one by one, as Pillow does it; those of the right side stay as they are.

    Args:
        benchmark: Any benchmark.
        view: What the backbone takes.
    """

    def __init__(self, benchmark: Benchmark, view: View) -> None:
        self._benchmark, self._view = benchmark, view
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
            return images.with_view(self._view)
        return images if images.shape[1:3] == (self._view.crop,) * 2 else ResizedImages(images, self._view)


class ResizedImages:
    """Images in memory that are resized when they are indexed.

    Args:
        images: uint8, shape ``(N, height, width, 3)``.
        view: What indexing gives.

    Example:
        >>> ResizedImages(np.zeros((2, 4, 4, 3), np.uint8), View(8, 8))[:].shape
        (2, 8, 8, 3)
    """

    def __init__(self, images: npt.NDArray[np.uint8], view: View) -> None:
        self._images, self._view = images, view

    def __len__(self) -> int:
        return len(self._images)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape that ``images[:]`` would have."""
        return len(self), self._view.crop, self._view.crop, 3

    def __getitem__(self, chosen: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """uint8, shape ``(n, crop, crop, 3)``."""
        cut = [self._view.cut(Image.fromarray(image)) for image in self._images[chosen]]
        return np.stack(cut) if cut else np.zeros((0, *self.shape[1:]), np.uint8)


def class_words(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of classes as a text tower is to read them: words apart.

    Example:
        >>> class_words(("aircraft_carrier", "zebra"))
        ('aircraft carrier', 'zebra')
    """
    return tuple(name.replace("_", " ") for name in classes)
