"""Do diverse members go with a gain out of distribution? Members' disagreement against two gains."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from scipy import stats

from analysis import theme
from analysis.design import ordered_levels
from analysis.figures.figure import Figure, needs
from analysis.intervals import paired
from analysis.levers import lever_cells
from analysis.outcomes import outcomes
from analysis.records import Records
from analysis.selection import select

GAINS = {
    "ensemble_gain_score": "ensemble − mean member, OOD (points)",
    "gain_over_full_score": "GMixout − full fine-tuning, OOD (points)",
}
COLUMNS = ["anchor", "resample_every", "sparsity", "member_kind", "learning_rate", "diversity_score", *GAINS, "seeds",
           "cells"]  # fmt: skip


def table(records: Records) -> pd.DataFrame:
    """One row a GMixout setting, means over seeds; the gain over full fine-tuning is paired by seed.

    ``diversity_score`` and ``ensemble_gain_score`` are means over the OOD domains, ``gain_over_full_score`` is the
    reported weights' OOD mean minus that of full fine-tuning (chosen on ID validation) in the same run.
    """
    cells = lever_cells(records).query("not is_shared").dropna(subset=["diversity_score"])
    needs(len(cells) > 0, "GMixout members on OOD splits", "run a study whose cells keep at least two members")
    chosen = select(records)
    full = outcomes(records, chosen[chosen["method"].eq("full")])
    full = full[full["weights"].eq("reported")]
    reference = dict(zip(full["run"], full["ood_score"]))
    rows = []
    for _, group in cells.groupby("setting"):
        first = group.iloc[0]
        gaps = paired(dict(zip(group["run"], group["ood_score"])), reference)
        rows.append({
            **{name: first[name] for name in ("anchor", "resample_every", "sparsity", "member_kind", "learning_rate")},
            **{name: float(group[name].mean()) for name in ("diversity_score", "ensemble_gain_score")},
            "gain_over_full_score": float(gaps.mean()) if gaps.size else float("nan"),
            "seeds": len(group),
            "cells": tuple(sorted(group["cell"])),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws one panel a gain; colour is sparsity, marker the anchor, hollow where members are a mere trajectory."""
    panels = figure.subplots(1, len(GAINS), squeeze=False)[0]
    values = [float(str(level)) for level in ordered_levels("sparsity", frame["sparsity"])]
    norm = BoundaryNorm(np.arange(len(values) + 1) - 0.5, len(values))
    colormap = theme.sequence_colors(len(values))
    anchors = [str(anchor) for anchor in ordered_levels("anchor", frame["anchor"])]
    points = None
    for axes, (gain, label) in zip(panels, GAINS.items()):
        axes.axhline(0.0, color=theme.FAINT, lw=0.8, zorder=1)
        for anchor in anchors:
            for kind in sorted(frame["member_kind"].unique()):
                ours = frame[frame["anchor"].eq(anchor) & frame["member_kind"].eq(kind)]
                colors = [values.index(value) for value in ours["sparsity"]]
                points = axes.scatter(ours["diversity_score"], ours[gain], c=colors, cmap=colormap, norm=norm,
                                      s=26, marker=theme.ANCHOR_MARKERS.get(anchor, "o"), linewidths=0.5,
                                      edgecolors="white", zorder=3)  # fmt: skip
                if kind != "visited":
                    points.set(facecolor="none", edgecolor=points.to_rgba(colors), linewidth=1.2)
        axes.set(xlabel=theme.score_label("diversity_score", ", OOD (%)"), ylabel=label)
        axes.xaxis.set_major_formatter(theme.percent_ticks())
        axes.yaxis.set_major_formatter(theme.percent_ticks())
        axes.set_title(correlation_text(frame["diversity_score"], frame[gain]), fontweight="normal", fontsize=8)
    if points is not None:
        bar = figure.colorbar(points, ax=list(panels), ticks=range(len(values)), shrink=0.7, aspect=18, pad=0.02)
        bar.ax.set_yticklabels([f"{value:g}" for value in values])
        bar.ax.tick_params(which="both", length=0)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.set_label("mask sparsity p")
    handles = [Line2D([], [], ls="", marker=theme.ANCHOR_MARKERS.get(anchor, "o"), color=theme.FAINT,
                      label=theme.LEVELS.get(anchor, anchor)) for anchor in anchors]  # fmt: skip
    if frame["member_kind"].ne("visited").any():
        label = "members of one trajectory"
        handles.append(Line2D([], [], ls="", marker="o", mfc="none", mec=theme.FAINT, label=label))
    panels[0].legend(handles=handles, loc="best")
    figure.suptitle("Members' diversity against out-of-distribution gains, one point a GMixout setting",
                    x=0.01, ha="left", fontsize=9.5, fontweight="bold")  # fmt: skip
    return list(panels)


def correlation_text(first: pd.Series, second: pd.Series) -> str:
    """Spearman's correlation over settings with a 95 % bootstrap interval, in words; settings are not independent."""
    pairs = pd.DataFrame({"x": first, "y": second}).dropna().to_numpy()
    if len(pairs) < 4 or len(np.unique(pairs[:, 0])) < 2 or len(np.unique(pairs[:, 1])) < 2:
        return "too few settings for a correlation"
    estimate = float(stats.spearmanr(pairs[:, 0], pairs[:, 1]).statistic)
    picks = np.random.default_rng(0).integers(len(pairs), size=(1000, len(pairs)))
    ranks = stats.rankdata(pairs[picks], axis=1)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).sum(axis=1).prod(axis=1))
    draws = np.divide(centred.prod(axis=2).sum(axis=1), scale, out=np.full(len(scale), np.nan), where=scale > 0)
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return f"Spearman {estimate:+.2f} [{low:+.2f}, {high:+.2f}] over {len(pairs)} settings"


FIGURE = Figure("Members' diversity against OOD gain", table, draw, (theme.WIDTH_INCHES, 3.8))
