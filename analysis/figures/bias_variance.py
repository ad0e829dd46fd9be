"""Bias, variance, covariance and locality of the ensemble inside a run, stacked along each lever."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch

from analysis import theme
from analysis.design import MAIN_LEVERS, comparable, grid, level_label, ordered_levels, other_levers
from analysis.figures.figure import Figure, needs
from analysis.figures.words import counted
from analysis.intervals import t_interval
from analysis.levers import lever_cells
from analysis.records import Records
from analysis.shifts import shift_scores

PARTS = {
    "bias": ("bias", "#999999"),
    "variance_share": ("variance / M", "#56B4E9"),
    "covariance_share": ("covariance (M − 1) / M", "#0072B2"),
    "locality": ("locality: weight average − ensemble", "#E69F00"),
}
SHIFTS = {"id": "ID", "ood": "OOD"}
COLUMNS = ["shift", "lever", "level", "position", "part", "estimate", "low", "high", "settings", "cells"]


def table(records: Records) -> pd.DataFrame:
    """One row a (shift, lever, level, part): means over settings and shared learning rates of the main design.

    The Brier error of the ensemble of a run's M members is bias + variance / M + covariance (M - 1) / M
    (:func:`analysis.decomposition.decompose`, over runs); ``locality`` is what averaging the members' weights costs
    beyond that, where it was measured. Only settings of the other levers that were run at every level count, so that
    levels differ in nothing else; if there are none, all do. Student's t over settings at 95 %: settings of a level
    differ in the other levers, so intervals are wide.
    """
    cells = grid(lever_cells(records, rates="common"))
    known = _parts(records)
    needs(len(known) > 0, "bias and variance of members over runs",
          "run a study of two seeds or more that keeps members, and close it with gmixout study run")  # fmt: skip
    cells = cells.merge(known, on="cell")
    levers = [lever for lever in MAIN_LEVERS if cells[lever].dropna().nunique() > 1]
    needs(bool(levers), "GMixout cells that differ in a lever", "run a study that sweeps levers")
    rows = []
    for lever in levers:
        here = _complete(comparable(cells, lever), lever)
        for position, level in enumerate(ordered_levels(lever, here[lever])):
            ours = here[(here[lever] == level).fillna(False).to_numpy(dtype=bool)]
            # All runs of a group have its numbers, so one of them speaks for it.
            groups = ours.drop_duplicates(["setting", "learning_rate"])
            behind = tuple(sorted(set(ours["cell"])))
            for shift in SHIFTS:
                for part in PARTS:
                    found = t_interval(groups[f"{shift}_{part}"].dropna())
                    rows.append({"shift": shift, "lever": lever, "level": level_label(level), "position": position,
                                 "part": part, "estimate": found.estimate, "low": found.low, "high": found.high,
                                 "settings": int(groups[f"{shift}_{part}"].notna().sum()),
                                 "cells": behind})  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS).dropna(subset=["estimate"]).reset_index(drop=True)


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws levers across and shifts down; a part below zero hangs below the axis."""
    levers = list(frame["lever"].unique())
    grid = figure.subplots(len(SHIFTS), len(levers), squeeze=False, sharey="row")
    for row, shift in enumerate(SHIFTS):
        for column, lever in enumerate(levers):
            axes = grid[row, column]
            ours = frame[frame["shift"].eq(shift) & frame["lever"].eq(lever)]
            levels = ours.drop_duplicates("position").sort_values("position")
            for position in levels["position"]:
                above = below = 0.0
                for part, (_, color) in PARTS.items():
                    found = ours[ours["position"].eq(position) & ours["part"].eq(part)]["estimate"]
                    if found.empty:
                        continue
                    value = float(found.iloc[0])
                    axes.bar(position, value, bottom=above if value >= 0 else below, color=color, width=0.7,
                             edgecolor="white", linewidth=0.4)  # fmt: skip
                    above, below = above + max(value, 0.0), below + min(value, 0.0)
            axes.axhline(0.0, color="#333333", lw=0.7)
            axes.grid(axis="x", visible=False)
            axes.set_xticks(levels["position"].astype(int), [theme.LEVELS.get(str(v), str(v)) for v in levels["level"]])
            if column == 0:
                axes.set_ylabel(f"{SHIFTS[shift]}: Brier error")
            if row == len(SHIFTS) - 1:
                axes.set_xlabel(theme.lever_label(lever))
    shown = [part for part in PARTS if frame["part"].eq(part).any()]
    handles = [Patch(color=PARTS[part][1], label=PARTS[part][0]) for part in shown]
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    figure.suptitle("Where the error of a run's ensemble comes from, along each lever", x=0.01, ha="left", fontsize=9.5,
                    fontweight="bold")  # fmt: skip
    return list(grid.ravel())


