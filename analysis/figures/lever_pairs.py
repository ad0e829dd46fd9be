"""Lever × lever heat maps: ID, OOD, diversity and calibration over pairs of the main levers, others averaged out."""

from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from analysis import theme
from analysis.design import MAIN_LEVERS, comparable, grid, level_label, ordered_levels
from analysis.figures.figure import Figure, needs
from analysis.figures.maps import draw_map
from analysis.figures.words import counted, listed, span
from analysis.levers import lever_cells
from analysis.outcomes import with_split_means
from analysis.records import Records

RESPONSES = ("id_score", "ood_score", "diversity_score", "ood_calibration_error")
COLUMNS = ["lever_down", "lever_across", "level_down", "level_across", *RESPONSES, "runs", "cells"]


def table(records: Records) -> pd.DataFrame:
    """One row a pair of levels of two main levers: means over runs, shared learning rates and the third lever.

    An endless mask is one run for all moving anchors: it has a row under the period, and none where anchors are
    compared across another lever. The design is balanced but for lost runs; a mean is over the runs that there are.
    """
    cells = grid(lever_cells(records, rates="common"))
    cells = with_split_means(cells, records, "calibration_error")
    moved = [lever for lever in MAIN_LEVERS if cells[lever].dropna().nunique() > 1]
    needs(len(moved) > 1, "GMixout cells that differ in two of the main levers", "run a study that sweeps levers")
    rows = []
    for down, across in combinations(moved, 2):
        ours = cells if "resample_every" in (down, across) else comparable(cells, "anchor")
        for (level_down, level_across), group in ours.groupby([down, across]):
            known = group.dropna(subset=["id_score", "ood_score"])
            rows.append({
                "lever_down": down, "lever_across": across,
                "level_down": level_label(level_down), "level_across": level_label(level_across),
                **known[list(RESPONSES)].mean(), "runs": len(known), "cells": tuple(sorted(set(known["cell"]))),
            })  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws one row a response, one column a pair; maps of a response share their colours."""
    pairs = list(frame[["lever_down", "lever_across"]].drop_duplicates().itertuples(index=False, name=None))
    responses = [name for name in RESPONSES if frame[name].notna().any()]
    figure.set_size_inches(theme.WIDTH_INCHES, 1.75 * len(responses) + 0.5)
    grid = figure.subplots(len(responses), len(pairs), squeeze=False)
    for row, response in enumerate(responses):
        limits = frame[response].min(), frame[response].max()
        for column, (down, across) in enumerate(pairs):
            axes = grid[row, column]
            ours = frame[frame["lever_down"].eq(down) & frame["lever_across"].eq(across)]
            downs, acrosses = _levels(down, ours["level_down"]), _levels(across, ours["level_across"])
            values = np.full((len(downs), len(acrosses)), np.nan)
            for cell in ours.to_dict("records"):
                values[downs.index(cell["level_down"]), acrosses.index(cell["level_across"])] = cell[response]
            image = draw_map(values, limits, response, axes)
            axes.set_xticks(range(len(acrosses)), [theme.level_name(name) for name in acrosses])
            axes.set_yticks(range(len(downs)), [theme.level_name(name) for name in downs])
            axes.set_ylabel(theme.SHORT_LEVERS[down])
            if row == len(responses) - 1:
                axes.set_xlabel(theme.SHORT_LEVERS[across])
        bar = figure.colorbar(image, ax=list(grid[row]), format=theme.percent_ticks(), aspect=12, pad=0.01)
        bar.set_label(theme.score_label(response))
        bar.outline.set_visible(False)  # type: ignore[operator]
    figure.suptitle("Pairs of levers, mean over runs, rates and the third lever (%)", x=0.01, ha="left", fontsize=9.5,
                    fontweight="bold")  # fmt: skip
    return list(grid.ravel())


def caption(frame: pd.DataFrame) -> str:
    """What the maps show, with the span of each response."""
    pairs = frame[["lever_down", "lever_across"]].drop_duplicates()
    spans = [f"{theme.score_label(name, '')} {span(frame[name])}" for name in RESPONSES if frame[name].notna().any()]
    return (
        f"GMixout over {counted(len(pairs), 'pair')} of levers, each value a mean over runs, learning rates that all "
        f"settings share, and the other levers of the main design (%): {listed(spans)}. Maps of one row share colours."
    )


def _levels(lever: str, labels: pd.Series) -> list[str]:
    # Labels are text, so that numbers must be put in their order again.
    numbers = {label: float("inf") if label == "∞" else _number(label) for label in map(str, labels)}
    if None not in numbers.values():
        return sorted(numbers, key=lambda label: float(numbers[label] or 0.0))
    return [str(level) for level in ordered_levels(lever, labels)]


def _number(label: str) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None


FIGURE = Figure("Pairs of levers", table, draw, caption, (theme.WIDTH_INCHES, 7.4))
