"""`gmixout study importances`: which settings matter, by fANOVA and by analysis of variance, each with its warning."""

import json

import pandas as pd
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from analysis import theme
from analysis.records import Records
from studies.commands.saying import say
from studies.commands.summary import plain
from studies.importances import ANOVA_WARNING, FANOVA_WARNING, FEWEST, importances


def show(records: Records, console: Console, is_json: bool) -> None:
    """Prints both measures side by side."""
    found = importances(records)
    if is_json:
        rows = [{str(name): plain(value) for name, value in row.items()} for row in found.to_dict("records")]
        warnings = {"fanova": FANOVA_WARNING, "anova": ANOVA_WARNING}
        typer.echo(json.dumps({"importances": rows, "warnings": warnings}, indent=1))
        return
    if found.empty:
        say(console, f"no method of these records differs in two settings over {FEWEST} cells: nothing to compare")
        return
    for key, group in found.groupby(["benchmark", "backbone", "method", "response"], sort=False):
        console.print(_table(tuple(map(str, key)), group))
    say(console, FANOVA_WARNING)
    say(console, ANOVA_WARNING)


def _table(key: tuple[str, ...], rows: pd.DataFrame) -> Table:
    benchmark, backbone, method, response = key
    title = f"{theme.look(method).label}, {response}, {benchmark} {backbone}: {rows['cells'].iloc[0]} cells"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("setting", no_wrap=True)
    for name in ("fANOVA", "ANOVA, partial ω²", "F", "p"):
        table.add_column(name, justify="right")
    for row in rows.to_dict("records"):
        numbers = (row["partial_omega_squared"], row["f"], row["p_value"])
        said = ("–" if pd.isna(value) else f"{value:.3g}" for value in numbers)
        table.add_row(str(row["setting"]), f"{row['fanova']:.2f}", *said)
    return table
