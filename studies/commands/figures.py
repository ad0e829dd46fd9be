"""`gmixout figures`: all figures from stored records, or a check of stored ones. Needs no torch."""

from pathlib import Path

from rich.console import Console

from analysis.figures.check import Checked, check_all
from analysis.figures.render import Drawn, draw_all
from analysis.records import read_given


def draw(records: Path, out: Path, column_map: Path | None = None) -> list[Drawn]:
    """Draws every figure that the records have data for.

    Args:
        records: A folder of records, or a results folder; with a column map, a foreign table.
        out: Folder for PNG, SVG, CSV and captions; made if need be.
        column_map: File that says what the table's columns are.

    Returns:
        What became of each figure.

    Raises:
        ValueError: If the records cannot be read.
    """
    return draw_all(read_given(records, column_map), out)


def figures(records: Path, out: Path, console: Console, column_map: Path | None = None) -> None:
    """Draws every figure and tells what became of it."""
    for drawn in draw(records, out, column_map):
        words = f"skipped: {drawn.skipped}" if drawn.skipped else ", ".join(str(path) for path in drawn.files)
        _say(console, f"{drawn.name}: {words}")


def check(records: Path, out: Path, console: Console, column_map: Path | None = None) -> int:
    """Compares stored figures with the records and tells what differs; returns the exit code, 1 if something does."""
    found = check_all(read_given(records, column_map), out)
    for one in found:
        for line in one.problems:
            _say(console, f"{one.name}: {line}")
        if not one.problems:
            _say(console, f"{one.name}: {f'not compared: {one.note}' if one.note else 'as the records say'}")
    differing = [one for one in found if one.problems]
    _say(console, _verdict(found, differing, records, out))
    return 1 if differing else 0


def _verdict(found: list[Checked], differing: list[Checked], records: Path, out: Path) -> str:
    compared = sum(not one.note for one in found)
    if not differing:
        return f"{compared} figures in {out} are what the records say"
    names = ", ".join(one.name for one in differing)
    return f"{len(differing)} of {compared} figures differ ({names}); redraw: gmixout figures {records} --out {out}"


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)
