"""`gmixout figures`: all figures from stored records. Needs no torch."""

from pathlib import Path

from rich.console import Console

from analysis.figures.render import Drawn, draw_all
from analysis.records import read


def draw(records: Path, out: Path) -> list[Drawn]:
    """Draws every figure that the records have data for.

    Args:
        records: A folder of records, or a results folder.
        out: Folder for PNG, SVG and CSV; made if need be.

    Returns:
        What became of each figure.

    Raises:
        ValueError: If the records cannot be read.
    """
    return draw_all(read(records), out)


def figures(records: Path, out: Path, console: Console) -> None:
    """Draws every figure and tells what became of it."""
    for drawn in draw(records, out):
        words = f"skipped: {drawn.skipped}" if drawn.skipped else ", ".join(str(path) for path in drawn.files)
        console.print(f"{drawn.name}: {words}", highlight=False, soft_wrap=True, markup=False)
