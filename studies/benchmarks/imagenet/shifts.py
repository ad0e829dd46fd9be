"""The natural shifts of ImageNet whose folders are its classes: V2, Rendition, Adversarial, Sketch."""

from __future__ import annotations

from pathlib import Path

from studies.benchmarks.listing import Listing, class_folders, read_tree
from studies.benchmarks.readout import Readout, one_each
from studies.benchmarks.roots import DataError

FOLDERS: dict[str, tuple[str, ...]] = {
    "v2": ("imagenetv2-matched-frequency-format-val", "imagenetv2-matched-frequency"),
    "r": ("imagenet-r",),
    "a": ("imagenet-a",),
    "sketch": ("sketch", "imagenet-sketch", "ImageNet-Sketch"),
    "objectnet": ("objectnet-1.0",),
}
"""Shifts to the names of their folders: first the one in the publisher's archive, then others in use."""


def find_shift(shift: str, folder: Path) -> Path:
    """The folder of a shift: within ImageNet's, or beside it.

    Raises:
        DataError: If there is none.
    """
    for place in (folder, folder.parent):
        for name in FOLDERS[shift]:
            if (place / name).is_dir():
                return place / name
    raise DataError(
        f"the shift ood/{shift} needs a folder {FOLDERS[shift][0]}/ in {folder} or beside it, as its archive extracts "
        "to (`gmixout data list` says where to get it); or leave the shift out"
    )


def read_matched_frequency(folder: Path, classes: int) -> Listing:
    """Lists ImageNet-V2: a folder's name is its label, so that 10 comes before 2 among folders and not among labels.

    Raises:
        DataError: If a folder's name is no label, or a label has no folder.
    """
    names = class_folders(folder)
    if wrong := [name for name in names if not name.isdecimal() or int(name) >= classes]:
        raise DataError(f"folders of {folder} must be named 0 to {classes - 1}, got {wrong[0]!r}")
    if len(names) != classes:
        raise DataError(f"{folder} has {len(names)} of {classes} class folders; it looks half extracted")
    return read_tree(folder, "", {name: int(name) for name in names}, "ood/v2")


def read_subset(folder: Path, wnids: tuple[str, ...], place: str) -> tuple[Listing, Readout]:
    """Lists a shift with some of ImageNet's classes; its labels are positions among those that it has.

    Args:
        folder: With a folder for each class, named by its identifier.
        wnids: Identifiers in the order of ImageNet's labels.
        place: The split's name.

    Raises:
        DataError: If a folder is no class of ImageNet, or there is none.
    """
    names = class_folders(folder)
    positions = {wnid: position for position, wnid in enumerate(wnids)}
    if unknown := [name for name in names if name not in positions]:
        raise DataError(f"{folder} has a folder {unknown[0]!r}, which is no class of ImageNet")
    if not names:
        raise DataError(f"{folder} has no class folder")
    listing = read_tree(folder, "", {name: label for label, name in enumerate(names)}, place)
    return listing, one_each(positions[name] for name in names)
