"""`gmixout study show`: one cell's settings and numbers, or a study's summary. Needs no torch."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from analysis.records import Records, read
from studies.commands.summary import plain, print_summary, summary_json
from studies.failures import Failure
from studies.settings import CellSettings, StudyError, load_study, preset_names
from studies.store import ResultsError, Store

T = TypeVar("T")
NO_PRESET = "a study of your own, gmixout study run FILE; no preset has this cell"


def show(name: str, results: Path | None, console: Console, is_json: bool) -> None:
    """Shows a cell where the name is the beginning of an identity, else a study.

    Raises:
        StudyError: If there is neither such a study nor such a cell.
        ResultsError: If the beginning fits several cells, or the study has no results.
    """
    if name not in preset_names() and not Path(name).is_file() and re.fullmatch(r"[0-9a-f]{4,16}", name):
        show_cell(name, results, console, is_json)
    else:
        show_study(name, results, console, is_json)


def show_study(name: str, results: Path | None, console: Console, is_json: bool) -> None:
    """Prints the study's summary from its finished cells."""
    records = read_results(name, results)
    if is_json:
        typer.echo(summary_json(records))
    else:
        print_summary(records, console)


def read_results(name: str, results: Path | None) -> Records:
    """The records of a study's finished and failed cells.

    Raises:
        ResultsError: If the study has no results.
    """
    study = load_study(name)
    folder = results if results is not None else Path("results") / study.name
    if not folder.is_dir():
        raise ResultsError(f"no results of {study.name} in {folder}; run it first: gmixout study run {name}")
    return read(folder)


def show_cell(start: str, results: Path | None, console: Console, is_json: bool) -> None:
    """Prints a cell's settings, its fate, its numbers by split, and the command that makes it.

    Cells are looked for in results folders and, where ``results`` is one, in a folder of records.
    """
    found = _found(start, results)
    if is_json:
        rows = found.records.metrics.drop(columns="cell").to_dict("records")
        numbers = [{str(key): plain(value) for key, value in row.items()} for row in rows]
        facts = {
            "cell": found.identity,
            "state": found.state,
            "failure": found.failure.kind if found.failure else None,
            "command": made_by(found.settings),
            "settings": found.settings,
            "metrics": numbers,
        }
        typer.echo(json.dumps(facts, indent=1))
        return
    console.print(f"cell {found.identity}: {found.state}", highlight=False)
    console.print_json(json.dumps(found.settings))
    if found.failure is not None:
        failure = found.failure
        console.print(f"{failure.kind} after {failure.attempts} attempts: {failure.message}", highlight=False)
    if len(found.records.cells):
        console.print(_numbers(found.records))
    command = made_by(found.settings)
    console.print(f"made by: {command or NO_PRESET}", highlight=False, soft_wrap=True)


def made_by(settings: dict[str, Any]) -> str:
    """The command that makes a cell, of the first preset that has it; empty if none has.

    Args:
        settings: The cell's settings, as stored.
    """
    try:
        cell = CellSettings.from_canonical(json.dumps(settings))
    except ValueError:
        # A cell of another version of the suite.
        return ""
    for name in preset_names():
        study = load_study(name)
        if study.benchmark == cell.benchmark and cell.identity in {one.identity for one in study.cells(cell.manifest)}:
            return f"gmixout study run {name}"
    return ""


@dataclass(frozen=True)
class _Found:
    identity: str
    state: str
    settings: dict[str, Any]
    records: Records
    failure: Failure | None = None


def _found(start: str, results: Path | None) -> _Found:
    folders = [results] if results is not None else sorted(Path("results").glob("*"))
    if results is not None and (results / "cells.parquet").is_file():
        records = read(results)
        names = sorted(name for name in records.cells["cell"] if name.startswith(start))
        name = _only(start, names, names, folders)
        ours = records.keep([name])
        row = ours.cells.iloc[0]
        return _Found(name, str(row["status"]), json.loads(row["settings"]), ours)
    cells = [Store(folder).cell(identity) for folder in folders for identity in Store(folder).matching(start)]
    cell = _only(start, cells, [str(cell.path) for cell in cells], folders)
    settings = json.loads((cell.path / "settings.json").read_text())
    return _Found(cell.identity, cell.state().value, settings, read(cell.path) if cell.is_done else Records.empty(),
                  cell.failure())  # fmt: skip


def _only(start: str, found: Sequence[T], names: Sequence[str], folders: Sequence[Path]) -> T:
    if not found:
        raise StudyError(f"no cell begins with {start} in {', '.join(map(str, folders)) or 'results'}; see --results")
    if len(found) > 1:
        raise ResultsError(f"{start} fits {len(found)} cells: {', '.join(names[:5])}")
    return found[0]


def _numbers(records: Records) -> Table:
    metrics = records.metrics[records.metrics["weights"].eq("reported")]
    # Bins are for the reliability figure, corruptions for theirs: here they would bury what is looked for.
    is_detail = metrics["split"].str.startswith("corruption/") | metrics["metric"].str.startswith("bin_")
    rows = metrics[~is_detail]
    of_weights = rows[rows["split"].eq("")]
    wide = rows[rows["split"].ne("")].pivot_table(index="metric", columns="split", values="value", sort=False)
    table = Table(title="reported weights, fractions", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.caption = "; ".join(f"{name} {value:.4g}" for name, value in zip(of_weights["metric"], of_weights["value"]))
    table.add_column("metric", no_wrap=True)
    for split in wide.columns:
        width = 5 if "/" in str(split) else len(str(split))
        table.add_column(str(split), justify="right", overflow="fold", min_width=width, max_width=width)
    for metric, values in wide.iterrows():
        table.add_row(str(metric), *("" if value != value else f"{value:.3f}" for value in values))
    return table
