"""How runs went: training loss, ID validation where it was looked at, and the members one after the other."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from analysis import theme
from analysis.design import with_setting
from analysis.figures.figure import Figure, needs
from analysis.figures.words import counted, listed, percent
from analysis.levers import lever_study
from analysis.metric import main_metric
from analysis.records import Records, among
from analysis.selection import select
from analysis.shifts import shift_scores

PANELS = {
    "loss": "training loss (nats)",
    "id_val_score": "ID validation accuracy (%)",
    "member_id_score": "ID accuracy of members (%)",
    "member_ood_score": "OOD accuracy of members (%)",
}
# Of all the places that losses were written at, a mean over so many of a run: single batches are noise.
LOSS_POINTS = 20
COLUMNS = ["panel", "kind", "method", "at", "value", "lowest", "highest", "seeds", "cells"]


def table(records: Records) -> pd.DataFrame:
    """Curves of the lever study's methods at the choice of ID validation, means over seeds.

    Returns:
        ``panel`` is one of ``PANELS``; ``kind`` is ``curve`` (``at`` is the fraction of the run's steps), ``member``
        (``at`` is the member's place among those that were kept, evenly spread over the run, 1 the last), ``reported``
        or ``ensemble`` (of the members; ``at`` is 1). ``lowest`` and ``highest`` are over seeds.
    """
    records = lever_study(records)
    chosen = select(records)
    cells = {cell for names in chosen["cells"] for cell in names}
    here = records.keep(cells)
    runs = with_setting(here.cells)[["cell", "method", "run", "steps"]]
    frames = [_curves(here, runs), *_members(here, runs)]
    points = pd.concat([part for part in frames if len(part)] or [pd.DataFrame(columns=["panel"])], ignore_index=True)
    needs(len(points) > 0, "training curves or members", "run a study that trains")
    rows = []
    for (panel, kind, method, at), group in points.groupby(["panel", "kind", "method", "at"], sort=True):
        values = group["value"]
        rows.append({"panel": panel, "kind": kind, "method": method, "at": at, "value": values.mean(),
                     "lowest": values.min(), "highest": values.max(), "seeds": len(group),
                     "cells": tuple(sorted(set(group["cell"])))})  # fmt: skip
    frame = pd.DataFrame(rows, columns=COLUMNS)
    order = {name: place for place, name in enumerate((*PANELS, *theme.in_order(frame["method"])))}
    by = ["panel", "method", "kind", "at"]
    return frame.sort_values(by, key=lambda column: column.map(lambda v: order.get(v, v)), ignore_index=True)


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws one panel a quantity; behind the members' panels, right, stand the reported weights and the ensemble."""
    panels = [name for name in PANELS if frame["panel"].eq(name).any()]
    columns = 2 if len(panels) == 4 else len(panels)
    figure.set_size_inches(theme.WIDTH_INCHES, 2.5 * -(-len(panels) // columns) + 0.6)
    grid = figure.subplots(-(-len(panels) // columns), columns, squeeze=False).ravel()
    methods = theme.in_order(frame["method"])
    for axes, panel in zip(grid, panels):
        ours = frame[frame["panel"].eq(panel)]
        is_members = panel.startswith("member")
        for method in methods:
            look = theme.look(method)
            line = ours[ours["method"].eq(method) & ours["kind"].isin(["curve", "member"])].sort_values("at")
            axes.fill_between(line["at"], line["lowest"], line["highest"], color=look.color, alpha=0.12, lw=0)
            # A single point makes no line.
            marker = look.marker if is_members or len(line) == 1 else ""
            axes.plot(line["at"], line["value"], color=look.color, marker=marker, ms=3.5, lw=1.2)
            for kind, place, fill in (("reported", 1.12, look.color), ("ensemble", 1.24, "white")):
                end = ours[ours["method"].eq(method) & ours["kind"].eq(kind)]
                if len(end) and len(line):
                    axes.plot([place], end["value"], look.marker, ms=5, mfc=fill, mec=look.color, mew=1.0)
        axes.set_ylabel(PANELS[panel])
        if panel != "loss":
            axes.yaxis.set_major_formatter(theme.percent_ticks())
        if is_members:
            axes.set_xticks([0.0, 0.5, 1.0, 1.12, 1.24], ["0", ".5", "1", "reported", "ensemble"], fontsize=6.5)
            for text in axes.get_xticklabels()[3:]:
                text.set(rotation=35, ha="right", rotation_mode="anchor")
        axes.set_xlabel("place of the member in the run" if is_members else "fraction of the run")
    for axes in grid[len(panels) :]:
        axes.remove()
    handles = [Line2D([], [], color=theme.look(method).color, marker=theme.look(method).marker, ms=4,
                      label=theme.look(method).label) for method in methods]  # fmt: skip
    handles.append(Line2D([], [], color=theme.FAINT, lw=5, alpha=0.3, label="lowest to highest seed"))
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    figure.suptitle("Training and members, each method at its chosen setting", x=0.01, ha="left", fontsize=9.5,
                    fontweight="bold")  # fmt: skip
    return list(grid[: len(panels)])


def caption(frame: pd.DataFrame) -> str:
    """What is drawn, with the last losses and what members, ensemble and reported weights reach off ID."""
    last = frame[frame["panel"].eq("loss")].sort_values("at").groupby("method").last()
    losses = [f"{theme.look(name).label} {float(last['value'][name]):.2f}" for name in theme.in_order(last.index)]
    text = f"{counted(frame['method'].nunique(), 'method')} at the choice of ID validation, means over seeds. "
    text += f"Training loss at the end (nats): {listed(losses)}. " if losses else ""
    off = frame[frame["panel"].eq("member_ood_score")]
    spoken = []
    for method in theme.in_order(off["method"]):
        ours = off[off["method"].eq(method)]
        kinds = ours.groupby("kind")["value"].mean()
        if {"member", "ensemble", "reported"} <= set(kinds.index):
            scores = " / ".join(percent(kinds[kind]) for kind in ("member", "ensemble", "reported"))
            spoken.append(f"{theme.look(method).label} {scores}")
    if spoken:
        text += f"OOD accuracy (%), mean member / ensemble of members / reported weights: {listed(spoken)}. "
    return text + "Members of full fine-tuning and random masking are points of one trajectory."


def _curves(records: Records, runs: pd.DataFrame) -> pd.DataFrame:
    curves = records.curves.merge(runs, on="cell")
    curves = curves[curves["steps"].gt(0)].assign(at=lambda frame: frame["step"] / frame["steps"])
    loss = curves[curves["metric"].eq("loss")]
    bins = np.ceil(loss["at"] * LOSS_POINTS).clip(lower=1.0) / LOSS_POINTS
    loss = loss.assign(at=bins).groupby(["cell", "method", "at"], as_index=False)["value"].mean().assign(panel="loss")
    metric = f"id_val_{main_metric(records)}"
    seen = curves[curves["metric"].eq(metric)].assign(panel="id_val_score")
    return pd.concat([loss, seen], ignore_index=True).assign(kind="curve").dropna(subset=["value"])


def _members(records: Records, runs: pd.DataFrame) -> list[pd.DataFrame]:
    metric = main_metric(records)
    metrics = records.metrics[records.metrics["metric"].eq(metric)]
    members = metrics[metrics["weights"].eq("member")]
    parts = []
    for member, group in members.groupby("member"):
        scores = shift_scores(group, metric, weights=("member",), kinds=())
        parts.append(scores.assign(kind="member", member=int(str(member))))
    if not parts:
        return []
    having = set(members["cell"])
    ours = metrics[among(metrics["cell"], having)]
    for weights in ("reported", "ensemble"):
        scores = shift_scores(ours, metric, weights=(weights,), kinds=())
        parts.append(scores.assign(kind=weights, member=0))
    whole = pd.concat(parts, ignore_index=True).merge(runs, on="cell")
    last = whole[whole["kind"].eq("member")].groupby("cell")["member"].max()
    spread = whole["cell"].map(last).clip(lower=1)
    whole["at"] = (whole["member"] / spread).where(whole["kind"].eq("member"), 1.0).astype(float)
    named = {"id_score": "member_id_score", "ood_score": "member_ood_score"}
    return [
        whole.assign(panel=panel, value=whole[score])[["cell", "method", "at", "value", "panel", "kind"]].dropna()
        for score, panel in named.items()
    ]


FIGURE = Figure("Training and members", table, draw, caption, (theme.WIDTH_INCHES, 5.6))
