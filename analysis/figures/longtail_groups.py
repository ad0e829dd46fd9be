"""Long tails: accuracy on classes with many, medium and few training images, and the harmonic mean of the three."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from scipy import stats

from analysis import theme
from analysis.figures.figure import Figure, needs
from analysis.figures.words import counted, listed, percent
from analysis.intervals import t_interval
from analysis.outcomes import outcomes
from analysis.records import Records
from analysis.selection import select
from analysis.shifts import GROUPS

HARMONIC = "harmonic"
LOOKS = {"many": ("^", "#0072B2"), "medium": ("o", "#009E73"), "few": ("v", "#D55E00"), HARMONIC: ("|", "#000000")}
COLUMNS = ["method", "group", "score", "low", "high", "seeds", "cells"]


def table(records: Records) -> pd.DataFrame:
    """One row a (method, group) on the ID test split: the mean over seeds, with Student's t at 95 %.

    ``harmonic`` is the harmonic mean of the three groups, of each seed first; 0 where a group has no right answer.
    """
    results = outcomes(records, select(records))
    results = results[results["weights"].eq("reported")].dropna(subset=[f"{group}_score" for group in GROUPS])
    needs(len(results) > 0, "accuracies of many, medium and few-shot classes", "run a long-tailed benchmark")
    groups = results[[f"{group}_score" for group in GROUPS]].to_numpy(dtype=float)
    results = results.assign(harmonic_score=stats.hmean(groups, axis=1))
    rows = []
    for method in theme.in_order(results["method"]):
        ours = results[results["method"].eq(method)]
        for group in (*GROUPS, HARMONIC):
            found = t_interval(ours[f"{group}_score"])
            rows.append({"method": method, "group": group, "score": found.estimate, "low": found.low,
                         "high": found.high, "seeds": len(ours), "cells": tuple(sorted(ours["cell"]))})  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws one line a method, from its worst group to its best."""
    methods = theme.in_order(frame["method"])
    figure.set_size_inches(theme.WIDTH_INCHES, 0.24 * len(methods) + 1.2)
    axes = figure.add_subplot()
    for place, method in enumerate(reversed(methods)):
        ours = frame[frame["method"].eq(method)].set_index("group")
        groups = ours.loc[[name for name in ours.index if name != HARMONIC], "score"]
        axes.plot([groups.min(), groups.max()], [place, place], color=theme.FAINT, lw=0.8, zorder=1)
        for shift, (group, row) in zip((0.18, 0.06, -0.06, -0.18), ours.iterrows()):
            marker, color = LOOKS[str(group)]
            if np.isfinite(row["low"]):
                axes.plot([row["low"], row["high"]], [place + shift] * 2, color=color, lw=0.8, alpha=0.5, zorder=2)
            axes.plot(row["score"], place, marker, ms=10 if marker == "|" else 5.5, color=color, mew=1.6, zorder=3)
    # Intervals of few seeds may leave the axes rather than press the points together.
    low, high = frame["score"].min(), frame["score"].max()
    margin = 0.08 * max(high - low, 1e-3)
    axes.set_xlim(low - margin, high + margin)
    axes.set_yticks(range(len(methods)), [theme.look(method).label for method in reversed(methods)])
    axes.set_ylim(-0.7, len(methods) - 0.3)
    axes.set_xlabel("accuracy on the ID test split, mean over the group's classes (%)")
    axes.xaxis.set_major_formatter(theme.percent_ticks())
    labels = {"many": "many images a class", "medium": "medium", "few": "few", HARMONIC: "harmonic mean"}
    handles = [Line2D([], [], ls="", marker=marker, color=color, mew=1.6, label=labels[group])
               for group, (marker, color) in LOOKS.items()]  # fmt: skip
    if frame["low"].notna().any():
        handles.append(Line2D([], [], color=theme.FAINT, lw=0.8, label="95 % over seeds"))
    figure.legend(handles=handles, loc="outside lower left", ncols=5)
    axes.set_title("Classes with many, medium and few training images")
    return [axes]


def caption(frame: pd.DataFrame) -> str:
    """What is drawn, with the best harmonic mean and the references' groups."""
    wide = frame.pivot(index="method", columns="group", values="score")
    best = str(wide[HARMONIC].idxmax())
    shown = [name for name in dict.fromkeys((best, "full", "gmixout")) if name in wide.index]
    spoken = []
    for name in shown:
        scores = " / ".join(percent(float(wide[group][name])) for group in (*GROUPS, HARMONIC))
        spoken.append(f"{theme.look(name).label} {scores}")
    return (
        f"Accuracy (%) of {counted(len(wide), 'method')} on classes with many, medium and few training images, and "
        f"their harmonic mean, each method at the choice of ID validation; means over seeds, 95 % Student's t over "
        f"seeds. Many / medium / few / harmonic: {listed(spoken)}. The best harmonic mean is "
        f"{theme.look(best).label}'s."
    )


FIGURE = Figure("Long-tail groups", table, draw, caption, (theme.WIDTH_INCHES, 3.6), is_of_main_metric=False)
