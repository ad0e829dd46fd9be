"""Levers' effects over several benchmarks at once, each benchmark a random draw of its kind."""

import pandas as pd

from analysis import theme
from analysis.design import grid
from analysis.families import with_family
from analysis.levers import RESPONSES, compared_levers, measured_levers
from analysis.mixed import EFFECT_COLUMNS, mixed_model
from analysis.outcomes import places
from analysis.printing import interval_text
from analysis.records import Records

COLUMNS = ["backbone", "response", *EFFECT_COLUMNS, "group_share", "holm_p_value", "is_significant"]


def across_benchmarks(records: Records, level: float = 0.95) -> pd.DataFrame:
    """A mixed model of each response on the levers that moved on every benchmark (:func:`analysis.mixed.mixed_model`).

    Cells are those of :func:`analysis.levers.lever_cells` at shared learning rates. An interval speaks about another
    benchmark of the kind; with two benchmarks it has one degree of freedom. Holm's family is every effect on every
    response of one backbone.

    Returns:
        Per backbone with GMixout cells on at least two benchmarks, response and level a row: ``COLUMNS``, where
        ``group_share`` is the benchmarks' part of all variance. A response that cannot be modelled has no rows.
    """
    frames = []
    for backbone in sorted(set(records.cells["backbone"])):
        parts = [grid(measured_levers(here)) for here in places(records.where(backbone=backbone))]
        parts = [part[~part["is_shared"]] for part in parts if len(part)]
        if len(parts) < 2:
            continue
        moved = [set(compared_levers(part)) for part in parts]
        levers = [lever for lever in compared_levers(parts[0]) if all(lever in here for here in moved)]
        cells = pd.concat(parts, ignore_index=True)
        for response in RESPONSES:
            try:
                found = mixed_model(cells, response, levers, level=level, has_intervals=False)
            except ValueError:
                continue
            share = float(found.variances.set_index("component")["share"]["benchmark"])
            frames.append(found.effects.assign(backbone=backbone, response=response, group_share=share))
    if not frames:
        return pd.DataFrame(columns=COLUMNS)
    return with_family(pd.concat(frames, ignore_index=True), ["backbone"])[COLUMNS]


def printed_across(frame: pd.DataFrame, digits: int = 2) -> pd.DataFrame:
    """The rows of :func:`across_benchmarks` as text: points, a star where Holm's correction leaves significance."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for row in frame.to_dict("records"):
        change = f"{row['from_level']} → {row['to_level']}"
        text = rows.setdefault(
            (row["backbone"], row["lever"], change),
            {"lever": theme.lever_label(str(row["lever"])), "change": change, "benchmarks": str(row["groups"])},
        )
        star = " *" if row["is_significant"] else ""
        heading = theme.score_label(str(row["response"]), " (points)")
        text[heading] = interval_text(row["effect"], row["low"], row["high"], digits, signed=True) + star
    return pd.DataFrame(list(rows.values())).fillna("—")
