"""ImageNet's own validation images, which are the ID test: sorted into class folders, or flat with a table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from studies.benchmarks.listing import Listing, class_folders, read_tree
from studies.benchmarks.roots import DataError

TABLE = "LOC_val_solution.csv"
FLAT = "ILSVRC2012_val_*.JPEG"


def is_flat(images: Path) -> bool:
    """Whether ``val/`` holds the images themselves, as the publisher packs them."""
    return next((images / "val").glob(FLAT), None) is not None


def read_validation(folder: Path, images: Path, wnids: tuple[str, ...]) -> Listing:
    """Lists the validation images.

    Args:
        folder: ImageNet's folder, where the table lies if ``val/`` is flat.
        images: Where ``val/`` lies.
        wnids: Identifiers in the order of the labels.

    Raises:
        DataError: If ``val/`` is absent, a class folder is missing, or ``val/`` is flat and the table does not fit it.
    """
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    if not is_flat(images):
        require_folders(images / "val", wnids)
        return read_tree(images, "val", labels)
    file = folder / TABLE
    if not file.is_file():
        raise DataError(
            f"{images / 'val'} is not sorted into class folders: sort it, or put {TABLE} (from the publisher's "
            f"archive) into {folder}"
        )
    names: list[str] = []
    found: list[int] = []
    with open(file, newline="") as stream:
        for row in csv.DictReader(stream):
            wnid = (row.get("PredictionString") or "").split(" ")[0]
            if wnid not in labels or not row.get("ImageId"):
                raise DataError(f"{file} line {len(names) + 2} must name an image and a class, got {row}")
            names.append(f"val/{row['ImageId']}.JPEG")
            found.append(labels[wnid])
    order = np.argsort(np.array(names), kind="stable")
    return Listing(images, names, np.array(found, np.int64), str(file), np.arange(len(names)) + 2).take(order)


def require_folders(tree: Path, wnids: tuple[str, ...]) -> None:
    """Refuses a tree without a folder for each class: labels of the others would be right, scores would not.

    Raises:
        DataError: Naming the missing folders.
    """
    missing = sorted(set(wnids) - set(class_folders(tree)))
    if missing:
        raise DataError(
            f"{tree} has no folder for {len(missing)} of {len(wnids)} classes, the first is {missing[0]}; "
            "it looks half extracted"
        )
