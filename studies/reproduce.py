"""One cell run again from what is stored of it, and the two results compared."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.records import Records, read
from studies import provenance
from studies.compared import differences
from studies.engine import Engine
from studies.merge import differing_answers
from studies.messages import Moving
from studies.settings import CellSettings, StudyError
from studies.store import DONE, CellFolder, ResultsError, Store


@dataclass(frozen=True)
class Stored:
    """A cell of earlier times.

    Attributes:
        cell: Its settings.
        records: Its records.
        folder: Its folder; None where only records are left.
    """

    cell: CellSettings
    records: Records
    folder: CellFolder | None = None


@dataclass(frozen=True)
class Compared:
    """What came of running a cell again.

    Attributes:
        differing_files: Arrays that are not bit-equal; None where only records could be compared.
        numbers: From :func:`studies.compared.differences`: the stored one, then the new.
        versions: What was otherwise then: name to (then, now).
    """

    differing_files: list[str] | None
    numbers: pd.DataFrame
    versions: dict[str, tuple[str, str]]

    @property
    def is_equal(self) -> bool:
        """Whether everything that could be compared is equal."""
        return not self.differing_files and self.numbers.empty


def find_stored(start: str, folders: list[Path]) -> Stored:
    """The finished cell whose identity begins with these characters, in results folders or in folders of records.

    Raises:
        StudyError: If there is none.
        ResultsError: If there are several, or its settings are not those that it is named by.
    """
    found: dict[str, Stored] = {}
    for folder in folders:
        store = Store(folder)
        for identity in store.matching(start):
            own = store.cell(identity)
            if own.is_done:
                found.setdefault(identity, _checked(identity, read(own.path), own))
        if (folder / "cells.parquet").is_file():
            records = read(folder)
            rows = records.cells[records.cells["status"].eq("done")]
            for identity in rows.loc[rows["cell"].str.startswith(start), "cell"]:
                found.setdefault(identity, _checked(identity, records.keep([identity])))
    if not found:
        raise StudyError(f"no finished cell begins with {start} in {', '.join(map(str, folders)) or 'results'}")
    if len(found) > 1:
        raise ResultsError(f"{start} fits {len(found)} cells: {', '.join(sorted(found)[:5])}; give more digits")
    return next(iter(found.values()))


def _checked(identity: str, records: Records, folder: CellFolder | None = None) -> Stored:
    cell = CellSettings.from_canonical(records.cells["settings"].iloc[0])
    if cell.identity != identity:
        raise ResultsError(f"the cell {identity} has settings of the hash {cell.identity}: its record is damaged")
    return Stored(cell, records, folder)


def reproduce(stored: Stored, root: Path, device: str = "cpu") -> Compared:
    """Runs the cell anew in an empty folder and compares; what it was built from is taken as stored.

    Args:
        stored: The cell.
        root: Folder for the new result, made if need be; ``cells/<hash>`` in it must not be finished.
        device: Where to run.

    Raises:
        ResultsError: If the folder holds the cell already, or sources are needed and not there.
    """
    from studies.cell import run_cell

    folder = Store(root).cell(stored.cell.identity)
    if (folder.path / DONE).exists():
        raise ResultsError(f"{folder.path} is finished already; choose another folder with --out")
    _link_sources(stored, folder)
    with folder.lease() as lease:
        # As it was trained then, but in one process: parts of a batch decide the last bits.
        engine = replace(Engine.of(_told(stored.records)), processes=1)
        run_cell(stored.cell, folder, lease, Alone(), device=device, engine=engine)
    records = read(folder.path)
    files = None if stored.folder is None else differing_answers(stored.folder, folder)
    return Compared(files, differences(stored.records, records), _versions(stored.records, device))


class Alone:
    """Nobody follows the cell: a listener that never stops it and says nothing."""

    def should_stop(self) -> bool:
        return False

    def move(self, moving: Moving) -> None:
        return None

    def judge(self, step: int, score: float) -> bool:
        return False


def _link_sources(stored: Stored, folder: CellFolder) -> None:
    folder.path.parent.mkdir(parents=True, exist_ok=True)
    for identity in stored.cell.sources:
        if stored.folder is None:
            raise ResultsError(
                f"{stored.cell.label} is built from {len(stored.cell.sources)} runs, and records alone do not hold "
                "their weights; give the results folder with --results"
            )
        beside = folder.path.parent / identity
        if not beside.exists():
            beside.symlink_to((stored.folder.path.parent / identity).resolve())


def _told(records: Records) -> dict[str, Any]:
    """What the record says of how steps were carried out; nothing in those of old."""
    told: dict[str, Any] = json.loads(records.cells["engine"].iloc[0] or "{}")
    return told


def _versions(records: Records, device: str) -> dict[str, tuple[str, str]]:
    row = records.cells.iloc[0]
    then = {"code": row["code_version"], "device": row["device"], **json.loads(row["library_versions"] or "{}")}
    processes = _told(records).get("processes", 1)
    now = {
        "code": provenance.code_version(),
        "device": provenance.device_name(device),
        **json.loads(provenance.library_versions()),
    }
    if processes != 1:
        then["processes"], now["processes"] = str(processes), "1"
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    return {name: (str(then.get(name, "none")), str(now.get(name, "none"))) for name in names}
