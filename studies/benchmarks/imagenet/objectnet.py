"""ObjectNet: everyday things from odd angles; 113 of its classes are one or several of ImageNet's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from studies.benchmarks.listing import Listing, class_folders, read_tree
from studies.benchmarks.readout import Readout
from studies.benchmarks.roots import DataError

BORDER = 2
"""Pixels cut off on every side: the publisher drew a red line around each image, to mark it as a test image."""


def read_objectnet(folder: Path, classes: int) -> tuple[Listing, Readout]:
    """Lists the images whose class is one of ImageNet's, by the publisher's own mapping files.

    ``folder_to_objectnet_label.json`` names the folders, ``objectnet_to_imagenet_1k.json`` gives ImageNet's names for
    them (several between semicolons), ``imagenet_to_label_2012_v2`` has those names a line each in ImageNet's own
    order, and ``pytorch_to_imagenet_2012_id.json`` turns sorted identifiers into that order. Labels are positions
    among the shared folders, sorted; the readout takes the largest logit over a folder's classes.

    Args:
        folder: ObjectNet's folder, with ``images/`` and ``mappings/``.
        classes: Number of ImageNet's classes.

    Raises:
        DataError: If a mapping file is absent or does not fit the others, or a shared folder has no images.
    """
    mappings = folder / "mappings"
    folders = _read(mappings / "folder_to_objectnet_label.json")
    shared = _read(mappings / "objectnet_to_imagenet_1k.json")
    lines = _read(mappings / "pytorch_to_imagenet_2012_id.json")
    names = _text(mappings / "imagenet_to_label_2012_v2").splitlines()
    positions: dict[str, int] = {}
    for position, line in lines.items():
        if not 0 <= int(line) < len(names) or int(position) >= classes:
            raise DataError(f"the mapping files in {mappings} do not fit each other: class {position}, line {line}")
        positions[names[int(line)].strip()] = int(position)
    by_label = {label: name for name, label in folders.items()}
    columns: dict[str, tuple[int, ...]] = {}
    for label, joined in shared.items():
        parts = [part.strip() for part in joined.split(";")]
        if label not in by_label or not all(part in positions for part in parts):
            raise DataError(f"the mapping files in {mappings} do not fit each other: {label!r} is {joined!r}")
        columns[by_label[label]] = tuple(positions[part] for part in parts)
    if missing := sorted(set(columns) - set(class_folders(folder / "images"))):
        raise DataError(
            f"{folder / 'images'} has no folder for {len(missing)} of {len(columns)} classes, the first is "
            f"{missing[0]}; it looks half extracted"
        )
    chosen = sorted(columns)
    listing = read_tree(folder, "images", {name: label for label, name in enumerate(chosen)}, "ood/objectnet")
    return listing, Readout(tuple(columns[name] for name in chosen))


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError as error:
        raise DataError(f"there is no {file}; the publisher's archive has it") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise DataError(f"{file} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{file} must be a table from names to values")
    return found
