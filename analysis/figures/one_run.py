"""One masked run's members against independent runs, soups, WiSE-FT and averages along a run, at equal training."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from analysis import theme
from analysis.figures.figure import Figure, needs
from analysis.figures.forest import COLUMNS, draw_forest
from analysis.figures.words import cells_behind, counted, listed, with_interval
from analysis.one_run import REFERENCE, ensembles, side_label
from analysis.records import Records

PANELS = {
    "id_difference": "ID − members\n(% points)",
    "ood_difference": "OOD − members\n(% points)",
    "ensemble_gain": "OOD − own mean\nmember (% points)",
}


def table(records: Records) -> pd.DataFrame:
    """Every side minus the mean probability of one GMixout run's members, and what each ensemble gains, in fractions.

    Returns:
        Columns ``COLUMNS`` of :mod:`analysis.figures.forest`, with ``training_ratio`` and ``inference_passes`` of
        :func:`analysis.one_run.ensembles`.
    """
    found = ensembles(records)
    needs(len(found) > 0, "members of a GMixout run and an ensemble of separate runs", "run the study ensemble")
    rows = []
    for position, side in enumerate(found.to_dict("records")):
        is_reference = (side["method"], side["weights"]) == REFERENCE
        is_equal, ratio = side["has_equal_training"], side["training_ratio"]
        cost = "" if is_equal or pd.isna(ratio) or ratio == 0 else f" ({ratio:.1f}× training)"
        lost = f", {side['missing']} missing" if side["missing"] else ""
        place = {"row": position, "label": side_label(side) + cost + lost, "method": side["method"]}
        place |= {"is_beside": not is_equal, "seeds": side["seeds"], "cells": side["cells"]}
        place |= {name: side[name] for name in ("training_ratio", "inference_passes")}
        for panel in PANELS:
            star = f"is_{panel.removesuffix('_difference')}_significant"
            is_marked = side[star] if star in side else side["ensemble_gain_low"] > 0 or side["ensemble_gain_high"] < 0
            estimate = 0.0 if is_reference and panel != "ensemble_gain" else side[panel]
            rows.append({**place, "panel": panel, "estimate": estimate, "low": side[f"{panel}_low"],
                         "high": side[f"{panel}_high"], "is_significant": bool(is_marked)})  # fmt: skip
    return pd.DataFrame(rows, columns=[*COLUMNS, "training_ratio", "inference_passes"])


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws ID, OOD and what averaging adds; the line is the members of one run, averaged."""
    figure.set_size_inches(theme.WIDTH_INCHES, 1.2 + 0.19 * frame["row"].nunique())
    panels = draw_forest(
        frame, figure, PANELS, "Is one run an ensemble? Members of one GMixout run, averaged, are the line"
    )
    for axes in panels.values():
        axes.axvline(0.0, color="#333333", lw=0.9)
        axes.xaxis.set_major_formatter(theme.percent_ticks())
        axes.tick_params(axis="y", labelsize=6.8)
    figure.legend(
        handles=[
            Line2D([], [], marker="o", ls="", ms=5, color="#333333", label="significant after Holm (right: 95 %)"),
            Line2D([], [], marker="o", ls="", ms=5, mfc="white", mec="#333333", label="not"),
            Line2D([], [], marker="o", ls="", ms=5, mfc="white", mec=theme.FAINT, label="training not equal"),
            Line2D([], [], color="#333333", lw=1.2, label="95 % over seeds (Student's t)"),
        ],
        loc="outside lower left", ncols=4, fontsize=6.5,
    )  # fmt: skip
    return list(panels.values())


def caption(frame: pd.DataFrame) -> str:
    """The reference's own gain, independent runs against it, and all that differs significantly."""
    by_panel = {name: group.set_index("label") for name, group in frame.groupby("panel")}
    ours = side_label({"method": REFERENCE[0], "weights": REFERENCE[1]})
    gains = by_panel["ensemble_gain"].dropna(subset=["estimate"])
    gained = [f"{label} {with_interval(line, 'estimate', 'low', 'high', signed=True)}"
              for label, line in gains.to_dict("index").items()]  # fmt: skip
    parts = []
    for panel, name in (("id_difference", "ID"), ("ood_difference", "OOD")):
        equal = by_panel[panel][~by_panel[panel]["is_beside"] & by_panel[panel]["is_significant"]]
        ahead, behind = ([f"{label} {with_interval(line, 'estimate', 'low', 'high', signed=True)}"
                          for label, line in side.to_dict("index").items()]
                         for side in (equal[equal["estimate"] > 0], equal[equal["estimate"] < 0]))  # fmt: skip
        parts.append(f"{name}: ahead of the members {listed(ahead) or 'none'}; behind {listed(behind) or 'none'}.")
    seeds, cells = counted(int(frame["seeds"].max()), "seed"), counted(cells_behind(frame), "cell")
    return (
        "Ways to answer at the training of one run, minus the mean probability of one GMixout run's members, in "
        f"points, {seeds} paired; each method at the choice of ID validation. Significant after Holm's correction over "
        f"all sides of equal training, {' '.join(parts)} What averaging adds to the mean of its own members off ID "
        f"({ours} is the reference): {listed(gained)}. Intervals are Student's t at 95 % over seeds. Grey: training is "
        f"not equal. {cells}."
    )


FIGURE = Figure("Members of one run against independent runs", table, draw, caption, (theme.WIDTH_INCHES, 5.0))
