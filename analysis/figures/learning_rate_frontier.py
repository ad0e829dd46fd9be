"""Does a method keep more OOD, or does it only move less? The ID–OOD plane with a curve over learning rates each."""

from collections.abc import Hashable, Mapping
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from analysis import theme
from analysis.design import level_label, varying_levers
from analysis.figures.beside import write_beside
from analysis.figures.figure import Figure, needs
from analysis.figures.words import counted, percent
from analysis.frontier import frontier, on_frontier
from analysis.levers import lever_study
from analysis.outcomes import outcomes
from analysis.records import LEVERS, Records
from analysis.selection import select

FEWEST_RATES = 3
MOST_SETTINGS = 6
"""Curves of settings beside the preferred one; more of them nobody tells apart."""

DASHES = ((4.0, 1.5), (1.2, 1.2), (5.0, 1.5, 1.2, 1.5), (2.5, 1.0))
COLUMNS = ["kind", "method", "label", "setting", *LEVERS, "learning_rate", "is_chosen", "id_score", "id_lowest",
           "id_highest", "ood_score", "ood_lowest", "ood_highest", "runs", "missing", "diverged", "cells"]  # fmt: skip


def table(records: Records) -> pd.DataFrame:
    """Every point of every curve of the lever study's methods, means over runs, rates ascending within a curve.

    Returns:
        ``kind`` is ``method`` (of the settings with at least two rates the one that ID validation prefers), ``setting``
        (other GMixout settings with at least three rates, the six at most that ID validation prefers) or ``zero_shot``
        (a single point, no rate); ``label`` names the curve; ``is_chosen`` marks the rate that ID validation chose. A
        rate at which every run diverged or failed keeps its row, with NaN scores; see
        :func:`analysis.frontier.frontier`.
    """
    records = lever_study(records)
    points = frontier(records)
    needs(bool(points["ood_score"].notna().any()), "ID and OOD accuracies of a method at two learning rates or more",
          "run a study that lists several learning_rates")  # fmt: skip
    known = on_frontier(records)
    preferred = set(zip(*(select(known)[name] for name in ("method", "setting"))))
    best = select(known, by="setting")
    chosen = set(zip(*(best[name] for name in ("method", "setting", "learning_rate"))))
    is_preferred = np.array([key in preferred for key in zip(points["method"], points["setting"])])
    rates = points.groupby(["method", "setting"])["learning_rate"].transform("size")
    points["kind"] = np.where(is_preferred, "method", "setting")
    is_further = ~is_preferred & points["method"].eq("gmixout") & rates.ge(FEWEST_RATES)
    further = best[best["setting"].isin(points.loc[is_further, "setting"]) & best["method"].eq("gmixout")]
    ranked = further.sort_values("id_val_score", ascending=False, kind="stable")
    shown = list(ranked["setting"].head(MOST_SETTINGS))
    points = points.loc[is_preferred | (is_further & points["setting"].isin(shown))]
    keys = zip(points["method"], points["setting"], points["learning_rate"])
    points = points.assign(is_chosen=[key in chosen for key in keys], label=_labels(points))
    parts = [part.reindex(columns=COLUMNS).astype(object) for part in (points, _zero_shot(records)) if len(part)]
    reals = [name for name in COLUMNS if name.endswith(("score", "lowest", "highest")) or name == "learning_rate"]
    return pd.concat(parts, ignore_index=True).astype(dict.fromkeys(reals, "float64") | {"is_chosen": bool})


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws the curves, broken where a rate has no score; a hollow point lacks runs; bars: lowest to highest run."""
    axes = figure.add_subplot()
    handles = []
    dashes = cycle(DASHES)
    for method in theme.in_order(frame["method"]):
        look = theme.look(method)
        for (kind, _), curve in frame[frame["method"].eq(method)].groupby(["kind", "setting"], sort=True):
            style: dict[str, Any] = {"color": look.color, "marker": look.marker, "lw": 1.4, "alpha": 1.0}
            if kind == "setting":
                anchor = str(curve["anchor"].iloc[0])
                style |= {"marker": theme.ANCHOR_MARKERS.get(anchor, look.marker), "ls": (0.0, next(dashes))}
                style |= {"lw": 0.9, "alpha": 0.7}
            axes.plot(curve["id_score"], curve["ood_score"], zorder=3, **(style | {"marker": ""}))
            for point in curve.dropna(subset=["id_score", "ood_score"]).to_dict("records"):
                _draw_point(point, style, axes)
            style |= {"ms": 9 if look.marker == "*" else 5, "mec": "white", "mew": 0.5}
            style |= {"ls": ""} if len(curve) == 1 else {}
            handles.append(Line2D([], [], label=curve["label"].iloc[0], **style))
    handles += _notes(frame)
    # Beside the curves there is no place for a name each: outside it hides none of them.
    figure.legend(handles=handles, loc="outside lower left", ncols=2, fontsize=6.5)
    _write_rates(frame, axes, figure)
    axes.set(xlabel="ID accuracy (%)", ylabel="OOD accuracy, mean of the domains (%)")
    axes.set_title("Learning-rate frontiers: compare methods at the same ID, not at the same rate")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(theme.percent_ticks())
    return [axes]


def _draw_point(point: Mapping[Hashable, Any], style: Mapping[str, Any], axes: Axes) -> None:
    x, y, color, alpha = point["id_score"], point["ood_score"], style["color"], style["alpha"]
    axes.plot([point["id_lowest"], point["id_highest"]], [y, y], color=color, lw=0.7, alpha=0.45 * alpha, zorder=2)
    axes.plot([x, x], [point["ood_lowest"], point["ood_highest"]], color=color, lw=0.7, alpha=0.45 * alpha, zorder=2)
    size = 12.0 if style["marker"] == "*" else 7.5 if point["is_chosen"] else 4.5
    face, edge, width = color, "white", 0.5
    if point["missing"] or point["diverged"]:
        face, edge, width = "white", color, 1.0
    axes.plot(x, y, style["marker"], ms=size, mfc=face, mec=edge, mew=width, alpha=alpha, zorder=5)


def _write_rates(frame: pd.DataFrame, axes: Axes, figure: Canvas) -> None:
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    known = frame.dropna(subset=["id_score", "ood_score"])
    # What has no rate is in the way all the same.
    texts = ["" if np.isnan(rate) else f"{rate:g}" for rate in known["learning_rate"]]
    colors = [theme.look(method).color for method in known["method"]]
    marks = np.where(known["is_chosen"], 7.5, 4.5)
    width, height = figure.get_size_inches()
    points = known[["id_score", "ood_score"]].to_numpy(dtype=float)
    write_beside(axes, points, texts, colors, marks, (0.93 * width, 0.88 * height), size=5.5)


def _notes(frame: pd.DataFrame) -> list[Line2D]:
    notes = []
    if frame["is_chosen"].any():
        notes.append(Line2D([], [], marker="o", ms=7, ls="", color=theme.FAINT, label="rate chosen on ID validation"))
    is_partial = frame["missing"].gt(0) | frame["diverged"].gt(0)
    if (is_partial & frame["ood_score"].notna()).any():
        notes.append(
            Line2D([], [], marker="o", ms=5, ls="", mfc="white", mec=theme.FAINT, label="some runs diverged or missing")
        )
    if (frame["id_lowest"] < frame["id_highest"]).any():
        notes.append(Line2D([], [], color=theme.FAINT, lw=0.7, label="lowest to highest run"))
    for point in frame[frame["ood_score"].isna()].to_dict("records"):
        fate = "diverged" if point["diverged"] else "no result"
        notes.append(Line2D([], [], ls="", label=f"{point['label']} at {point['learning_rate']:g}: {fate}"))
    return notes


def _labels(points: pd.DataFrame) -> list[str]:
    ours = points[points["method"].eq("gmixout")]
    levers = varying_levers(ours) if ours["setting"].nunique() > 1 else []
    labels = []
    for point in points.to_dict("records"):
        parts = [f"{name.replace('_', ' ')} {level_label(point[name])}" for name in levers if level_label(point[name])]
        labels.append(", ".join([theme.look(point["method"]).label, *(parts if point["method"] == "gmixout" else [])]))
    return labels


def _zero_shot(records: Records) -> pd.DataFrame:
    chosen = select(records)
    cells = outcomes(records, chosen[chosen["method"].eq("zero_shot")])
    cells = cells[cells["weights"].eq("reported")].dropna(subset=["id_score", "ood_score"])
    if cells.empty:
        return pd.DataFrame(columns=COLUMNS)
    row = {"kind": "zero_shot", "method": "zero_shot", "label": theme.look("zero_shot").label, "is_chosen": False,
           "setting": cells["setting"].iloc[0], "runs": len(cells), "missing": 0, "diverged": 0}  # fmt: skip
    for name in ("id", "ood"):
        values = cells[f"{name}_score"]
        row |= {f"{name}_score": values.mean(), f"{name}_lowest": values.min(), f"{name}_highest": values.max()}
    return pd.DataFrame([row | {"cells": tuple(sorted(cells["cell"]))}])


def caption(frame: pd.DataFrame) -> str:
    """What the curves show, with each curve's point at the rate that ID validation chose."""
    chosen = frame[frame["is_chosen"] & frame["learning_rate"].notna()]
    points = [f"{row['label']} {percent(row['id_score'])} / {percent(row['ood_score'])} at {row['learning_rate']:g}"
              for row in chosen.to_dict("records")]  # fmt: skip
    lost = int(frame["diverged"].sum() + frame["missing"].sum())
    further = frame.loc[frame["kind"].eq("setting"), "setting"].nunique()
    cut = f" Of GMixout's other settings there may be more than these {further}, the best on ID validation."
    return (
        f"ID / OOD (%) of {counted(frame[['method', 'setting']].drop_duplicates().shape[0], 'curve')} along learning "
        f"rates, means over runs; at the rate that ID validation chose: {'; '.join(points)}. Bars reach from the "
        f"lowest to the highest run; {counted(lost, 'run') if lost else 'no run'} diverged or missing."
        f"{cut if further == MOST_SETTINGS else ''}"
    )


FIGURE = Figure("OOD against ID along each method's learning rates", table, draw, caption, (theme.WIDTH_INCHES, 6.0))
