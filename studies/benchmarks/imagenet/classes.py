"""ImageNet's classes: their identifiers in order, their names, and where its images lie. All read from its files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from studies.benchmarks.listing import class_folders
from studies.benchmarks.roots import DataError

WNID = re.compile(r"n\d{8}")
MAPPING = "LOC_synset_mapping.txt"
NAMES = "classnames.txt"


@dataclass(frozen=True)
class Classes:
    """ImageNet's classes in the order of their labels.

    Attributes:
        wnids: WordNet identifiers, sorted, such as ``n01440764``; a label is a position among them.
        names: Printed names.
    """

    wnids: tuple[str, ...]
    names: tuple[str, ...]


def image_folder(folder: Path) -> Path:
    """Where ``train/`` and ``val/`` lie: the benchmark's folder, or within it as Kaggle's archive has it."""
    nested = folder / "ILSVRC" / "Data" / "CLS-LOC"
    return nested if nested.is_dir() else folder


def read_classes(folder: Path) -> Classes:
    """Reads the classes from ``classnames.txt`` or ``LOC_synset_mapping.txt`` in ImageNet's folder.

    The mapping is part of the publisher's archive on Kaggle: an identifier and names a line; the first name counts.
    ``classnames.txt`` is the user's own and comes first: either an identifier and a name a line, or one name a line in
    the order of the labels, as the lists of names for CLIP's zero-shot heads are.

    Raises:
        DataError: If there is neither, or one does not fit the folders of ``train/``.
    """
    own, mapping = folder / NAMES, folder / MAPPING
    file = own if own.is_file() else mapping
    if not file.is_file():
        raise DataError(
            f"ImageNet's classes need names: put {MAPPING} (from the publisher's archive) or {NAMES} (a line for each "
            f"class: its identifier such as n01440764 and its name, or just the name in the order of the identifiers) "
            f"into {folder}"
        )
    lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    pairs = [line.partition(" ")[::2] for line in lines]
    if all(WNID.fullmatch(first) for first, _ in pairs):
        named = {wnid: (name.split(",")[0] if file == mapping else name).strip() for wnid, name in pairs}
        if len(named) != len(pairs) or not all(named.values()):
            raise DataError(f"{file} must name each class once")
        wnids = tuple(sorted(named))
        return Classes(wnids, tuple(named[wnid] for wnid in wnids))
    wnids = tuple(wnid for wnid in class_folders(image_folder(folder) / "train") if WNID.fullmatch(wnid))
    if len(lines) != len(wnids):
        raise DataError(
            f"{file} has {len(lines)} names, train/ has {len(wnids)} class folders; names without identifiers need "
            "one line for each folder, in the folders' order"
        )
    return Classes(wnids, tuple(lines))
