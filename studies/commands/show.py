"""`gmixout study show`: one cell's settings and numbers, or a study's summary. Needs no torch."""

import json
import re
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from analysis.records import Records, read
from studies.commands.summary import plain, print_summary, summary_json
from studies.settings import StudyError, load_study, preset_names
from studies.store import ResultsError, Store


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
    study = load_study(name)
    folder = results if results is not None else Path("results") / study.name
    if not folder.is_dir():
        raise ResultsError(f"no results of {study.name} in {folder}; run it first: gmixout study run {name}")
    records = read(folder)
    if is_json:
        typer.echo(summary_json(records))
    else:
        print_summary(records, console)


def show_cell(start: str, results: Path | None, console: Console, is_json: bool) -> None:
    """Prints a cell's settings, its fate, and its numbers by split."""
    folders = [results] if results is not None else sorted(Path("results").glob("*"))
    found = [Store(folder).cell(identity) for folder in folders for identity in Store(folder).matching(start)]
    if not found:
        raise StudyError(f"no cell begins with {start} in {', '.join(map(str, folders)) or 'results'}; see --results")
    if len(found) > 1:
        raise ResultsError(f"{start} fits {len(found)} cells: {', '.join(str(cell.path) for cell in found[:5])}")
    cell = found[0]
    failure = cell.failure()
    settings = json.loads((cell.path / "settings.json").read_text())
    records = read(cell.path) if cell.is_done else Records.empty()
    if is_json:
        rows = records.metrics.drop(columns="cell").to_dict("records")
        numbers = [{str(key): plain(value) for key, value in row.items()} for row in rows]
        kind = failure.kind if failure else None
        facts = {
            "cell": cell.identity,
            "state": cell.state().value,
            "failure": kind,
            "settings": settings,
            "metrics": numbers,
        }
        typer.echo(json.dumps(facts, indent=1))
        return
    console.print(f"cell {cell.identity}: {cell.state().value}", highlight=False)
    console.print_json(json.dumps(settings))
    if failure is not None:
        console.print(f"{failure.kind} after {failure.attempts} attempts: {failure.message}", highlight=False)
    if cell.is_done:
        console.print(_numbers(records))


def _numbers(records: Records) -> Table:
    metrics = records.metrics[records.metrics["weights"].eq("reported")]
    rows = metrics[~metrics["split"].str.startswith("corruption/")]
    wide = rows.pivot_table(index="split", columns="metric", values="value", sort=False)
    table = Table(title="reported weights, fractions")
    table.add_column("split")
    for metric in wide.columns:
        table.add_column(str(metric), justify="right")
    for split, values in wide.iterrows():
        table.add_row(str(split) or "(weights)", *("" if value != value else f"{value:.4f}" for value in values))
    return table
