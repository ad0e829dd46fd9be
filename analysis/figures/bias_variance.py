"""Bias, variance, covariance and locality of the ensemble inside a run, stacked along each lever."""

from typing import Any

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
    levels differ in nothing else; if there are none, all do. Intervals at 95 % are over runs: the mean of the
    settings' own bounds, and of the domains', which is no narrower than the mean's own.
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
            behind = tuple(sorted(set(ours["cell"])))
            for shift in SHIFTS:
                for part in PARTS:
                    rows.append({"shift": shift, "lever": lever, "level": level_label(level), "position": position,
                                 "part": part, **_of_level(ours, f"{shift}_{part}"), "cells": behind})  # fmt: skip
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
            axes.set_xticks(levels["position"].astype(int), [theme.level_name(v) for v in levels["level"]])
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
                first, last = (_with_interval(line.iloc[place]) for place in (0, -1))
                moves.append(f"{PARTS[part][0].split(':')[0]} {first} → {last}")
        ends = ours.sort_values("position")["level"]
        spoken.append(f"{theme.lever_label(str(lever))} {ends.iloc[0]} → {ends.iloc[-1]}: {', '.join(moves)}")
    text = (
        "Brier error of the ensemble of a run's M members, in parts estimated over runs: means over settings of the "
        f"other levers, up to {counted(int(frame['settings'].max()), 'setting')} a level. OOD, {'; '.join(spoken)}. "
        "Brackets: 95 % over runs. Bias contains the noise of the labels."
    )
    return text.replace(" -", " −").replace("[-", "[−")


def _with_interval(row: "pd.Series[Any]") -> str:
    interval = f" [{row['low']:.3f}, {row['high']:.3f}]" if pd.notna(row["low"]) else ""
    return f"{row['estimate']:.3f}{interval}"


def _complete(cells: pd.DataFrame, lever: str) -> pd.DataFrame:
    """The settings of the other levers at which every level of this one is there; all rows if there is no such."""
    others = other_levers(cells, lever)
    names = pd.Series([" ".join(level_label(value) for value in key) for key in zip(*(cells[name] for name in others))]
                      if others else [""] * len(cells), index=cells.index)  # fmt: skip
    levels = cells.groupby(names)[lever].nunique()
    is_complete = names.map(levels.eq(cells[lever].dropna().nunique())).to_numpy(dtype=bool)
    return cells[is_complete] if is_complete.any() else cells


def _of_level(runs: pd.DataFrame, name: str) -> dict[str, float]:
    """Means over settings; of bias, variance and covariance all runs of a setting have the setting's own number."""
    settings = runs.dropna(subset=[name]).groupby(["setting", "learning_rate"])
    found: dict[str, float] = {"estimate": settings[name].mean().mean(), "settings": settings.ngroups}
    if f"{name}_low" in runs:
        bounds = {end: settings[f"{name}_{end}"].first() for end in ("low", "high")}
    else:
        intervals = [t_interval(ours[name]) for _, ours in settings]
        bounds = {end: pd.Series([getattr(one, end) for one in intervals], dtype=float) for end in ("low", "high")}
    return found | {end: values.mean(skipna=False) for end, values in bounds.items()}


def _parts(records: Records) -> pd.DataFrame:
    metrics = records.metrics
    members = metrics[metrics["weights"].eq("member")].groupby("cell")["member"].nunique()
    scores = {
        f"{term}{end}": _scores(metrics, f"brier_{term}{end}", "members")
        for term in ("bias", "variance", "ensemble_error", "covariance") for end in ("", "_low", "_high")
    }  # fmt: skip
    index = scores["bias"].index
    count = members.reindex(index)
    share = scores["variance"].div(count, axis=0)
    parts = {
        "bias": scores["bias"],
        "variance_share": share,
        "covariance_share": scores["ensemble_error"] - scores["bias"] - share,
        "locality": (
            _scores(metrics, "brier_error", "weight_average") - _scores(metrics, "brier_error", "ensemble")
        ).reindex(index),
    }
    for end in ("low", "high"):
        parts[f"bias_{end}"] = scores[f"bias_{end}"]
        parts[f"variance_share_{end}"] = scores[f"variance_{end}"].div(count, axis=0)
        parts[f"covariance_share_{end}"] = scores[f"covariance_{end}"].mul((count - 1) / count, axis=0)
    named = [frame.reindex(index).set_axis([f"id_{name}", f"ood_{name}"], axis=1) for name, frame in parts.items()]
    return pd.concat(named, axis=1).rename_axis("cell").reset_index()


def _scores(metrics: pd.DataFrame, metric: str, weights: str) -> pd.DataFrame:
    scores = shift_scores(metrics, metric, weights=(weights,), kinds=())
    return scores.set_index("cell")[["id_score", "ood_score"]]


FIGURE = Figure(
    "Bias, variance and covariance", table, draw, caption, (theme.WIDTH_INCHES, 4.8), is_of_main_metric=False
)
