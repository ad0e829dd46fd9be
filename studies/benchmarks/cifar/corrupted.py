"""CIFAR-100-C: one file a corruption, five severities one after the other, read from disk as needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from studies.benchmarks.corruptions import CORRUPTIONS, SEVERITIES
from studies.benchmarks.roots import DataError

FOLDER = "CIFAR-100-C"
EXTRA = ("gaussian_blur", "saturate", "spatter", "speckle_noise")
KINDS = (*CORRUPTIONS, *EXTRA)
"""The fifteen standard kinds, whose mean is reported, then four that their authors meant for validation."""


def read_corrupted(folder: Path, kind: str, severity: int, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The test images under one corruption, memory-mapped.

    Args:
        folder: With ``labels.npy`` and a file for each kind.
        kind: A name in ``KINDS``.
        severity: 1 (mild) to 5 (strong).
        labels: Of the clean test images, shape ``(N,)``.

    Returns:
        Images, ``uint8``, shape ``(N, 32, 32, 3)``, and labels, shape ``(N,)``.

    Raises:
        DataError: If a file is absent, has another shape, or its labels are not those of the clean test.
    """
    images = _load(folder / f"{kind}.npy")
    given = _load(folder / "labels.npy")
    count = len(labels)
    expected = (count * len(SEVERITIES), 32, 32, 3)
    if images.dtype != np.uint8 or images.shape != expected:
        raise DataError(
            f"{folder / f'{kind}.npy'} must be uint8 of shape {expected}, got {images.dtype} of shape {images.shape}"
        )
    first = (severity - 1) * count
    # The publisher repeats the labels for each severity.
    if given.shape != expected[:1] or (given[first : first + count] != labels).any():
        raise DataError(f"{folder / 'labels.npy'} does not repeat the test's labels five times; get it again")
    return images[first : first + count], labels


def check_corrupted(folder: Path, labels: np.ndarray) -> list[str]:
    """What is wrong with the fifteen standard files, each problem one sentence."""
    found = []
    for kind in CORRUPTIONS:
        try:
            read_corrupted(folder, kind, 1, labels)
        except DataError as error:
            if str(error) not in found:
                found.append(str(error))
    return found


def _load(file: Path) -> np.ndarray:
    try:
        # Without pickles: a file of objects could run code.
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {file}; {FOLDER}/ lies beside cifar-100-python/") from error
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"cannot read {file}: {error}; get it again") from error
