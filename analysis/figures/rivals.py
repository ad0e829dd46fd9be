"""Every method as one numbered point: the table, the numbers and the key that the figures of all methods share."""

import textwrap
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from analysis import theme
from analysis.figures.beside import write_beside
from analysis.figures.figure import needs
from analysis.levers import LEVER_STUDY
from analysis.outcomes import outcomes
from analysis.pairing import right_answers, rows_of, score_interval
from analysis.records import Records, remembered
from analysis.selection import select

POINT_COLUMNS = ["number", "method", "label", "family", "id_score", "id_low", "id_high", "ood_score", "ood_low",
                 "ood_high", "seeds", "missing", "diverged", "cells"]  # fmt: skip
KEY_SHARE = 0.33


@remembered
def numbered_points(records: Records, seed: int = 0, level: float = 0.95, draws: int = 1000) -> pd.DataFrame:
    """ID and OOD of every method at the choice of ID validation, numbered in theme order from 1.

    Args:
        records: Records of one benchmark and backbone.
        seed: Of the bootstrap's draws.
        level: Nominal coverage of the intervals, over seeds and test images where right answers were kept.
        draws: Bootstrap resamples.

    Returns:
        One row a method with both scores, columns ``POINT_COLUMNS``; as in :func:`analysis.tables.summary`.

    Raises:
        NothingToDraw: If no method beside those of the lever study has both scores.
    """
    chosen = select(records)
    results = outcomes(records, chosen)
    answers = right_answers(records, set(results["cell"]))
    rows = []
    for method in theme.in_order(chosen["method"]):
        ours = rows_of(results, method)
        # The same draws for every row, so that rows differ by their data alone.
        rng = np.random.default_rng(seed)
        look = theme.look(method)
        row: dict[str, Any] = {"method": method, "label": look.label, "family": look.family}
        for name in ("id", "ood"):
            interval = score_interval(ours, f"{name}_score", answers, rng, level, draws)
            row |= {f"{name}_score": interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        pick = chosen[chosen["method"].eq(method)].iloc[0]
        rows.append(row | {name: pick[name] for name in ("seeds", "missing", "diverged", "cells")})
    frame = pd.DataFrame(rows, columns=POINT_COLUMNS).dropna(subset=["id_score", "ood_score"]).reset_index(drop=True)
    needs(bool((~frame["method"].isin(LEVER_STUDY)).any()), "ID and OOD accuracies of methods beside the lever study's",
          "run a study of rivals")  # fmt: skip
    return frame.assign(number=np.arange(1, len(frame) + 1))


def draw_numbers(
    points: pd.DataFrame, x: str, y: str, marks: list[float], axes: Axes, inches: tuple[float, float]
) -> None:
    """Writes each point's number beside it, with a hair to the point where it had to move away.

    Args:
        points: Rows of :func:`numbered_points`.
        x: Column on the horizontal axis, which may be logarithmic.
        y: Column on the vertical axis.
        marks: Diameter of each point's marker, in typographic points.
        axes: Axes whose limits are final.
        inches: Their width and height, about.
    """
    colors = [theme.look(method).color for method in points["method"]]
    texts = points["number"].astype(str).tolist()
    write_beside(axes, points[[x, y]].to_numpy(dtype=float), texts, colors, marks, inches, weight="bold")


def with_key(frame: pd.DataFrame, figure: Canvas, panels: int) -> list[Axes]:
    """Panels below each other on the left, sharing their horizontal axis, and the key of the numbers on the right.

    Args:
        frame: Rows of :func:`numbered_points`.
        figure: An empty figure.
        panels: How many.
    """
    grid = figure.add_gridspec(panels, 2, width_ratios=(1.0 - KEY_SHARE, KEY_SHARE))
    first = figure.add_subplot(grid[0, 0])
    axes = [first, *(figure.add_subplot(grid[row, 0], sharex=first) for row in range(1, panels))]
    key = figure.add_subplot(grid[:, 1])
    key.axis("off")
    families = [family for family in theme.FAMILIES if frame["family"].eq(family).any()]
    # About as many letters as fit beside the panels.
    fill = partial(textwrap.fill, width=int(18.5 * KEY_SHARE * figure.get_figwidth()), subsequent_indent=6 * " ")
    entries = []
    for family in families:
        ours = frame[frame["family"].eq(family)]
        color = theme.look(ours["method"].iloc[0]).color
        entries.append((theme.FAMILIES[family], "bold", color))
        entries += [(fill(f"{row['number']}  {row['label']}{_holes(row)}"), "normal", color)
                    for row in ours.to_dict("records")]  # fmt: skip
    # Half a line before each family.
    lines = sum(text.count("\n") + 1 for text, _, _ in entries) + 0.5 * len(families)
    size = min(6.6, 60.0 * figure.get_figheight() / lines)
    place = 1.0
    for text, weight, color in entries:
        place -= 0.5 / lines * (weight == "bold" and place < 1.0)
        key.text(0.0, place, text, transform=key.transAxes, va="top", fontsize=size, fontweight=weight,
                 color=color, linespacing=1.0).set_in_layout(False)  # fmt: skip
        place -= (text.count("\n") + 1) / lines
    return axes


def _holes(row: Mapping[Hashable, Any]) -> str:
    notes = [f"{row[name]} {name}" for name in ("missing", "diverged") if row[name]]
    return f" ({', '.join(notes)})" if notes else ""
