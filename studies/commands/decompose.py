"""`gmixout study decompose`: bias, variance, covariance of every setting, as CSV. Needs no torch."""

from pathlib import Path

from rich.console import Console

from analysis.decomposition import LOSSES
from analysis.printing import to_csv
from analysis.records import read
from studies.decomposed import OOD, decomposed
from studies.opened import Opened
from studies.store import ResultsError

FILE = "decomposition.csv"


def decompose(opened: Opened, out: Path | None, over: str, console: Console) -> None:
    """Writes the table and says what it holds.

    Raises:
        ResultsError: If no finished cell kept members.
    """
    cells = [cell for cell in opened.stored_cells if not cell.is_ingredient]
    table = decomposed(opened.store, cells, over)
    if table.empty:
        raise ResultsError(
            f"no finished cell of {opened.study.name} kept members; set evaluation: {{members: 4}} and run it first"
        )
    path = out if out is not None else opened.store.root / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    to_csv(table, path, read(opened.store.root).fingerprint())
    settings = table["cells"].nunique()
    few = table.loc[table["runs"].lt(3), "cells"].nunique()
    console.print(
        f"{settings} settings with members, {' and '.join(LOSSES)}, on every split and {OOD} (their mean): {path}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if few:
        console.print(f"{few} of them have fewer than three runs: no interval over seeds", highlight=False)
