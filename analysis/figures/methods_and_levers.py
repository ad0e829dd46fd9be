"""The whole story in four panels: all methods in the plane, Mixout over sparsity, GMixout over λ, GMixout over k."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from analysis import theme
from analysis.design import NESTED, comparable, level_label, other_levers
from analysis.effects import level_means
from analysis.figures.figure import Figure, needs
from analysis.figures.lever_panels import draw_references
from analysis.figures.words import counted, id_and_ood, percent
from analysis.levers import lever_cells, with_arms
from analysis.outcomes import outcomes
from analysis.records import Records
from analysis.selection import candidates, select
from analysis.tables import summary

PANELS = {
    "plane": "(a) Methods, and their WiSE-FT curves",
    "mixout_sparsity": "(b) Mixout: sparsity p",
    "decay": "(c) GMixout: anchor decay λ",
    "period": "(d) GMixout: period k",
}
FEW_METHODS = 12
COLUMNS = ["panel", "kind", "method", "alpha", "level", "subnetworks", "id_score", "id_low", "id_high", "ood_score",
           "ood_low", "ood_high", "runs", "cells"]  # fmt: skip


def table(records: Records) -> pd.DataFrame:
    """Every mark of the four panels.

    Returns:
        ``panel`` is one of ``PANELS``. In the plane ``kind`` is ``method`` (at the choice of ID validation, with
        bootstrap intervals over seeds and images) or ``wise`` (means over seeds, one row a coefficient ``alpha``).
        Elsewhere it is ``level``: the mean at one ``level`` of the lever, all else equal, with intervals made for
        comparing levels (:func:`analysis.effects.level_means`). λ is 1 for the pretrained anchor, which never moves,
        and 0 for the latest; ``subnetworks`` is how many a run visits.
    """
    levels = [*_over_sparsity(records), *_over_decay(records), *_over_period(records)]
    moved = {panel for panel in PANELS if sum(row["panel"] == panel for row in levels) > 1}
    needs(bool(moved & {"decay", "period"}), "GMixout cells that differ in anchor or period",
          "run a study that sweeps levers")  # fmt: skip
    methods = summary(records)
    methods = methods[methods["weights"].eq("reported")].dropna(subset=["id_score", "ood_score"])
    ends = {f"{score}_score_{end}": f"{score}_{end}" for score in ("id", "ood") for end in ("low", "high")}
    points = methods.rename(columns={**ends, "seeds": "runs"}).assign(kind="method", panel="plane", alpha=float("nan"))
    results = outcomes(records, select(records))
    curves: list[dict[str, Any]] = []
    for (method, alpha), group in results[results["weights"].eq("wise")].groupby(["method", "alpha"]):
        curves.append({"panel": "plane", "kind": "wise", "method": method, "alpha": alpha, "runs": len(group),
                       **group[["id_score", "ood_score"]].mean(), "cells": tuple(sorted(group["cell"]))})  # fmt: skip
    parts = [points.reindex(columns=COLUMNS).astype(object), pd.DataFrame([*curves, *levels], columns=COLUMNS)]
    whole = pd.concat([part.astype(object) for part in parts if len(part)], ignore_index=True)
    reals = [name for name in COLUMNS if name.endswith(("score", "low", "high"))]
    return whole.astype(dict.fromkeys([*reals, "alpha", "level", "subnetworks"], "float64"))


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws the plane, and each lever with ID above OOD; dashed: full fine-tuning at its chosen setting."""
    parts = np.ravel(figure.subfigures(2, 2, width_ratios=(1.25, 1.0)))  # type: ignore[arg-type]
    axes = [_draw_plane(frame[frame["panel"].eq("plane")], parts[0])]
    reference = frame[frame["kind"].eq("method") & frame["method"].eq("full")]
    for part, panel in zip(parts[1:], list(PANELS)[1:]):
        ours = frame[frame["panel"].eq(panel)].sort_values("level")
        axes += _draw_lever(ours, panel, reference, part)
    for part, title in zip(parts, PANELS.values()):
        part.suptitle(title, x=0.02, ha="left", fontsize=8.5, fontweight="bold")
    return axes


