"""Rows of differences with intervals, panel by panel: what the figures of single comparisons share."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from analysis import theme

COLUMNS = ["row", "label", "method", "panel", "estimate", "low", "high", "is_significant", "is_beside", "seeds",
           "cells"]  # fmt: skip


def draw_forest(frame: pd.DataFrame, figure: Canvas, panels: Mapping[str, str], title: str) -> dict[str, Axes]:
    """Draws one panel beside the other, the rows' labels on the left, first row on top.

    A filled point is significant, a hollow one is not, a grey one stands beside the comparison (it cost more, say).

    Args:
        frame: Columns ``COLUMNS``: ``row`` a whole number from 0, ``estimate`` and its ends in the panel's unit.
        figure: An empty figure.
        panels: Panels by name, with the label of their horizontal axis.
        title: Of the figure.

    Returns:
        Axes by panel; those of differences have a line at 0.
    """
    found = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    labels = frame.drop_duplicates("row").set_index("row")["label"].sort_index()
    for axes, (panel, heading) in zip(found, panels.items()):
        for line in frame[frame["panel"].eq(panel)].dropna(subset=["estimate"]).to_dict("records"):
            color = theme.FAINT if line["is_beside"] else theme.look(str(line["method"])).color
            if np.isfinite([line["low"], line["high"]]).all():
                axes.plot([line["low"], line["high"]], [line["row"]] * 2, color=color, lw=1.2, zorder=3)
            axes.plot(line["estimate"], line["row"], theme.look(str(line["method"])).marker, ms=5, mec=color, mew=1.0,
                      mfc=color if line["is_significant"] else "white", zorder=4)  # fmt: skip
        axes.set_xlabel(heading)
        axes.grid(axis="y", visible=False)
    found[0].set_yticks(labels.index.to_numpy(), labels.to_list())
    found[0].set_ylim(labels.index.max() + 0.6, -0.6)
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    return dict(zip(panels, found))