def caption(frame: pd.DataFrame) -> str:
    """What is drawn, with each part at the first and last level of each lever, off ID."""
    spoken = []
    for lever in frame["lever"].unique():
        ours = frame[frame["lever"].eq(lever) & frame["shift"].eq("ood")]
        moves = []
        for part in PARTS:
            line = ours[ours["part"].eq(part)].sort_values("position")
            if len(line) > 1:
                first, last = (float(line["estimate"].iloc[place]) for place in (0, -1))
                moves.append(f"{PARTS[part][0].split(':')[0]} {first:.3f} → {last:.3f}")
        ends = ours.sort_values("position")["level"]
        spoken.append(f"{theme.lever_label(str(lever))} {ends.iloc[0]} → {ends.iloc[-1]}: {', '.join(moves)}")
    return (
        "Brier error of the ensemble of a run's M members, in parts estimated over runs: means over settings of the "
        f"other levers, up to {counted(int(frame['settings'].max()), 'setting')} a level. OOD, {'; '.join(spoken)}. "
        "Bias contains the noise of the labels."
    ).replace(" -", " −")


def _complete(cells: pd.DataFrame, lever: str) -> pd.DataFrame:
    """The settings of the other levers at which every level of this one is there; all rows if there is no such."""
    others = other_levers(cells, lever)
    names = pd.Series([" ".join(level_label(value) for value in key) for key in zip(*(cells[name] for name in others))]
                      if others else [""] * len(cells), index=cells.index)  # fmt: skip
    levels = cells.groupby(names)[lever].nunique()
    is_complete = names.map(levels.eq(cells[lever].dropna().nunique())).to_numpy(dtype=bool)
    return cells[is_complete] if is_complete.any() else cells


def _parts(records: Records) -> pd.DataFrame:
    metrics = records.metrics
    members = metrics[metrics["weights"].eq("member")].groupby("cell")["member"].nunique()
    found: dict[str, pd.DataFrame] = {}
    for term in ("bias", "variance", "ensemble_error"):
        scores = shift_scores(metrics, f"brier_{term}", weights=("members",), kinds=())
        found[term] = scores.set_index("cell")[["id_score", "ood_score"]]
    for weights in ("weight_average", "ensemble"):
        scores = shift_scores(metrics, "brier_error", weights=(weights,), kinds=())
        found[weights] = scores.set_index("cell")[["id_score", "ood_score"]]
    index = found["bias"].index
    share = found["variance"].div(members.reindex(index), axis=0)
    parts = {
        "bias": found["bias"],
        "variance_share": share,
        "covariance_share": found["ensemble_error"] - found["bias"] - share,
        "locality": (found["weight_average"] - found["ensemble"]).reindex(index),
    }
    named = [frame.set_axis([f"id_{name}", f"ood_{name}"], axis=1) for name, frame in parts.items()]
    return pd.concat(named, axis=1).rename_axis("cell").reset_index()


FIGURE = Figure("Bias, variance and covariance", table, draw, caption, (theme.WIDTH_INCHES, 4.8))