def caption(frame: pd.DataFrame) -> str:
    """What each panel shows, with the methods' accuracies and what the levers move."""
    methods = frame[frame["kind"].eq("method")]
    text = f"(a) ID / OOD accuracy (%) of {counted(len(methods), 'method')} at the choice of ID validation, with their "
    text += f"WiSE-FT curves: {id_and_ood(methods)}; bars: 95 % over seeds and images. "
    for letter, panel in zip("bcd", list(PANELS)[1:]):
        ours = frame[frame["panel"].eq(panel)].sort_values("level")
        name = PANELS[panel].split(") ")[1]
        if len(ours) < 2:
            text += f"({letter}) {name} was run at {counted(len(ours), 'level')} only. "
            continue
        first, last = ours.iloc[0], ours.iloc[-1]
        text += f"({letter}) {name} {level_label(first['level'])} → {level_label(last['level'])}: ID "
        text += f"{percent(first['id_score'])} → {percent(last['id_score'])}, OOD {percent(first['ood_score'])} → "
        text += f"{percent(last['ood_score'])}"
        if panel == "period":
            text += f", while the sub-networks visited go from {first['subnetworks']:.0f} to {last['subnetworks']:.0f}"
        text += ". "
    text += "Lever panels: means over runs, rates and all other settings, 95 % intervals for comparing levels; "
    return text + "dashed: full fine-tuning at its chosen setting."


def _over_sparsity(records: Records) -> list[dict[str, Any]]:
    ours = with_arms(records, "mixout")
    tried = candidates(ours)
    rates = [set(group["learning_rate"]) for _, group in tried.groupby("sparsity")]
    shared = set.intersection(*rates) if rates else set()
    cells = outcomes(ours, tried[tried["learning_rate"].isin(shared)])
    cells = cells[cells["weights"].eq("reported")]
    return _levels("mixout_sparsity", "mixout", cells.assign(level=cells["sparsity"]), ["learning_rate"])


def _over_decay(records: Records) -> list[dict[str, Any]]:
    cells = lever_cells(records, rates="common")
    still = cells["anchor"].map({"pretrained": 1.0, "latest": 0.0}).astype(float)
    cells = cells.assign(level=still.where(still.notna(), cells["ema_decay"].where(cells["anchor"].eq("ema"))))
    # λ is the lever here, so that the settings that belong to an anchor must not set cells apart.
    cells = comparable(cells.drop(columns=list(NESTED["anchor"])), "anchor").dropna(subset=["level"])
    return _levels("decay", "gmixout", cells, [name for name in other_levers(cells, "anchor") if name != "anchor"])


def _over_period(records: Records) -> list[dict[str, Any]]:
    cells = comparable(lever_cells(records, rates="common"), "resample_every")
    others = other_levers(cells, "resample_every")
    return _levels("period", "gmixout", cells.assign(level=cells["resample_every"]), others)


def _levels(panel: str, method: str, cells: pd.DataFrame, others: list[str]) -> list[dict[str, Any]]:
    cells = cells.dropna(subset=["level", "id_score", "ood_score"])
    levels = sorted(cells["level"].unique())
    rows: list[dict[str, Any]] = []
    for level in levels:
        here = cells[cells["level"].eq(level)]
        rows.append({"panel": panel, "kind": "level", "method": method, "alpha": float("nan"), "level": float(level),
                     "subnetworks": float(here["subnetworks"].mean()), "runs": len(set(here["cell"])),
                     "cells": tuple(sorted(set(here["cell"])))})  # fmt: skip
    for score in ("id", "ood") if levels else ():
        means = level_means(cells, f"{score}_score", "level", levels, others, np.random.default_rng(0))
        for row, mean in zip(rows, means):
            row |= {f"{score}_score": mean.estimate, f"{score}_low": mean.low, f"{score}_high": mean.high}
    return rows


