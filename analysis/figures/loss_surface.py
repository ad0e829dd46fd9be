"""Is there a hill between the models of a run? Interpolation curves and barriers between members, anchor and ends."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from analysis import theme
from analysis.figures.figure import Figure, needs
from analysis.figures.words import counted, listed
from analysis.intervals import t_interval
from analysis.levers import lever_study
from analysis.records import PATHS, Records, among
from analysis.selection import select

NAMES = {
    "path_members": "member → next",
    "path_first_last": "first → last member",
    "path_member_reported": "member → reported",
    "path_pretrained_reported": "pretrained → reported",
    "path_pretrained_anchor": "pretrained → anchor",
    "path_anchor_reported": "anchor → reported",
}
BARRIERS = {
    "max_barrier_error": "highest − mean of ends\n(nats)",
    "chord_barrier_error": "highest above the chord\n(nats)",
    "midpoint_barrier_error": "ends − midpoint\n(accuracy, points)",
}
LEAST = 0.01
"""Nats, or a point of accuracy: a barrier that the panels' spans can show."""
COLUMNS = ["kind", "path", "method", "shift", "alpha", "metric", "value", "low", "high", "runs", "cells"]


def table(records: Records) -> pd.DataFrame:
    """Curves and barriers of the lever study's methods at the choice of ID validation.

    Returns:
        ``kind`` is ``curve`` (cross-entropy at ``alpha``, the weight of the path's end) or ``barrier`` (one row each of
        ``BARRIERS``). ``shift`` is ``id`` or ``ood`` (mean over the domains). Values are means over the paths of a run
        that share a name (from each member to the next, say) and then over runs, with Student's t over runs.
    """
    records = lever_study(records)
    methods = {cell: row["method"] for row in select(records).to_dict("records") for cell in row["cells"]}
    metrics = records.metrics
    metrics = metrics[among(metrics["cell"], methods) & metrics["weights"].isin(PATHS)]
    metrics = metrics[metrics["metric"].isin(["cross_entropy_error", *BARRIERS])]
    needs(len(metrics) > 0, "losses along paths between a run's models", "run a study that asks for the surface")
    metrics = metrics.assign(
        method=metrics["cell"].astype(object).map(methods),
        shift=np.where(metrics["split"].eq("id_test"), "id", "ood"),
        alpha=metrics["alpha"].round(6),
        kind=np.where(metrics["metric"].eq("cross_entropy_error"), "curve", "barrier"),
    )
    keys = ["kind", "weights", "method", "shift", "alpha", "metric"]
    runs = metrics.groupby([*keys, "cell"], dropna=False)["value"].mean().reset_index()
    rows = []
    for key, group in runs.groupby(keys, dropna=False, sort=True):
        found = t_interval(group["value"].dropna())
        row = dict(zip(("kind", "path", "method", "shift", "alpha", "metric"), key))
        rows.append(row | {"value": found.estimate, "low": found.low, "high": found.high, "runs": len(group),
                           "cells": tuple(sorted(group["cell"]))})  # fmt: skip
    frame = pd.DataFrame(rows, columns=COLUMNS)
    order = {name: place for place, name in enumerate((*NAMES, *theme.in_order(frame["method"])))}
    return frame.sort_values(["kind", "path", "method", "shift", "metric", "alpha"], ignore_index=True,
                             key=lambda column: column.map(lambda v: order.get(v, v)))  # fmt: skip


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws curves above, one panel a path (full: ID, dotted: OOD), and barriers below, one panel a convention."""
    paths = [path for path in NAMES if frame["path"].eq(path).any()]
    columns = min(3, len(paths))
    lines = -(-len(paths) // columns)
    figure.set_size_inches(theme.WIDTH_INCHES, 1.9 * lines + 0.3 * len(paths) + 1.6)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.9 * lines, 0.3 * len(paths) + 1.1))
    upper, lower = parts
    grid = upper.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    methods = theme.in_order(frame["method"])
    for axes, path in zip(grid, paths):
        curves = frame[frame["kind"].eq("curve") & frame["path"].eq(path)]
        for (method, shift), curve in curves.groupby(["method", "shift"]):
            axes.plot(curve["alpha"], curve["value"], color=theme.look(str(method)).color, lw=1.3,
                      ls="-" if shift == "id" else (0, (1, 1.5)))  # fmt: skip
        axes.set_title(NAMES[path], fontsize=8)
        axes.set_xticks([0.0, 0.5, 1.0], ["0", ".5", "1"])
    for axes in grid[len(paths) :]:
        axes.remove()
    for axes in grid[: len(paths) : columns]:
        axes.set_ylabel("cross-entropy (nats)")
    grid[min(len(paths), len(grid)) - 1].set_xlabel("weight of the end")
    panels = lower.subplots(1, len(BARRIERS), sharey=True)
    for axes, (metric, label) in zip(panels, BARRIERS.items()):
        _draw_barriers(frame[frame["metric"].eq(metric)], paths, methods, axes)
        axes.set_xlabel(label)
        if metric.startswith("midpoint"):
            axes.xaxis.set_major_formatter(theme.percent_ticks())
    panels[0].set_yticks(range(len(paths)), [NAMES[path] for path in paths], fontsize=7)
    panels[0].set_ylim(len(paths) - 0.4, -0.6)
    handles = [Line2D([], [], color=theme.look(method).color, marker=theme.look(method).marker, ms=4,
                      label=theme.look(method).label) for method in methods]  # fmt: skip
    dotted = Line2D([], [], color=theme.FAINT, ls=(0, (1, 1.5)), marker="o", mfc="white", ms=4, label="OOD")
    handles += [Line2D([], [], color=theme.FAINT, label="ID"), dotted]
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    figure.suptitle("Straight paths between a run's models, and the barriers on them", x=0.01, ha="left", fontsize=9.5,
                    fontweight="bold")  # fmt: skip
    return [*grid[: len(paths)], *panels]


def caption(frame: pd.DataFrame) -> str:
    """What is drawn, with the height above the chord on each path."""
    chords = frame[frame["metric"].eq("chord_barrier_error") & frame["shift"].eq("id")]
    spoken = []
    for path, rows in chords.groupby("path", sort=False):
        heights = [f"{theme.look(str(row['method'])).label} {row['value']:.2f}" for row in rows.to_dict("records")]
        spoken.append(f"{NAMES.get(str(path), str(path))}: {listed(heights)}")
    runs = counted(int(frame["runs"].max()), "run")
    return (
        f"Cross-entropy on straight lines between the models of a run, means over up to {runs} of each method at the "
        f"choice of ID validation, and three measures of a barrier with Student's t at 95 %. Height above the chord on "
        f"ID images (nats), {'; '.join(spoken)}."
    )


def _draw_barriers(frame: pd.DataFrame, paths: list[str], methods: list[str], axes: Axes) -> None:
    axes.axvline(0.0, color=theme.FAINT, lw=0.8, zorder=1)
    reach: list[float] = [0.0]
    for row in frame.to_dict("records"):
        look: Any = theme.look(str(row["method"]))
        place = paths.index(row["path"]) + 0.7 * ((methods.index(row["method"]) + 0.5) / len(methods) - 0.5)
        place += 0.04 if row["shift"] == "ood" else -0.04
        reach.append(float(row["value"]))
        if np.isfinite([row["low"], row["high"]]).all():
            axes.plot([row["low"], row["high"]], [place, place], color=look.color, lw=0.8, alpha=0.5, zorder=2)
        axes.plot(row["value"], place, look.marker, ms=4, mec=look.color, mew=0.8, zorder=3,
                  mfc=look.color if row["shift"] == "id" else "white")  # fmt: skip
    # Wide intervals of few runs may leave the axes rather than press the points together.
    # Where there is no barrier at all, a span that would show one keeps rounding from looking like one.
    low, high = float(np.nanmin(reach)), float(np.nanmax(reach))
    margin = 0.12 * max(high - low, 5.0 * LEAST)
    axes.set_xlim(low - margin, high + margin)
    axes.locator_params(axis="x", nbins=4)


FIGURE = Figure("Loss surface", table, draw, caption, (theme.WIDTH_INCHES, 6.6), is_of_main_metric=False)
