"""`gmixout report`: a study, or any folder of records, as one HTML page. Needs no torch."""

import shlex
from pathlib import Path

from rich.console import Console

from analysis.plain_names import plainly_named
from analysis.printing import replace_file
from analysis.records import Records, read, read_given
from analysis.report import report as page
from studies.commands.tables import TABLES
from studies.settings import load_study, study_path
from studies.store import ResultsError


def report(
    study: str, results: Path | None, out: Path | None, console: Console, column_map: Path | None = None
) -> Path:
    """Writes the page and tells where it is.

    Args:
        study: Name of a preset, path of a YAML file, or a folder of records; with a column map, a foreign table.
        results: The study's results folder; by default ``results/<name of the study>``.
        out: The file; by default ``report.html`` in the results folder, or beside a folder of records.
        console: Where to say it.
        column_map: File that says what the table's columns are.

    Returns:
        The file.

    Raises:
        StudyError: If there is neither such a study nor such a folder.
        ResultsError: If the study has no results yet.
        ValueError: If the records cannot be read, or hold no cell.
    """
    arguments = [study, *(["--results", str(results)] if results else []), *(["--out", str(out)] if out else [])]
    arguments += ["--map", str(column_map)] if column_map else []
    command = f"gmixout report {shlex.join(arguments)}"
    if column_map is not None:
        records, settings, title = read_given(study, column_map), "", Path(study).name
        target = out or Path(study).with_name("report.html")
    elif Path(study).is_dir():
        records, settings, title = read(study), "", str(Path(study))
        is_records = (Path(study) / "cells.parquet").is_file()
        target = out or (Path(study).parent if is_records else Path(study)) / "report.html"
    else:
        records, settings, title, folder = _of_study(study, results)
        target = out or folder / "report.html"
    named = plainly_named(records)
    tables = {name: printed(frame) for name, (compute, printed) in TABLES.items()
              if not (frame := compute(named)).empty}  # fmt: skip
    with console.status("drawing") as status:

        def say(name: str, done: int, total: int) -> None:
            status.update(f"drawing {name} ({done} of {total})")

        text = page(records, title, tables, settings, command, progress=say)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))
    console.print(f"report: {target} ({len(text) / 2**20:.1f} MiB)", highlight=False, soft_wrap=True, markup=False)
    return target


def _of_study(name: str, results: Path | None) -> tuple[Records, str, str, Path]:
    study = load_study(name)
    folder = results if results is not None else Path("results") / study.name
    if not folder.is_dir():
        raise ResultsError(f"no results of {study.name} in {folder}; run it first: gmixout study run {name}")
    # A finished study's records hold its own cells alone; a folder of cells may hold others'.
    records = read(folder / "records" if (folder / "records" / "cells.parquet").is_file() else folder)
    return records, study_path(name).read_text(encoding="utf-8"), f"Study {study.name}", folder
