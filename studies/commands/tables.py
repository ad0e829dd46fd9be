"""`gmixout tables`: every table from stored records, as Markdown, LaTeX and CSV. Needs no torch."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from rich.console import Console

from analysis.comparisons import compare
from analysis.granularity import granularities, printed_granularities
from analysis.levers import lever_effects
from analysis.one_run import ensembles, printed_ensembles
from analysis.overview import overview
from analysis.printing import (
    printed_comparisons,
    printed_costs,
    printed_effects,
    printed_implicit_ensembles,
    printed_summary,
    replace_file,
    to_csv,
    to_latex,
    to_markdown,
)
from analysis.records import Records, read_given
from analysis.tables import costs, implicit_ensembles, summary

Printed = Callable[[pd.DataFrame], pd.DataFrame]


def _overview(records: Records) -> pd.DataFrame:
    # It is of one place; records of several have the other tables.
    is_one = len(records.cells[["benchmark", "backbone"]].drop_duplicates()) == 1
    return overview(records) if is_one else pd.DataFrame()


TABLES: Mapping[str, tuple[Callable[[Records], pd.DataFrame], Printed]] = {
    "overview": (_overview, lambda frame: frame),
    "methods": (summary, printed_summary),
    "comparisons": (lambda records: compare(records, weights=("reported", "wise")), printed_comparisons),
    "costs": (costs, printed_costs),
    "implicit_ensembles": (implicit_ensembles, printed_implicit_ensembles),
    "levers": (lever_effects, printed_effects),
    "granularity": (granularities, printed_granularities),
    "one_run": (ensembles, printed_ensembles),
}
"""What is computed, and how it is printed."""


def write_tables(records: Records, out: Path) -> list[Path]:
    """Writes every table that the records have rows for: ``NAME.md``, ``NAME.tex``, and ``NAME.csv`` in full precision.

    Args:
        records: Any records.
        out: Folder; made if need be.

    Returns:
        The files.
    """
    out.mkdir(parents=True, exist_ok=True)
    fingerprint = records.fingerprint()
    written = []
    for name, (compute, printed) in TABLES.items():
        frame = compute(records)
        if frame.empty:
            continue
        text = printed(frame)
        for path, content in ((out / f"{name}.md", to_markdown(text)), (out / f"{name}.tex", to_latex(text))):
            replace_file(path, lambda temporary, content=content: temporary.write_text(content, encoding="utf-8"))  # type: ignore[misc]
            written.append(path)
        to_csv(frame, out / f"{name}.csv", fingerprint)
        written.append(out / f"{name}.csv")
    return written


def tables(records: Path, out: Path, console: Console, column_map: Path | None = None) -> None:
    """Writes every table and names the files."""
    for path in write_tables(read_given(records, column_map), out):
        console.print(str(path), highlight=False, soft_wrap=True, markup=False)
