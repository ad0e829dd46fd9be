"""An image file to a picture of eight bits a channel, red, green and blue; or one error that names the file."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from studies.benchmarks.roots import DataError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What a file may hold, whatever its name says. Formats that start other programs to be read are not among them."""

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
"""Names of files that count as images, in lower case."""

CHUNK = 256


class ImageError(DataError):
    """A file that cannot be read as an image."""


def read_image(path: str | Path) -> Image.Image:
    """Reads an image file in mode RGB.

    Grey and palette images get three channels, CMYK is converted as Pillow does, transparency is dropped, of sixteen
    bits the upper eight are kept. All but the last is what torchvision's loader does. The stored orientation is kept:
    an EXIF rotation is ignored, as there. JPEGs are decoded in full size: Pillow's draft mode decodes large ones at a
    fraction of it, which is faster and gives other pixels.

    Args:
        path: The file.

    Returns:
        The picture, loaded; its file is closed.

    Raises:
        ImageError: If the file is absent, empty, cut off, no image, or of a kind without a range of values (floats,
            more than sixteen bits). Damage that only bends pixels, as it may within a JPEG, is not seen.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.load()
            return _to_rgb(image)
    except FileNotFoundError as error:
        raise ImageError(f"there is no image file {path}") from error
    except UnidentifiedImageError as error:
        what = "is empty" if _is_empty(path) else f"is none of {', '.join(FORMATS)}"
        raise ImageError(f"cannot read the image {path}: it {what}; get the file again") from error
    # Pillow's readers raise all of these on damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"cannot read the image {path}: {error}; get the file again") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image.copy()
    # Dropped beforehand, since Pillow warns of dropping it.
    image.info.pop("transparency", None)
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"its values go from {values.min()} to {values.max()}, 0 to 65535 is allowed")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its values are floating point numbers without a range")
    return image.convert("RGB")


def _is_empty(path: str | Path) -> bool:
    return os.path.getsize(path) == 0


def unreadable(
    folder: Path, names: Sequence[str], workers: int = 1, on_done: Callable[[int], None] = lambda files: None
) -> list[str]:
    """Reads every file in full, in processes of its own, and collects what is wrong.

    Args:
        folder: Where the names start.
        names: The files.
        workers: Number of processes; 1 reads in this one.
        on_done: Told the number of files just read.

    Returns:
        One sentence for each file that cannot be read, in the order of the names.
    """
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    problems: list[str] = []
    for chunk, found in zip(chunks, _read_chunks(folder, chunks, workers)):
        problems += found
        on_done(len(chunk))
    return problems


def _read_chunks(folder: Path, chunks: list[Sequence[str]], workers: int) -> Iterator[list[str]]:
    if workers == 1:
        yield from (_chunk_problems(folder, chunk) for chunk in chunks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_chunk_problems, [folder] * len(chunks), chunks)


def _chunk_problems(folder: Path, names: Sequence[str]) -> list[str]:
    problems = []
    for name in names:
        try:
            read_image(folder / name)
        except ImageError as error:
            problems.append(str(error))
    return problems
