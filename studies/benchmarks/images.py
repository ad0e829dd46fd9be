"""Images that stay in their files until they are asked for, each cut to one view."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from studies.benchmarks.boxes import crop_boxes
from studies.benchmarks.draws import Draws
from studies.benchmarks.pictures import ImageError, read_image

INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}

MOST_THREADS = 8


@dataclass(frozen=True)
class View:
    """How a file of any size becomes a square: the shorter side resized, then the middle cut out.

    Pixels are those of torchvision's ``Resize`` and ``CenterCrop`` on a Pillow image. The default is CLIP's.

    Args:
        resize: Pixels of the shorter side after resizing.
        crop: Pixels of the square's sides, at most ``resize``.
        interpolation: ``bicubic``, ``bilinear`` or ``lanczos``, with antialiasing.

    Raises:
        ValueError: If the sizes are not positive, ``crop`` exceeds ``resize`` or the interpolation is unknown.
    """

    resize: int = 224
    crop: int = 224
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.resize:
            raise ValueError(f"crop must lie between 1 and resize, got crop {self.crop} and resize {self.resize}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {self.interpolation!r}")

    def cut(self, image: Image.Image) -> np.ndarray:
        """Returns the view of a picture, ``uint8``, shape ``(crop, crop, 3)``."""
        width, height = image.size
        shorter, longer = min(width, height), max(width, height)
        across = int(self.resize * longer / shorter)
        size = (self.resize, across) if width <= height else (across, self.resize)
        resized = image.resize(size, INTERPOLATIONS[self.interpolation])
        left, top = round((size[0] - self.crop) / 2), round((size[1] - self.crop) / 2)
        return np.asarray(resized.crop((left, top, left + self.crop, top + self.crop)))


class FileImages:
    """The images of a split, read when indexed; nothing is kept in memory but their names.

    A thread reads and cuts about 270 JPEGs of 500 x 375 pixels a second (one core, 2026-11-24). Reading lets other
    threads run, so several cores help; what is read does not depend on their number.

    Args:
        folder: Where the names start.
        names: Names of the files, ``/`` between folders.
        view: The view that indexing returns.
        border: Pixels to cut off on every side first.
        threads: Threads that read; by default one a core that this process may use, at most eight.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("L", (40, 30), 200).save(folder / "grey.png")
        >>> FileImages(folder, ["grey.png"], View(resize=8, crop=8))[:].shape
        (1, 8, 8, 3)
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        view: View = View(),
        border: int = 0,
        threads: int | None = None,
    ) -> None:
        if border < 0:
            raise ValueError(f"border must not be negative, got {border}")
        self.folder, self.names, self.view, self.border = folder, names, view, border
        self.threads = threads or min(MOST_THREADS, _cores())

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape that ``images[:]`` would have."""
        return len(self), self.view.crop, self.view.crop, 3

    def with_view(self, view: View) -> FileImages:
        """The same files in another view."""
        return FileImages(self.folder, self.names, view, self.border, self.threads)

    def __getitem__(self, chosen: slice | np.ndarray) -> np.ndarray:
        """Reads the chosen images.

        Args:
            chosen: A slice, or positions as an integer array of shape ``(n,)``.

        Returns:
            ``uint8``, shape ``(n, crop, crop, 3)``.

        Raises:
            ImageError: If a file cannot be read; the message names it.
            TypeError: If ``chosen`` is neither a slice nor a list of positions.
        """
        return self._read(self._positions(chosen), lambda image, position: self.view.cut(image))

    def random_crops(
        self, positions: np.ndarray, key: tuple[str | int, ...], scale: float, has_flip: bool
    ) -> np.ndarray:
        """Reads the images and cuts a random part out of each: torchvision's ``RandomResizedCrop``, perhaps mirrored.

        Every draw is a function of the key and the image's position, so neither the batch nor the threads matter.

        Args:
            positions: Positions of the images, shape ``(n,)``; one may appear more than once, with equal crops.
            key: Names the random stream: purpose, seed, step.
            scale: Smallest area of a crop as a fraction of the image's, in (0, 1].
            has_flip: Whether half of the crops are mirrored; the boxes are the same either way.

        Returns:
            ``uint8``, shape ``(n, crop, crop, 3)``.

        Raises:
            ImageError: If a file cannot be read; the message names it.
            ValueError: If ``scale`` is out of range.
        """
        if not 0 < scale <= 1:
            raise ValueError(f"scale must lie in (0, 1], got {scale}")

        def cut(image: Image.Image, position: int) -> np.ndarray:
            draws = Draws(*key, position)
            width, height = image.size
            top, left, high, wide = (int(part[0]) for part in crop_boxes(1, height, width, scale, draws))
            # Cropped first, since a filter must not look beyond the crop.
            part = image.crop((left, top, left + wide, top + high))
            pixels = np.asarray(part.resize((self.view.crop, self.view.crop), INTERPOLATIONS[self.view.interpolation]))
            return pixels[:, ::-1] if has_flip and draws.chance(0.5, (1,))[0] else pixels

        return self._read(self._positions(positions), cut)

    def _positions(self, chosen: slice | np.ndarray) -> np.ndarray:
        if not isinstance(chosen, slice) and (np.ndim(chosen) != 1 or np.asarray(chosen).dtype.kind not in "iu"):
            raise TypeError(f"images are chosen by a slice or by integers of shape (n,), got {chosen!r}")
        return np.arange(len(self))[chosen]

    def _read(self, positions: np.ndarray, cut: Callable[[Image.Image, int], np.ndarray]) -> np.ndarray:
        out = np.empty((len(positions), self.view.crop, self.view.crop, 3), np.uint8)

        def fill(row: int) -> None:
            position = int(positions[row])
            out[row] = cut(self._open(self.names[position]), position)

        if self.threads == 1 or len(positions) <= 1:
            for row in range(len(positions)):
                fill(row)
            return out
        # Made anew each time: a pool that is kept does not survive a fork.
        with ThreadPoolExecutor(self.threads) as pool:
            for _ in pool.map(fill, range(len(positions))):
                pass
        return out

    def _open(self, name: str) -> Image.Image:
        image = read_image(self.folder / name)
        if not self.border:
            return image
        width, height = image.size
        if min(width, height) <= 2 * self.border:
            raise ImageError(f"the image {self.folder / name} is too small to cut a border of {self.border} pixels")
        return image.crop((self.border, self.border, width - self.border, height - self.border))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
