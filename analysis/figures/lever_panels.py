"""One panel per lever: how ID, OOD and the members' diversity move with its level, all else equal."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from analysis import theme
from analysis.design import MAIN_LEVERS, comparable, grid, level_label, ordered_levels, other_levers
from analysis.effects import level_means
from analysis.figures.figure import Figure, needs
from analysis.figures.words import counted, percent
from analysis.levers import compared_levers, lever_cells
from analysis.outcomes import outcomes
from analysis.records import Records, among
from analysis.selection import select

RESPONSES = ("id_score", "ood_score", "diversity_score")
MOST_ACROSS = 4
"""How many levers stand side by side: more could not be read at the width of a page."""


def table(records: Records) -> pd.DataFrame:
    """Level means with intervals, the settings behind them, and the reference lines.

    Returns:
        ``kind`` is ``level`` (mean over settings of the other levers and seeds; interval for comparing levels; only
        levels of the fully crossed part of the design, :func:`analysis.design.grid`, have one),
        ``setting`` (one GMixout setting, mean over seeds) or ``reference`` (zero-shot and full fine-tuning); columns
        ``kind``, ``lever``, ``level``, ``position``, ``response``, ``method``, ``estimate``, ``low``, ``high``,
        ``cells``.
    """
    cells = lever_cells(records, rates="common")
    levers = compared_levers(cells)
    needs(bool(levers), "GMixout cells that differ in a lever", "run a study that sweeps levers")
    rows = []
    for lever in levers:
        rows_here = comparable(cells, lever)
        others = other_levers(rows_here, lever)
        levels = ordered_levels(lever, rows_here[lever])
        crossed = comparable(grid(cells), lever) if lever in MAIN_LEVERS else rows_here
        with_mean = ordered_levels(lever, crossed[lever])
        for response in RESPONSES:
            found = level_means(crossed, response, lever, with_mean, others, np.random.default_rng(0))
            means = dict(zip(with_mean, found))
            for position, level in enumerate(levels):
                is_here = (rows_here[lever] == level).fillna(False).to_numpy(dtype=bool)
                here = rows_here[is_here].dropna(subset=[response])
                place = {"lever": lever, "level": level_label(level), "position": position, "response": response,
                         "method": "gmixout"}  # fmt: skip
                if level in means:
                    mean, behind = means[level], here["cell"][among(here["cell"], crossed["cell"])]
                    rows.append({"kind": "level", **place, "estimate": mean.estimate, "low": mean.low,
                                 "high": mean.high, "cells": tuple(sorted(set(behind)))})  # fmt: skip
                for _, group in here.groupby("setting"):
                    rows.append({"kind": "setting", **place, "estimate": float(group[response].mean()),
                                 "cells": tuple(sorted(group["cell"]))})  # fmt: skip
    chosen = select(records)
    results = outcomes(records, chosen[chosen["method"].isin(["zero_shot", "full"])])
    for (method, score), group in _long(results).groupby(["method", "response"]):
        rows.append({"kind": "reference", "response": score, "method": method,
                     "estimate": float(group["value"].mean()), "cells": tuple(sorted(group["cell"]))})  # fmt: skip
    columns = ["kind", "lever", "level", "position", "response", "method", "estimate", "low", "high", "cells"]
    return pd.DataFrame(rows, columns=columns)


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws responses down, levers across; faint dots are single settings, dashed lines the references.

    Many levers stand in bands of four, below each other; a response has one scale in all of them.
    """
    levers = list(frame["lever"].dropna().unique())
    responses = [name for name in RESPONSES if frame.loc[frame["response"].eq(name), "estimate"].notna().any()]
    across = min(len(levers), MOST_ACROSS)
    bands = [levers[start : start + across] for start in range(0, len(levers), across)]
    height = 2.0 if len(bands) == 1 else 1.5
    figure.set_size_inches(theme.WIDTH_INCHES, height * len(bands) * len(responses))
    panels = figure.subplots(len(bands) * len(responses), across, squeeze=False)
    drawn: dict[str, list[Axes]] = {response: [] for response in responses}
    for band, ours in enumerate(bands):
        for column in range(across):
            own = list(panels[band * len(responses) : (band + 1) * len(responses), column])
            for response, axes in zip(responses, own):
                if column >= len(ours):
                    axes.remove()
                    continue
                if drawn[response]:
                    axes.sharey(drawn[response][0])
                drawn[response].append(axes)
            if column < len(ours):
                _draw_lever(frame[frame["lever"].eq(ours[column])], own, responses, column == 0, across > 3)
    for response, shown in drawn.items():
        references = frame[frame["kind"].eq("reference") & frame["response"].eq(response)]
        limits = shown[0].get_ylim()
        for axes in shown:
            draw_references(references.dropna(subset=["estimate"]), limits, axes)
    every = [axes for shown in drawn.values() for axes in shown]
    names = {label: line for axes in every for line, label in zip(*axes.get_legend_handles_labels())}
    if names:
        figure.legend(names.values(), names.keys(), loc="outside lower left", ncols=len(names), handlelength=2.4)
    figure.suptitle("Each lever, all else equal: level means with 95 % intervals for comparing levels; dots: settings",
                    x=0.01, ha="left", fontsize=9.5, fontweight="bold")  # fmt: skip
    return every


def caption(frame: pd.DataFrame) -> str:
    """What the panels show, with ID and OOD at each lever's first and last level."""
    levels = frame[frame["kind"].eq("level")]
    changes = []
    for lever in levels["lever"].unique():
        ends = []
        for response in ("id_score", "ood_score"):
            ours = levels[levels["lever"].eq(lever) & levels["response"].eq(response)].sort_values("position")
            ends.append(f"{percent(ours['estimate'].iloc[0])} → {percent(ours['estimate'].iloc[-1])}")
        names = [theme.level_name(name) for name in (ours["level"].iloc[0], ours["level"].iloc[-1])]
        changes.append(f"{theme.lever_label(lever)}, {names[0]} → {names[1]}: ID {ends[0]}, OOD {ends[1]}")
    settings = frame[frame["kind"].eq("setting")]
    return (
        "Mean over runs and over the settings of all other levers (%), with 95 % intervals made for comparing levels "
        f"(differences between runs and other settings removed). {'; '.join(changes)}. "
        f"Dots: single settings, {counted(len(settings), 'mean')} over runs; dashed: references."
    )


def _draw_lever(
    frame: pd.DataFrame, panels: Sequence[Axes], responses: Sequence[str], is_first: bool, is_narrow: bool
) -> None:
    """Draws one lever, a panel for each response, one below the other; in narrow ones words are short and small."""
    lever = str(frame["lever"].iloc[0])
    for response, axes in zip(responses, panels):
        _draw_panel(frame[frame["response"].eq(response)], axes)
        axes.yaxis.set_major_formatter(theme.percent_ticks())
        axes.grid(axis="x", visible=False)
        axes.tick_params(labelleft=is_first, labelbottom=axes is panels[-1])
        if is_first:
            axes.set_ylabel(theme.score_label(response).replace("member ", "member\n" if is_narrow else "member "))
    last, name = panels[-1], theme.lever_label(lever)
    if is_narrow:
        name = theme.SHORT_LEVERS.get(lever, name)
        texts = [text.get_text() for text in last.get_xticklabels()]
        last.set_xticks(last.get_xticks(), [text.removeprefix("0") or text for text in texts], fontsize=6.5)
    last.set_xlabel(name)


def _draw_panel(frame: pd.DataFrame, axes: Axes) -> None:
    color = theme.look("gmixout").color
    settings = frame[frame["kind"].eq("setting")]
    # A fixed fan instead of random jitter: the same records must give the same picture.
    groups = settings.groupby("position")["estimate"]
    fan = (groups.cumcount() + 0.5) / groups.transform("size") - 0.5
    axes.plot(settings["position"] + 0.3 * fan, settings["estimate"], ".", color=theme.FAINT, ms=2.5, alpha=0.6)
    means = frame[frame["kind"].eq("level")].sort_values("position")
    spread = np.abs(means[["low", "high"]].to_numpy(dtype=float).T - means["estimate"].to_numpy())
    axes.errorbar(means["position"], means["estimate"], yerr=np.nan_to_num(spread), color=color, marker="o", ms=4.5,
                  capsize=2.5, ls="-" if _is_ordered(means) else "", lw=1.3, zorder=4)  # fmt: skip
    axes.set_xticks(means["position"].to_numpy(dtype=int), [theme.level_name(v) for v in means["level"]])
    axes.margins(x=0.12, y=0.1)


def draw_references(references: pd.DataFrame, limits: tuple[float, float], axes: Axes) -> None:
    """Draws references as dashed lines, or names them at the edge where they are far off.

    Args:
        references: Columns ``method`` and ``estimate``.
        limits: Of the vertical axis, without the references.
        axes: Where.
    """
    low, high = limits
    for line in references.to_dict("records"):
        look = theme.look(line["method"])
        # A far reference would press what the lever does into a line: it is named at the edge instead.
        if low - 0.4 * (high - low) <= line["estimate"] <= high + 0.4 * (high - low):
            axes.axhline(line["estimate"], color=look.color, lw=0.9, ls=(0, (4, 3)), zorder=1, label=look.label)
        else:
            is_above = line["estimate"] > high
            note = f"{look.label} {100 * line['estimate']:.1f} {'↑' if is_above else '↓'}"
            axes.text(0.98, 0.97 if is_above else 0.03, note, transform=axes.transAxes, ha="right", fontsize=6.5,
                      va="top" if is_above else "bottom", color=look.color, zorder=3,
                      bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8})  # fmt: skip


def _is_ordered(means: pd.DataFrame) -> bool:
    return all(str(level) == "∞" or str(level).replace(".", "", 1).isdigit() for level in means["level"])


def _long(results: pd.DataFrame) -> pd.DataFrame:
    reported = results[results["weights"].eq("reported")]
    long = reported.melt(["method", "cell"], list(RESPONSES), var_name="response", value_name="value")
    return long.dropna(subset=["value"])


FIGURE = Figure("What each lever does", table, draw, caption, (theme.WIDTH_INCHES, 6.0))
