"""Stores from several machines joined by the cells' hashes: what is equal is kept once, what differs is told."""

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from analysis.records import read
from studies.atomic import write_atomically
from studies.compared import differences, largest
from studies.lease import Leased
from studies.settings import CellSettings
from studies.store import DONE, FAILED, SETTINGS, CellFolder, ResultsError, State, Store

ANSWERS = ("logits.safetensors", "members.safetensors", "weights.sha256")
"""Files that two runs of a cell on machines that compute alike have equal, bit for bit; times and memory are not."""

Keep = Literal["ours", "theirs"]


class Fate(StrEnum):
    """What became of one cell of another store."""

    TAKEN = "taken"
    FAILURE_TAKEN = "failure taken"
    KNOWN = "known"
    KEPT = "ours kept"
    REPLACED = "theirs taken"
    CONFLICT = "conflict"
    REFUSED = "refused"
    BUSY = "running here"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Merged:
    """One cell of another store.

    Attributes:
        cell: Its identity.
        source: The other store's folder.
        fate: What became of it.
        why: More words for people; empty where there are none.
    """

    cell: str
    source: Path
    fate: Fate
    why: str = ""


def merge(into: Store, sources: list[Store], keep: Keep | None = None) -> list[Merged]:
    """Copies every finished cell, and every failure of a cell that has no result here, from other stores.

    A folder is taken only if it is whole: its marker's hashes hold, and its settings have the hash that it is named
    by. Nothing else in it is copied, so a store from a stranger writes nothing but the files of its cells' results.
    Each cell is copied under its lease and marked done last: a merge that is killed is simply merged again.

    Args:
        into: Where cells go; made if need be.
        sources: Where they come from; not changed.
        keep: Which of two results stays where a cell has different ones; None keeps ours and tells.

    Returns:
        What became of every cell, source after source.

    Raises:
        ResultsError: If a source is not a results folder, or is the one merged into.
    """
    for source in sources:
        if not source.cells.is_dir():
            raise ResultsError(f"a store has a folder named cells, {source.root} has none; give a results folder")
        if source.root.resolve() == into.root.resolve():
            raise ResultsError(f"{into.root} cannot be merged into itself; name other results folders")
    into.open()
    return [
        Merged(identity, source.root, *_join(into.cell(identity), source.cell(identity), keep))
        for source in sources
        for identity in source.identities()
    ]


def _join(ours: CellFolder, theirs: CellFolder, keep: Keep | None) -> tuple[Fate, str]:
    if wrong := _fault(theirs):
        return Fate.REFUSED, wrong
    state = theirs.state()
    if state not in (State.DONE, State.FAILED):
        return Fate.UNFINISHED, ""
    try:
        with ours.lease():
            if state is State.FAILED:
                # Whatever was begun or reached here is worth more than a failure elsewhere.
                if (ours.path / SETTINGS).exists():
                    return Fate.KNOWN, ""
                _copy(theirs, ours, [SETTINGS, "cells.parquet"], FAILED)
                return Fate.FAILURE_TAKEN, ""
            if not ours.is_done:
                _copy(theirs, ours, _files(theirs), DONE)
                return Fate.TAKEN, ""
            differing = differing_answers(ours, theirs)
            if not differing:
                return Fate.KNOWN, ""
            how = f"{', '.join(differing)} differ; {largest(differences(read(ours.path), read(theirs.path)))}"
            if keep == "theirs":
                (ours.path / DONE).unlink()
                _copy(theirs, ours, _files(theirs), DONE)
                return Fate.REPLACED, how
            return (Fate.CONFLICT if keep is None else Fate.KEPT), how
    except Leased as busy:
        return Fate.BUSY, str(busy)


def differing_answers(one: CellFolder, other: CellFolder) -> list[str]:
    """Which of ``ANSWERS`` two finished folders of a cell do not have equal, bit for bit."""
    return [name for name in ANSWERS if _files(one).get(name) != _files(other).get(name)]


def _fault(folder: CellFolder) -> str | None:
    if not re.fullmatch(r"[0-9a-f]{16}", folder.identity):
        return "its folder is not named by a cell's hash"
    try:
        _inside(folder)
        if not (folder.path / SETTINGS).exists():
            return None
        cell = CellSettings.from_canonical((folder.path / SETTINGS).read_text())
        if cell.identity != folder.identity:
            return f"its settings have the hash {cell.identity}"
        folder.failure()
    except (OSError, ValueError, ResultsError) as error:
        return " ".join(str(error).split())
    return folder.problem()


def _inside(folder: CellFolder) -> None:
    if not folder.is_done:
        return
    for name in _files(folder):
        path = folder.path / name
        if Path(name).name != name or path.is_symlink():
            raise ResultsError(f"its {DONE} marker names {name!r}, which is no file of its folder")


def _files(folder: CellFolder) -> dict[str, str]:
    try:
        return dict(json.loads((folder.path / DONE).read_text())["files"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ResultsError(f"{folder.path / DONE} cannot be read ({error}); remove the folder {folder.path}") from error


def _copy(theirs: CellFolder, ours: CellFolder, names: Iterable[str], marker: str) -> None:
    for name in [*names, marker]:
        if (theirs.path / name).is_file():
            with open(theirs.path / name, "rb") as source:
                write_atomically(ours.path / name, lambda target, source=source: shutil.copyfileobj(source, target))  # type: ignore[misc]
    if marker == DONE:
        (ours.path / FAILED).unlink(missing_ok=True)
