"""Which lever matters most for what: partial eta squared of every lever and pair, with intervals."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from analysis import theme
from analysis.anova import anova
from analysis.design import MAIN_LEVERS, comparable, grid
from analysis.families import holm
from analysis.figures.figure import Figure, needs
from analysis.figures.words import counted
from analysis.levers import compared_levers, lever_cells
from analysis.outcomes import with_split_means
from analysis.records import Records

RESPONSES = ("id_score", "ood_score", "corruption_score", "diversity_score", "ood_calibration_error")
SIGNIFICANCE = 0.05
COLUMNS = ["response", "term", "partial_eta_squared", "low", "high", "partial_omega_squared", "f", "p_value",
           "holm_p_value", "is_significant", "rows", "cells"]  # fmt: skip


def table(records: Records) -> pd.DataFrame:
    """One row a (response, lever or pair of levers) of the main design's type II analysis of variance.

    Runs are blocks; only periods at which the anchors differ count (:func:`analysis.levers.lever_variance`). Intervals
    are Steiger's at 95 %, uncorrected. Holm's family is all terms of all responses.
    """
    cells = comparable(grid(lever_cells(records, rates="common")), "anchor")
    cells = with_split_means(cells[~cells["is_shared"]], records, "calibration_error")
    levers = compared_levers(cells)
    needs(
        bool({*levers} & {*MAIN_LEVERS}), "GMixout cells that differ in a main lever", "run a study that sweeps levers"
    )
    rows = []
    for response in RESPONSES:
        known = cells.dropna(subset=[response])
        try:
            found = anova(known, response, levers)
        except ValueError:
            continue
        found = found[~found["term"].isin(["residual", "run"])].rename(
            columns={f"partial_eta_squared_{end}": end for end in ("low", "high")}
        )
        behind = tuple(sorted(set(known["cell"])))
        rows += [{**row, "response": response, "rows": len(known), "cells": behind}
                 for row in found.to_dict("records")]  # fmt: skip
    needs(bool(rows), "enough cells for an analysis of variance", "run more seeds or settings of the main levers")
    frame = pd.DataFrame(rows).assign(holm_p_value=holm([row["p_value"] for row in rows]))
    return frame.assign(is_significant=frame["holm_p_value"].le(SIGNIFICANCE))[COLUMNS]


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws one panel a response; filled where Holm's correction leaves a term significant."""
    responses = [name for name in RESPONSES if frame["response"].eq(name).any()]
    terms = list(frame.groupby("term")["partial_eta_squared"].mean().sort_values().index)
    figure.set_size_inches(theme.WIDTH_INCHES, 0.24 * len(terms) + 1.3)
    panels = figure.subplots(1, len(responses), sharey=True, squeeze=False)[0]
    color = theme.look("gmixout").color
    for axes, response in zip(panels, responses):
        for row in frame[frame["response"].eq(response)].to_dict("records"):
            place = terms.index(row["term"])
            axes.plot([row["low"], row["high"]], [place, place], color=color, lw=1.2, alpha=0.5, zorder=2)
            face = color if row["is_significant"] else "white"
            axes.plot(row["partial_eta_squared"], place, "o", ms=5, mfc=face, mec=color, mew=1.0, zorder=3)
        axes.set_title(theme.score_label(response, "").replace("member ", "members'\n").replace(" ", "\n", 1),
                       fontsize=8)  # fmt: skip
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0.0, 0.5, 1.0], ["0", ".5", "1"])
        axes.set_xlabel("partial η²")
    panels[0].set_yticks(range(len(terms)), [_spoken(term) for term in terms])
    panels[0].set_ylim(-0.6, len(terms) - 0.4)
    handles = [
        Line2D([], [], ls="", marker="o", color=color, label="p ≤ .05 after Holm's correction"),
        Line2D([], [], ls="", marker="o", mfc="white", mec=color, label="not"),
        Line2D([], [], color=color, lw=1.2, alpha=0.5, label="95 % interval"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    figure.suptitle("How much each lever, and each pair beyond its two, explains", x=0.01, ha="left", fontsize=9.5,
                    fontweight="bold")  # fmt: skip
    return list(panels)


def caption(frame: pd.DataFrame) -> str:
    """What is drawn, with the most important lever of each response."""
    firsts = []
    for response in frame["response"].unique():
        row = frame[frame["response"].eq(response)].nlargest(1, "partial_eta_squared").to_dict("records")[0]
        ends = f"{row['partial_eta_squared']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
        firsts.append(f"{theme.score_label(response, '')}: {_spoken(row['term'])} {ends}")
    return (
        f"Partial η² of levers and of their interactions (×), of a type II analysis of variance blocked by run, over "
        f"{counted(int(frame['rows'].max()), 'run')}. Largest, {'; '.join(firsts)}. "
        f"{int(frame['is_significant'].sum())} of {len(frame)} tests are significant at 5 % after Holm's "
        "correction over all of them. The sample's η² leans high and may lie beyond its interval."
    )


def _spoken(term: str) -> str:
    return " × ".join(theme.SHORT_LEVERS.get(lever, lever.replace("_", " ")) for lever in term.split(":"))


FIGURE = Figure("Importance of levers", table, draw, caption, (theme.WIDTH_INCHES, 3.6))
