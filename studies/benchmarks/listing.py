"""Which files make a split: names and labels, from a tree of class folders or from a publisher's list."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from studies.benchmarks.pictures import SUFFIXES
from studies.benchmarks.roots import DataError


@dataclass(frozen=True, eq=False)
class Listing:
    """Image files with labels.

    Attributes:
        folder: Where the names start.
        names: Names of the files below ``folder``, ``/`` between folders.
        labels: ``int64``, shape ``(N,)``.
        source: What the names were read from, for messages: a list's file name, or empty for a tree.
        lines: Line numbers in ``source``, shape ``(N,)``; None for a tree.
        place: Sets these files apart from others of equal names below other folders; says nothing of where they lie.
    """

    folder: Path
    names: Sequence[str]
    labels: np.ndarray
    source: str = ""
    lines: np.ndarray | None = None
    place: str = ""

    def __len__(self) -> int:
        return len(self.names)

    def take(self, chosen: np.ndarray) -> Listing:
        """The files at the chosen positions, in their order."""
        names = [self.names[position] for position in chosen.tolist()]
        lines = None if self.lines is None else self.lines[chosen]
        return Listing(self.folder, names, self.labels[chosen], self.source, lines, self.place)

    def sizes(self) -> np.ndarray:
        """Bytes of every file, ``int64``, shape ``(N,)``; -1 where there is no file."""
        return np.array([_size(self.folder / name) for name in self.names], np.int64).reshape(len(self.names))

    def where(self, position: int) -> str:
        """Says which entry this is, for messages."""
        if self.lines is None:
            return f"{self.folder / self.names[position]}"
        return f"{self.source} line {self.lines[position]}: {self.names[position]}"

    def sources(self) -> np.ndarray:
        """A number for every file, made of its place and name: ``int64``, shape ``(N,)``; equal in every listing."""
        digests = b"".join(blake2b(f"{self.place}/{name}".encode(), digest_size=8).digest() for name in self.names)
        return np.frombuffer(digests, "<i8").astype(np.int64)


def read_tree(folder: Path, inside: str, labels: Mapping[str, int], place: str = "") -> Listing:
    """Lists a tree of class folders: every image below ``folder/inside/<class>``, sorted by class and name.

    Args:
        folder: Where the names start.
        inside: The tree's folder below it, ``/`` between folders; empty for ``folder`` itself.
        labels: Names of class folders to labels. A class may have no folder; other folders are left out.
        place: See :class:`Listing`.

    Raises:
        DataError: If the tree's folder does not exist.
    """
    tree = folder / inside
    if not tree.is_dir():
        raise DataError(f"there is no folder {tree}")
    names: list[str] = []
    counts = []
    for name in sorted(labels):
        before = len(names)
        if (tree / name).is_dir():
            names += sorted(_images(str(tree / name), f"{inside}/{name}" if inside else name))
        counts.append(len(names) - before)
    values = np.array([labels[name] for name in sorted(labels)], np.int64)
    return Listing(folder, names, np.repeat(values, counts), place=place)


def class_folders(tree: Path) -> list[str]:
    """Names of the folders in a tree, sorted; hidden ones are left out.

    Raises:
        DataError: If the tree's folder does not exist.
    """
    if not tree.is_dir():
        raise DataError(f"there is no folder {tree}")
    with os.scandir(tree) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def read_list(file: Path, folder: Path, classes: int) -> Listing:
    """Reads a publisher's list: a file's name and its label a line; empty lines are left out.

    Args:
        file: The list.
        folder: Where the names start.
        classes: Number of classes.

    Raises:
        DataError: If the list is absent, empty, or a line is of another form or has a label out of range.
    """
    if not file.is_file():
        raise DataError(f"there is no list {file}")
    names, labels, lines = [], [], []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip():
            continue
        # From the right, since a file's name may hold spaces.
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal():
            raise DataError(f"{file} line {number} must be a file's name and its label, got {line.strip()!r}")
        names.append(name.strip())
        labels.append(int(label))
        lines.append(number)
    if not names:
        raise DataError(f"the list {file} is empty; get it again")
    found = Listing(folder, names, np.array(labels, np.int64), str(file), np.array(lines, np.int64))
    require_labels(found, classes)
    require_inside(found)
    return found


def require_labels(listing: Listing, classes: int) -> None:
    """Refuses labels that are no class.

    Raises:
        DataError: Naming the first such entry, and how many there are.
    """
    wrong = np.flatnonzero((listing.labels < 0) | (listing.labels >= classes))
    if len(wrong):
        raise DataError(
            f"labels must lie in 0..{classes - 1}, got {listing.labels[wrong[0]]} at {listing.where(int(wrong[0]))}"
            f"{_more(len(wrong))}"
        )


def require_inside(listing: Listing) -> None:
    """Refuses names that lead out of the folder.

    Raises:
        DataError: Naming the first such entry, and how many there are.
    """
    wrong = [number for number, name in enumerate(listing.names) if name.startswith("/") or ".." in name.split("/")]
    if wrong:
        raise DataError(f"names must lie below {listing.folder}, got {listing.where(wrong[0])}{_more(len(wrong))}")


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _images(folder: str, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                yield f"{prefix}/{entry.name}"
            elif entry.is_dir():
                yield from _images(entry.path, f"{prefix}/{entry.name}")
