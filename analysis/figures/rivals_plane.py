"""The ID–OOD plane of all methods: numbered points, WiSE-FT curves, and the Pareto fronts without and with these."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from analysis import theme
from analysis.figures.figure import Figure
from analysis.figures.rivals import KEY_SHARE, POINT_COLUMNS, draw_numbers, numbered_points, with_key
from analysis.figures.words import counted, id_and_ood, listed
from analysis.outcomes import outcomes
from analysis.pareto import pareto_front
from analysis.records import Records
from analysis.selection import select

COLUMNS = ["kind", *POINT_COLUMNS, "alpha", "is_on_front", "is_on_wise_front"]
SIZE = (theme.WIDTH_INCHES, 6.4)


def table(records: Records) -> pd.DataFrame:
    """Every method's point and its WiSE-FT curve.

    Returns:
        ``kind`` is ``method`` (the reported weights at the choice of ID validation, with intervals and a ``number``) or
        ``wise`` (means over seeds, one row a coefficient ``alpha``); ``is_on_front`` marks the Pareto front of the
        reported points, ``is_on_wise_front`` that of all points. The fronts are of test scores: they describe.
    """
    points = numbered_points(records).assign(kind="method")
    results = outcomes(records, select(records))
    wise = results[results["weights"].eq("wise") & results["method"].isin(points["method"])]
    rows = []
    for (method, alpha), group in wise.groupby(["method", "alpha"]):
        means = group[["id_score", "ood_score"]].mean()
        look = theme.look(str(method))
        rows.append({"kind": "wise", "method": method, "label": look.label, "family": look.family, "alpha": alpha,
                     **means, "seeds": len(group), "cells": tuple(sorted(group["cell"]))})  # fmt: skip
    frame = pd.DataFrame([*points.to_dict("records"), *rows], columns=COLUMNS)
    frame = frame.astype(dict.fromkeys(("number", "seeds", "missing", "diverged"), "Int64"))
    frame = frame.dropna(subset=["id_score", "ood_score"]).reset_index(drop=True)
    reported = frame["kind"].eq("method").to_numpy()
    masked = frame["id_score"].where(reported), frame["ood_score"].where(reported)
    return frame.assign(
        is_on_front=pareto_front(*masked), is_on_wise_front=pareto_front(frame["id_score"], frame["ood_score"])
    )


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws the plane, numbers beside the points, and their key beside the plane; hollow points lack runs."""
    points = frame[frame["kind"].eq("method")]
    (axes,) = with_key(points, figure, panels=1)
    wise = frame[frame["kind"].eq("wise")]
    for method in theme.in_order(wise["method"]):
        curve = wise[wise["method"].eq(method)].sort_values("alpha")
        axes.plot(curve["id_score"], curve["ood_score"], color=theme.look(method).color, lw=0.6, alpha=0.4, zorder=2)
    if len(wise):
        _draw_front(frame[frame["is_on_wise_front"]], axes, color=theme.FAINT, lw=0.9, ls=(0, (4, 2)))
    _draw_front(frame[frame["is_on_front"]], axes, color="#333333", lw=1.1)
    for point in points.to_dict("records"):
        look = theme.look(point["method"])
        x, y = point["id_score"], point["ood_score"]
        axes.plot([point["id_low"], point["id_high"]], [y, y], color=look.color, lw=0.5, alpha=0.35, zorder=3)
        axes.plot([x, x], [point["ood_low"], point["ood_high"]], color=look.color, lw=0.5, alpha=0.35, zorder=3)
        is_whole = not (point["missing"] or point["diverged"])
        axes.plot(x, y, look.marker, ms=_size(look), mec="white" if is_whole else look.color,
                  mfc=look.color if is_whole else "white", mew=0.5 if is_whole else 1.0, zorder=6)  # fmt: skip
    for name, set_limits in (("id", axes.set_xlim), ("ood", axes.set_ylim)):
        # Wide intervals of few seeds may leave the axes rather than press the points together.
        low, high = frame[f"{name}_score"].min(), frame[f"{name}_score"].max()
        margin = 0.05 * max(high - low, 1e-3)
        set_limits(low - margin, high + margin)
    axes.set(xlabel="ID accuracy (%)", ylabel="OOD accuracy, mean of the domains (%)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(theme.percent_ticks())
    width, height = figure.get_size_inches()
    marks = [_size(theme.look(method)) for method in points["method"]]
    draw_numbers(points, "id_score", "ood_score", marks, axes, ((1.0 - KEY_SHARE) * width - 0.6, height - 1.1))
    figure.legend(handles=_handles(points, wise), loc="outside lower left", ncols=3)
    figure.suptitle("All methods in and out of distribution, each at its setting chosen on ID validation",
                    x=0.01, ha="left", fontsize=9.5, fontweight="bold")  # fmt: skip
    return [axes]


def caption(frame: pd.DataFrame) -> str:
    """What the plane shows, with the references' accuracies and the names on the front."""
    points = frame[frame["kind"].eq("method")]
    front = points[points["is_on_front"]].sort_values("id_score")["label"]
    return (
        f"Accuracy in and out of distribution (ID / OOD, %) of {counted(len(points), 'method')}, each at the setting "
        f"that ID validation chose: {id_and_ood(points)}. Bars: 95 % bootstrap intervals over seeds and test images. "
        f"No other method has both more ID and more OOD than {listed(map(str, front))}; the front is of test scores "
        "and describes."
    )


def _size(look: theme.Look) -> float:
    return 11.0 if look.marker == "*" else 5.0


def _draw_front(front: pd.DataFrame, axes: Axes, **style: object) -> None:
    # A staircase: between two points of the front nothing was reached but the corner below both.
    ordered = front.sort_values(["id_score", "ood_score"])
    axes.plot(ordered["id_score"], ordered["ood_score"], drawstyle="steps-pre", zorder=4, **style)  # type: ignore[arg-type]


def _handles(points: pd.DataFrame, wise: pd.DataFrame) -> list[Line2D]:
    handles = [Line2D([], [], color="#333333", lw=1.1, label="Pareto front of the points")]
    if len(wise):
        label = "Pareto front with WiSE-FT"
        handles.append(Line2D([], [], color=theme.FAINT, lw=0.9, ls=(0, (4, 2)), label=label))
        handles.append(Line2D([], [], color=theme.FAINT, lw=0.6, alpha=0.7, label="WiSE-FT, α = 0 … 1"))
    if np.isfinite(points["ood_low"]).any():
        handles.append(Line2D([], [], color=theme.FAINT, lw=0.5, marker="+", ms=7, label="95 % over seeds and images"))
    if (points["missing"].gt(0) | points["diverged"].gt(0)).any():
        handles.append(
            Line2D([], [], marker="o", ls="", ms=5, mfc="white", mec=theme.FAINT, label="some runs missing or diverged")
        )
    return handles


FIGURE = Figure("The ID–OOD plane of all methods", table, draw, caption, SIZE)
