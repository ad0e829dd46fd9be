"""Accuracy against corruption severity for GMixout and its references, also relative to full fine-tuning."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from analysis import theme
from analysis.design import with_setting
from analysis.figures.figure import Figure, needs
from analysis.figures.words import listed, percent
from analysis.intervals import paired
from analysis.levers import lever_study
from analysis.records import Records
from analysis.selection import select
from analysis.shifts import severity_scores

COLUMNS = ["method", "severity", "seeds", "score", "lowest", "highest", "difference", "difference_lowest",
           "difference_highest", "cells"]  # fmt: skip


def table(records: Records) -> pd.DataFrame:
    """Mean accuracy over the corruption kinds per method (chosen on ID validation) and severity; 0 is clean.

    ``lowest`` and ``highest`` are over seeds; ``difference`` is to full fine-tuning, paired by seed. Of the methods of
    the lever study alone.
    """
    records = lever_study(records)
    chosen = select(records)
    names = [cell for cells in chosen["cells"] for cell in cells]
    ours = records.keep(names)
    runs = with_setting(ours.cells)[["cell", "method", "run"]]
    scores = severity_scores(ours.metrics).merge(runs, on="cell").dropna(subset=["score"])
    needs(bool(scores["severity"].gt(0).any()), "accuracies on corruptions", "run a study that evaluates them")
    reference = {
        severity: dict(zip(group["run"], group["score"]))
        for severity, group in scores[scores["method"].eq("full")].groupby("severity")
    }
    rows = []
    for (method, severity), group in scores.groupby(["method", "severity"]):
        gaps = paired(dict(zip(group["run"], group["score"])), reference.get(severity, {}))  # type: ignore[call-overload]
        values = group["score"].to_numpy(dtype=float)
        row = {"method": method, "severity": severity, "seeds": len(values), "cells": tuple(sorted(group["cell"]))}
        row |= {"score": values.mean(), "lowest": values.min(), "highest": values.max()}
        if gaps.size:
            row |= {"difference": gaps.mean(), "difference_lowest": gaps.min(), "difference_highest": gaps.max()}
        rows.append(row)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    order = {method: position for position, method in enumerate(theme.in_order(frame["method"]))}
    return frame.sort_values(["method", "severity"], key=lambda column: column.map(lambda v: order.get(v, v)),
                             ignore_index=True)  # fmt: skip


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws accuracy (left) and the difference to full fine-tuning (right); bars reach from lowest to highest seed."""
    left, right = figure.subplots(1, 2)
    methods = theme.in_order(frame["method"])
    for position, method in enumerate(methods):
        look = theme.look(method)
        ours = frame[frame["method"].eq(method)]
        # Side by side, so that bars of methods that are level do not hide each other.
        x = ours["severity"] + 0.05 * (position - (len(methods) - 1) / 2)
        for axes, name in ((left, "score"), (right, "difference")):
            low, high = ("lowest", "highest") if name == "score" else ("difference_lowest", "difference_highest")
            if name == "difference" and method == "full":
                axes.axhline(0.0, color=look.color, lw=1.2, zorder=1)
                continue
            spread = np.stack([ours[name] - ours[low], ours[high] - ours[name]]).astype(float)
            axes.errorbar(x, ours[name].astype(float), yerr=np.nan_to_num(np.abs(spread)), color=look.color,
                          marker=look.marker, ms=7 if look.marker == "*" else 4.5, mec="white", mew=0.5, lw=1.2,
                          elinewidth=0.9, label=look.label if axes is left else None)  # fmt: skip
    for axes in (left, right):
        axes.set_xticks(range(6), ["clean", "1", "2", "3", "4", "5"])
        axes.set_xlabel("corruption severity")
        axes.yaxis.set_major_formatter(theme.percent_ticks())
    left.set_ylabel("accuracy, mean of the corruption kinds (%)")
    right.set_ylabel("difference to full fine-tuning (points)")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=4)
    figure.suptitle("Accuracy under corruption; bars: lowest to highest seed",
                    x=0.01, ha="left", fontsize=9.5, fontweight="bold")  # fmt: skip
    return [left, right]


def caption(frame: pd.DataFrame) -> str:
    """What the curves show, with each method's clean accuracy and that at the greatest severity."""
    worst = int(frame["severity"].max())
    ends = []
    for method in theme.in_order(frame["method"]):
        scores = frame[frame["method"].eq(method)].set_index("severity")["score"]
        pair = [percent(scores.get(severity, float("nan"))) for severity in (0, worst)]
        ends.append(f"{theme.look(method).label} {pair[0]} → {pair[1]}")
    return (
        f"Accuracy (%) against the severity of corruption, mean of the kinds; clean → severity {worst}: "
        f"{listed(ends)}. Right: the difference to full fine-tuning with the same seeds. Bars reach from the "
        "lowest to the highest seed."
    )


FIGURE = Figure(
    "Accuracy against corruption severity", table, draw, caption, (theme.WIDTH_INCHES, 4.0), is_of_main_metric=False
)
