"""The closing tables in the terminal: every method with intervals, what each lever does, OOD at matched ID."""

import json
import math
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from analysis import theme
from analysis.design import level_label
from analysis.frontier import ood_at_matched_id
from analysis.levers import lever_effects
from analysis.metric import ACCURACY, PRINTED, main_metrics
from analysis.plain_names import plainly_named, shared_words
from analysis.records import Records
from analysis.tables import summary

SCORES = {"id_score": "ID", "ood_score": "OOD", "corruption_score": "corruption", "diversity_score": "diversity"}


def print_summary(records: Records, console: Console) -> None:
    """Prints methods, lever effects and OOD at matched ID, in percent, each with its 95 % interval."""
    if not records.cells["status"].eq("done").any():
        console.print("no cell is done yet: nothing to sum up", highlight=False)
        return
    scored = sorted(set(main_metrics(records)) - {ACCURACY})
    if scored:
        names = ", ".join(PRINTED[metric] for metric in scored)
        console.print(f"scores are {names}, the benchmark's own", highlight=False)
    if shared := shared_words(records):
        console.print(shared, highlight=False)
    records = plainly_named(records)
    console.print(methods_table(summary(records)))
    effects = lever_effects(records)
    if len(effects):
        console.print(levers_table(effects))
    matched = matched_rows(records)
    if matched["rates"].gt(1).any():
        console.print(matched_table(matched))


def summary_json(records: Records) -> str:
    """All tables as JSON, fractions; a value that does not exist is null. Methods are named as in the tables."""
    records = plainly_named(records)
    tables = {"methods": summary(records), "levers": lever_effects(records), "matched": matched_rows(records)}
    return json.dumps({name: _rows(frame) for name, frame in tables.items()}, indent=1)


def methods_table(rows: pd.DataFrame) -> Table:
    """One line a method and kind of weights.

    Args:
        rows: From :func:`analysis.tables.summary`.
    """
    table = _table("methods: %, 95 % interval; all choices made on ID validation")
    table.add_column("method", no_wrap=True)
    for printed in SCORES.values():
        table.add_column(printed, justify="right", no_wrap=True)
    has_places = len(rows[["benchmark", "backbone"]].drop_duplicates()) > 1
    for row in rows.to_dict("records"):
        name = theme.look(str(row["method"])).label
        if row["weights"] == "wise":
            name = f"  + WiSE-FT, α = {row['alpha']:.1f}"
        if has_places:
            name = f"{name}, {row['benchmark']} {row['backbone']}"
        rate = "" if pd.isna(row["learning_rate"]) else f"lr {row['learning_rate']:g}, "
        scores = (_percent(row[score], row[f"{score}_low"], row[f"{score}_high"]) for score in SCORES)
        table.add_row(f"{name}{_levers(row)}\n  {rate}{_seeds(row)}", *scores)
    return table


def levers_table(rows: pd.DataFrame) -> Table:
    """One line a lever's contrast; an effect whose interval excludes zero carries a star.

    Args:
        rows: From :func:`analysis.levers.lever_effects`.
    """
    table = _table("levers: effect in points, 95 % interval, * excludes zero")
    table.add_column("lever", no_wrap=True)
    for printed in SCORES.values():
        table.add_column(printed, justify="right", no_wrap=True)
    keys = ["benchmark", "backbone", "lever", "from_level", "to_level"]
    for key, group in rows.groupby(keys, sort=False):
        by_response = group.set_index("response").to_dict("index")
        cells = []
        for score in SCORES:
            found = by_response.get(score)
            if found is None:
                cells.append("")
                continue
            star = "*" if found["excludes_zero"] else ""
            cells.append(_percent(found["effect"], found["low"], found["high"], "+.1f", star))
        table.add_row(f"{key[2]}\n  {key[3]} → {key[4]}", *cells)
    return table


def matched_rows(records: Records) -> pd.DataFrame:
    """OOD against full fine-tuning at the same ID, both ways round: at its ID, and at each method's own."""
    return pd.concat([ood_at_matched_id(records, at=at) for at in ("reference", "method")], ignore_index=True)


def matched_table(rows: pd.DataFrame) -> Table:
    """One line a method: how much more OOD it has than full fine-tuning where both have the same ID.

    Args:
        rows: From :func:`matched_rows`.
    """
    table = _table("OOD at matched ID, minus full fine-tuning: points, Student's 95 % over runs\n"
                   "interpolated along learning rates; describes, selects nothing")  # fmt: skip
    table.add_column("method", no_wrap=True)
    table.add_column("at full's ID", justify="right", no_wrap=True)
    table.add_column("at its own ID", justify="right", no_wrap=True)
    has_places = len(rows[["benchmark", "backbone"]].drop_duplicates()) > 1
    others = rows[rows["method"].ne(theme.plainest(rows["method"], "full"))]
    for key, group in others.groupby(["benchmark", "backbone", "method"], sort=False):
        by_side = group.set_index("at").to_dict("index")
        label = theme.look(str(key[2])).label
        name = f"{label}, {key[0]} {key[1]}" if has_places else label
        table.add_row(name, *(_matched(by_side[side]) for side in ("reference", "method")))
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), min_width=78)


def _percent(value: float, low: float, high: float, form: str = ".1f", mark: str = "") -> str:
    if pd.isna(value):
        return "–"
    # A second line, so that the table fits a terminal of 80 columns.
    interval = "" if pd.isna(low) or pd.isna(high) else f"\n{100 * low:{form}}..{100 * high:{form}}"
    return f"{100 * value:{form}}{mark}{interval}"


def _matched(row: dict[Any, Any]) -> str:
    if row["rates"] < 2:
        return "one learning rate"
    difference = (row["ood_difference"], row["ood_difference_t_low"], row["ood_difference_t_high"])
    diverged = f", {row['diverged']} diverged" if row["diverged"] else ""
    return f"{_percent(*difference, '+.1f')}\n{row['reached']} of {row['runs']} runs reach it{diverged}"


def _levers(row: dict[Any, Any]) -> str:
    """The three levers on a line of their own, where the method has them."""
    if row["weights"] == "wise" or any(pd.isna(row[lever]) for lever in ("anchor", "resample_every", "sparsity")):
        return ""
    return f"\n  {row['anchor']} k={level_label(row['resample_every'])} p={row['sparsity']:g}"


def _seeds(row: dict[Any, Any]) -> str:
    words = f"{row['seeds']:g} seed{'' if row['seeds'] == 1 else 's'}"
    if row["missing"]:
        words += f", {row['missing']:g} missing"
    return words + (f", {row['diverged']:g} diverged" if row["diverged"] else "")


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def plain(value: Any) -> Any:
    """A value as JSON knows it: NaN and missing become null, infinity a string."""
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value
