"""Do diverse members go with a gain out of distribution? Members' disagreement against two gains.

Settings that train further from the pretrained weights are more diverse and do worse off ID, so that the correlation is
also told at equal distance.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from analysis import theme
from analysis.correlation import FEWEST, rank_correlation
from analysis.design import ordered_levels
from analysis.figures.figure import Figure, needs
from analysis.figures.words import counted, span
from analysis.intervals import Interval, paired
from analysis.levers import lever_cells
from analysis.outcomes import outcomes
from analysis.probabilities import Floats
from analysis.records import Records
from analysis.selection import select

GAINS = {
    "ensemble_gain_score": "ensemble − mean member, OOD (points)",
    "gain_over_full_score": "GMixout − full fine-tuning, OOD (points)",
}
COLUMNS = ["anchor", "resample_every", "sparsity", "member_kind", "learning_rate", "diversity_score", *GAINS,
           "distance", "seeds", "cells"]  # fmt: skip


def table(records: Records) -> pd.DataFrame:
    """One row a GMixout setting, means over seeds; the gain over full fine-tuning is paired by seed.

    ``diversity_score`` and ``ensemble_gain_score`` are means over the OOD domains, ``gain_over_full_score`` is the
    reported weights' OOD mean minus that of full fine-tuning (chosen on ID validation) in the same run; ``distance`` is
    that of the reported weights from the pretrained ones (Euclidean), NaN where it was not recorded.
    """
    cells = lever_cells(records).query("not is_shared").dropna(subset=["diversity_score"])
    needs(
        cells["setting"].nunique() > 1,
        "GMixout members on OOD splits at several settings",
        "run a study whose cells keep at least two members",
    )
    chosen = select(records)
    full = outcomes(records, chosen[chosen["method"].eq("full")])
    full = full[full["weights"].eq("reported")]
    reference = dict(zip(full["run"], full["ood_score"]))
    is_distance = records.metrics["metric"].eq("distance_to_pretrained") & records.metrics["weights"].eq("reported")
    distances = records.metrics[is_distance].set_index("cell")["value"]
    rows = []
    for _, group in cells.groupby("setting"):
        first = group.iloc[0]
        gaps = paired(dict(zip(group["run"], group["ood_score"])), reference)
        rows.append({
            **{name: first[name] for name in ("anchor", "resample_every", "sparsity", "member_kind", "learning_rate")},
            **{name: float(group[name].mean()) for name in ("diversity_score", "ensemble_gain_score")},
            "gain_over_full_score": float(gaps.mean()) if gaps.size else float("nan"),
            "distance": float(distances.reindex(group["cell"]).mean()),
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
        _draw_fit(frame["diversity_score"], frame[gain], axes)
        axes.set_title(correlation_text(frame, gain), fontweight="normal", fontsize=7.5)
    if points is not None:
        bar = figure.colorbar(points, ax=list(panels), ticks=range(len(values)), shrink=0.7, aspect=18, pad=0.02)
        bar.ax.set_yticklabels([f"{value:g}" for value in values])
        bar.ax.tick_params(which="both", length=0)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.set_label("mask sparsity p")
    handles = [Line2D([], [], ls="", marker=theme.ANCHOR_MARKERS.get(anchor, "o"), color=theme.FAINT,
                      label=theme.level_name(anchor)) for anchor in anchors]  # fmt: skip
    if frame["member_kind"].ne("visited").any():
        label = "members of one trajectory"
        handles.append(Line2D([], [], ls="", marker="o", mfc="none", mec=theme.FAINT, label=label))
    panels[0].legend(handles=handles, loc="best")
    figure.suptitle("Members' diversity against out-of-distribution gains, one point a GMixout setting",
                    x=0.01, ha="left", fontsize=9.5, fontweight="bold")  # fmt: skip
    return list(panels)


def caption(frame: pd.DataFrame) -> str:
    """What the panels show, with both correlations."""
    found = [f"With {label.split(' (')[0]}: {correlation_text(frame, gain)}".replace("\n", " ")
             for gain, label in GAINS.items()]  # fmt: skip
    return (
        f"Disagreement of a run's members on OOD images ({span(frame['diversity_score'])} %) against two gains, one "
        f"point for each of {counted(len(frame), 'GMixout setting')}, means over seeds. {'. '.join(found)} (95 % "
        "bootstrap over settings, which are not independent of each other). Distance is from the pretrained weights. "
        "Line and band: least squares with its 95 % interval."
    )


def correlation_text(frame: pd.DataFrame, gain: str) -> str:
    """Spearman's correlation of diversity with a gain, alone and at equal distance from the pretrained weights."""
    x, y = frame["diversity_score"], frame[gain]
    plain = rank_correlation(x, y)
    if np.isnan(plain.estimate):
        return "too few settings for a correlation"
    settings = int((x.notna() & y.notna()).sum())
    text = f"Spearman {_spoken(plain)} over {settings} settings"
    partial = rank_correlation(x, y, [frame["distance"]])
    return text if np.isnan(partial.estimate) else f"{text};\n{_spoken(partial)} at equal distance"


def _spoken(found: Interval) -> str:
    return f"{found.estimate:+.2f} [{found.low:+.2f}, {found.high:+.2f}]".replace("-", "−")


def _draw_fit(x: pd.Series, y: pd.Series, axes: Axes) -> None:
    """The least-squares line with its 95 % band, bootstrap over settings."""
    pairs = pd.DataFrame({"x": x, "y": y}).dropna().to_numpy(dtype=float)
    if len(pairs) < FEWEST or np.ptp(pairs[:, 0]) == 0.0:
        return
    at = np.linspace(pairs[:, 0].min(), pairs[:, 0].max(), 50)
    picks = np.random.default_rng(0).integers(len(pairs), size=(1000, len(pairs)))
    lines = _line(pairs[picks], at)
    low, high = np.nanquantile(lines, [0.025, 0.975], axis=0)
    axes.fill_between(at, low, high, color=theme.FAINT, alpha=0.25, lw=0, zorder=1)
    axes.plot(at, _line(pairs[None], at)[0], color="#333333", lw=1.1, zorder=2)


def _line(samples: Floats, at: Floats) -> Floats:
    centre = samples.mean(axis=1)
    left = samples - centre[:, None]
    spread = (left[:, :, 0] ** 2).sum(axis=1)
    slope = np.divide((left[:, :, 0] * left[:, :, 1]).sum(axis=1), spread, out=np.full(len(spread), np.nan),
                      where=spread > 0.0)  # fmt: skip
    return centre[:, 1:] + slope[:, None] * (at - centre[:, :1])


FIGURE = Figure("Members' diversity against OOD gain", table, draw, caption, (theme.WIDTH_INCHES, 3.8))
