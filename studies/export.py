"""A study in one file: its settings, records, figures, tables and versions, and the logits on request."""

import json
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import IO, Any

from analysis.records import read, write
from studies import provenance
from studies.atomic import file_hash, write_atomically
from studies.drawn import drawn
from studies.opened import Opened
from studies.settings import CellSettings
from studies.store import DONE, SETTINGS, ResultsError

FORMAT = 1
CONTENTS = "contents.json"
ARRAYS = ("logits.safetensors", "members.safetensors")
# A fixed date, so that the same results make the same file bit for bit.
_DATE = (1980, 1, 1, 0, 0, 0)


def export(opened: Opened, file: Path, has_logits: bool = False, has_figures: bool = True) -> dict[str, Any]:
    """Writes a study's finished and failed cells as one zip file; the same results give the same bytes.

    It holds ``study.yaml`` as it was written, ``records/``, ``figures/``, ``tables/``, with logits ``cells/<hash>/``,
    and ``contents.json``: counts, the records' fingerprint, versions, and every file's SHA-256. Files that a study
    names (users' own methods and images) are not in it; cells and manifests keep their hashes.

    Args:
        opened: The study and its results folder.
        file: Where the zip file ends up; an older one is replaced once the new one is whole.
        has_logits: Whether the logits of every finished cell are in it: by far the largest part.
        has_figures: Whether figures are in it; they are drawn anew unless those there are of these very records.

    Returns:
        What ``contents.json`` holds.

    Raises:
        ResultsError: If there is nothing to export, or a finished cell is damaged.
    """
    cells = opened.stored_cells
    opened.store.check(cell.identity for cell in cells)
    states = Counter(state.value for state in opened.states(cells).values())
    if not states["done"] + states["failed"]:
        raise ResultsError(
            f"no cell of {opened.study.name} in {opened.store.root} has a result to export; run it first: "
            f"gmixout study run {opened.arguments}"
        )
    with tempfile.TemporaryDirectory() as folder:
        fingerprint = _records(opened, Path(folder), has_figures)
        paths = {str(path.relative_to(folder)): path for path in Path(folder).rglob("*") if path.is_file()}
        paths["study.yaml"] = opened.path
        if has_logits:
            paths |= _logits(opened, cells)
        contents = {
            "format": FORMAT,
            "study": opened.study.name,
            "cells": dict(states),
            "records_sha256": fingerprint,
            "code_version": provenance.code_version(),
            "library_versions": json.loads(provenance.library_versions()),
            "files": {name: file_hash(paths[name]) for name in sorted(paths)},
        }
        write_atomically(file, lambda target: _zip(target, contents, paths))
    return contents


def _records(opened: Opened, folder: Path, has_figures: bool) -> str:
    from studies.commands.figures import draw
    from studies.commands.tables import write_tables

    records = read(opened.store.root).keep(cell.identity for cell in opened.stored_cells)
    fingerprint = write(records, folder / "records")
    root = opened.store.root
    drawn(root / "tables", fingerprint, folder / "tables", lambda out: write_tables(records, out))
    if has_figures:
        drawn(root / "figures", fingerprint, folder / "figures", lambda out: draw(folder / "records", out))
    return fingerprint


def _logits(opened: Opened, cells: tuple[CellSettings, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for cell in cells:
        folder = opened.folder(cell)
        if folder.is_done:
            names = (SETTINGS, DONE, *(name for name in ARRAYS if (folder.path / name).exists()))
            found |= {f"cells/{cell.identity}/{name}": folder.path / name for name in names}
    return found


def _zip(target: IO[bytes], contents: dict[str, Any], paths: dict[str, Path]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as whole:
        whole.writestr(_entry(CONTENTS), json.dumps(contents, indent=1) + "\n")
        for name in sorted(paths):
            with open(paths[name], "rb") as source, whole.open(_entry(name), "w") as entry:
                while part := source.read(2**20):
                    entry.write(part)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry
