"""Images that stay in their files until they are asked for, each cut to one view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from studies.ahead import read_ahead
from studies.benchmarks.boxes import crop_boxes
from studies.benchmarks.draws import Draws
from studies.benchmarks.pictures import ImageError, read_image
from studies.reading import Reading, readers_for

INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


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


@dataclass(frozen=True)
class Crops:
    """Random resized crops: where each lies is a function of the key and of the image's position in its split.

    Args:
        key: Names the random stream: purpose, seed, step.
        scale: Smallest area of a crop as a fraction of the image's, in (0, 1].

    Raises:
        ValueError: If ``scale`` is out of range.
    """

    key: tuple[str | int, ...]
    scale: float

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1:
            raise ValueError(f"scale must lie in (0, 1], got {self.scale}")

    def cut(self, image: Image.Image, position: int, view: View) -> np.ndarray:
        """Returns a random part of a picture in the view's size: the pixels of torchvision's ``resized_crop``.

        Args:
            image: The whole picture.
            position: Of the image in its split.
            view: Its side and its interpolation.
        """
        width, height = image.size
        draws = Draws(*self.key, position)
        top, left, high, wide = (int(part[0]) for part in crop_boxes(1, height, width, self.scale, draws))
        # Cropped first, since a filter must not look beyond the crop.
        part = image.crop((left, top, left + wide, top + high))
        return np.asarray(part.resize((view.crop, view.crop), INTERPOLATIONS[view.interpolation]))


class FileImages:
    """The images of a split, read when indexed; nothing is kept in memory but their names.

    A thread reads and cuts about 270 JPEGs of 500 x 375 pixels a second (one core, 2026-11-24). Reading lets other
    threads run, so several cores help; what is read does not depend on their number.

    Args:
        folder: Where the names start.
        names: Names of the files, ``/`` between folders.
        view: The view that indexing returns.
        border: Pixels to cut off on every side first.
        reading: Threads that read; by default one a core that this process may use.

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
        reading: Reading | None = None,
    ) -> None:
        if border < 0:
            raise ValueError(f"border must not be negative, got {border}")
        self.folder, self.names, self.view, self.border = folder, names, view, border
        self.reading = reading or Reading(readers_for(1))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape that ``images[:]`` would have."""
        return len(self), self.view.crop, self.view.crop, 3

    def with_view(self, view: View, reading: Reading | None = None) -> FileImages:
        """The same files in another view, read in the same way if no other is given."""
        return FileImages(self.folder, self.names, view, self.border, reading or self.reading)

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
        if not isinstance(chosen, slice) and (np.ndim(chosen) != 1 or np.asarray(chosen).dtype.kind not in "iu"):
            raise TypeError(f"images are chosen by a slice or by integers of shape (n,), got {chosen!r}")
        return next(read_ahead(self, [np.arange(len(self))[chosen]]))

    def fill(self, out: np.ndarray, positions: np.ndarray, crops: Crops | None = None) -> None:
        """Reads images in this thread: the view of each, or a random part of each whole picture.

        Args:
            out: Where they go, ``uint8``, shape ``(n, crop, crop, 3)``.
            positions: Positions of the images, shape ``(n,)``; one that appears twice has equal crops.
            crops: Random crops in place of the view.

        Raises:
            ImageError: If a file cannot be read; the message names it.
        """
        for row, position in zip(out, positions.tolist(), strict=True):
            image = self._open(self.names[position])
            row[...] = self.view.cut(image) if crops is None else crops.cut(image, position, self.view)

    def _open(self, name: str) -> Image.Image:
        image = read_image(self.folder / name)
        if not self.border:
            return image
        width, height = image.size
        if min(width, height) <= 2 * self.border:
            raise ImageError(f"the image {self.folder / name} is too small to cut a border of {self.border} pixels")
        return image.crop((self.border, self.border, width - self.border, height - self.border))