def _draw_plane(frame: pd.DataFrame, figure: Any) -> Axes:
    axes = figure.add_subplot()
    handles = []
    points = frame[frame["kind"].eq("method")]
    is_few = len(points) <= FEW_METHODS
    for method in theme.in_order(points["method"]):
        look = theme.look(method)
        curve = frame[frame["kind"].eq("wise") & frame["method"].eq(method)].sort_values("alpha")
        axes.plot(curve["id_score"], curve["ood_score"], color=look.color, lw=0.9, alpha=0.7, zorder=2)
        point = points[points["method"].eq(method)].iloc[0]
        x, y = float(point["id_score"]), float(point["ood_score"])
        axes.plot([point["id_low"], point["id_high"]], [y, y], color=look.color, lw=0.6, alpha=0.5, zorder=3)
        axes.plot([x, x], [point["ood_low"], point["ood_high"]], color=look.color, lw=0.6, alpha=0.5, zorder=3)
        size = 10 if look.marker == "*" else 6 if is_few else 4
        axes.plot(x, y, look.marker, color=look.color, ms=size, mec="white", mew=0.6, zorder=5)
        label = look.label if is_few else theme.FAMILIES[look.family]
        handles.append(Line2D([], [], ls="", marker=look.marker if is_few else "o", color=look.color, label=label))
    unique = {handle.get_label(): handle for handle in handles}
    axes.legend(handles=list(unique.values()), loc="best", fontsize=6.5)
    axes.set(xlabel="ID accuracy (%)", ylabel="OOD accuracy (%)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(theme.percent_ticks())
    return axes  # type: ignore[no-any-return]


def _draw_lever(frame: pd.DataFrame, panel: str, reference: pd.DataFrame, figure: Any) -> list[Axes]:
    panels = list(figure.subplots(2, 1, sharex=True))
    places = np.arange(len(frame))
    for axes, (score, name) in zip(panels, (("id", "ID (%)"), ("ood", "OOD (%)"))):
        look = theme.look(str(frame["method"].iloc[0])) if len(frame) else theme.look("gmixout")
        values = frame[f"{score}_score"].to_numpy(dtype=float)
        spread = np.abs(frame[[f"{score}_low", f"{score}_high"]].to_numpy(dtype=float).T - values)
        axes.errorbar(places, values, yerr=np.nan_to_num(spread), color=look.color, marker=look.marker, ms=4, lw=1.2,
                      capsize=2)  # fmt: skip
        axes.set_ylabel(name)
        axes.margins(x=0.12, y=0.15)
        axes.yaxis.set_major_formatter(theme.percent_ticks())
        axes.grid(axis="x", visible=False)
        lines = reference.assign(estimate=reference[f"{score}_score"])[["method", "estimate"]]
        draw_references(lines if len(frame) else lines.iloc[:0], axes.get_ylim(), axes)
    labels = [level_label(level) for level in frame["level"]]
    words = {"mixout_sparsity": "mask sparsity p", "decay": "anchor decay λ (0: latest, 1: pretrained)",
             "period": "period k (steps); below: sub-networks visited"}  # fmt: skip
    if panel == "period":
        labels = [f"{label}\n{count:.0f}" for label, count in zip(labels, frame["subnetworks"])]
    panels[-1].set_xticks(places, labels)
    panels[-1].set_xlabel(words[panel])
    if len(frame) < 2:
        panels[0].text(0.5, 0.1, f"{counted(len(frame), 'level')} was run", transform=panels[0].transAxes, ha="center",
                       fontsize=7, color=theme.FAINT)  # fmt: skip
    return panels


FIGURE = Figure("Methods and levers", table, draw, caption, (theme.WIDTH_INCHES, 6.2))
