"""`gmixout tables`: every table from stored records, as Markdown, LaTeX and CSV. Needs no torch."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from rich.console import Console

from analysis.across import across_benchmarks, printed_across
from analysis.comparisons import compare
from analysis.granularity import granularities, printed_granularities
from analysis.interactions import lever_interactions, printed_interactions
from analysis.latex import to_latex
from analysis.levers import lever_effects
from analysis.one_run import ensembles, printed_ensembles
from analysis.overview import overview
from analysis.plain_names import plainly_named, shared_words
from analysis.printing import (
    printed_comparisons,
    printed_costs,
    printed_effects,
    printed_implicit_ensembles,
    printed_summary,
    replace_file,
    to_csv,
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
    "interactions": (lever_interactions, printed_interactions),
    "across_benchmarks": (across_benchmarks, printed_across),
    "granularities": (granularities, printed_granularities),
    "ensembles": (ensembles, printed_ensembles),
}
"""What is computed, and how it is printed."""

_BOOTSTRAP = "over runs and test images where right answers were kept, else Student's t over runs"
NOTES: Mapping[str, str] = {
    "methods": f"Each method at the choice of ID validation. Brackets: 95 % interval, bootstrap {_BOOTSTRAP}. Seeds "
    "that are missing or diverged are told beside those that are there.",
    "comparisons": f"Paired by seed, each method at the choice of ID validation. Brackets: 95 % interval, bootstrap "
    f"{_BOOTSTRAP}. *: significant at .05 after Holm's correction over all methods and scores against one reference "
    "(paired t-test over runs).",
    "implicit_ensembles": "Brackets: 95 % interval, Student's t over seeds, not corrected for the number of tests.",
    "levers": "All else equal, the learning rate included. Brackets: 95 % interval, bootstrap over runs and settings. "
    "*: it excludes zero, uncorrected. †: significant at .05 after Holm's correction over all levers and responses "
    "(paired t-test over runs).",
    "interactions": "How much the effect of the first lever changes when the second moves, all else equal. Brackets: "
    "95 % interval, Student's t over runs. *: significant at .05 after Holm's correction over all pairs and responses.",
    "across_benchmarks": "Mixed model, the benchmark and each effect's difference between benchmarks random. Brackets: "
    "95 % interval, Student's t over benchmarks. *: significant at .05 after Holm's correction over all effects.",
    "granularities": "Paired at equal seeds, learning rates and settings. Brackets: 95 % interval, Student's t over "
    "seeds. *: significant at .05 after Holm's correction. Kept: a loss of a point or more is rejected at .05 after "
    "Holm's correction. Ratios are to masks of single entries.",
    "ensembles": "Each side minus the mean probability of one GMixout run's members, paired by seed; training is "
    "relative to that run's. Brackets: 95 % interval, Student's t over seeds. *: significant at .05 after Holm's "
    "correction over all sides whose training is equal.",
}
"""What a table's brackets and marks mean; the overview stands in texts that say it."""


def write_tables(records: Records, out: Path) -> list[Path]:
    """Writes every table that the records have rows for: ``NAME.md``, ``NAME.tex``, and ``NAME.csv`` in full precision.

    Methods are named without what all training adds; the note under a table tells what that is.

    Args:
        records: Any records.
        out: Folder; made if need be.

    Returns:
        The files.
    """
    out.mkdir(parents=True, exist_ok=True)
    fingerprint, shared = records.fingerprint(), shared_words(records)
    named = plainly_named(records)
    written = []
    for name, (compute, printed) in TABLES.items():
        frame = compute(named)
        if frame.empty:
            continue
        text, note = printed(frame), " ".join(one for one in (NOTES.get(name, ""), shared) if one)
        for path, content in (
            (out / f"{name}.md", to_markdown(text, note)),
            (out / f"{name}.tex", to_latex(text, note)),
        ):
            replace_file(path, lambda temporary, content=content: temporary.write_text(content, encoding="utf-8"))  # type: ignore[misc]
            written.append(path)
        to_csv(frame, out / f"{name}.csv", fingerprint)
        written.append(out / f"{name}.csv")
    return written


def tables(records: Path, out: Path, console: Console, column_map: Path | None = None) -> None:
    """Writes every table and names the files."""
    for path in write_tables(read_given(records, column_map), out):
        console.print(str(path), highlight=False, soft_wrap=True, markup=False)
