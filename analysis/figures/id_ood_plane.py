"""The ID–OOD plane of GMixout and its references, their WiSE-FT curves, and the cloud of GMixout settings."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from analysis import theme
from analysis.design import ordered_levels
from analysis.figures.figure import Figure, needs
from analysis.figures.words import counted, id_and_ood, span
from analysis.levers import lever_cells, lever_study
from analysis.outcomes import outcomes
from analysis.records import Records
from analysis.selection import select
from analysis.tables import summary

COLUMNS = ["kind", "method", "alpha", "anchor", "resample_every", "sparsity", "learning_rate", "seeds",
           "id_score", "id_low", "id_high", "ood_score", "ood_low", "ood_high", "cells"]  # fmt: skip


def table(records: Records) -> pd.DataFrame:
    """Every point of the plane, means over seeds; of the methods of the lever study alone.

    Returns:
        ``kind`` is ``method`` (chosen on ID validation, with intervals), ``wise`` (one row a coefficient),
        ``wise_selected`` (the coefficient chosen on ID validation) or ``setting`` (a GMixout setting at its chosen
        learning rate); columns ``COLUMNS``.
    """
    records = lever_study(records)
    methods = summary(records)
    needs(bool(methods["ood_score"].notna().any()) if len(methods) else False, "ID and OOD accuracies", "run a study")
    methods = methods.rename(columns={f"{s}_score_{e}": f"{s}_{e}" for s in ("id", "ood") for e in ("low", "high")})
    kinds = methods["weights"].map({"reported": "method", "wise": "wise_selected"})
    curves = outcomes(records, select(records))
    curves = _means(curves[curves["weights"].eq("wise")], ["method", "alpha"], "wise")
    settings = lever_cells(records).query("not is_shared")
    # Published results may not tell their levers; then there is no cloud of settings.
    settings = settings[settings["sparsity"].notna()]
    cloud = _means(settings, ["method", "setting"], "setting")
    parts = [part for part in (methods.assign(kind=kinds), curves, cloud) if len(part)]
    whole = pd.concat([part.reindex(columns=COLUMNS).astype(object) for part in parts], ignore_index=True)
    whole = whole.dropna(subset=["id_score", "ood_score"]).reset_index(drop=True)
    return whole.astype({name: "float64" for name in COLUMNS if name.endswith(("score", "low", "high"))} | {
        "alpha": "float64", "sparsity": "float64", "resample_every": "float64"})  # fmt: skip


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws the plane; colour of a small point is the sparsity of a GMixout setting."""
    axes = figure.add_subplot()
    cloud = frame[frame["kind"].eq("setting")]
    levels = ordered_levels("sparsity", cloud["sparsity"])
    if len(cloud):
        _draw_cloud(cloud, levels, axes, figure)
    handles = []
    for method in theme.in_order(frame.loc[frame["kind"].eq("method"), "method"]):
        look = theme.look(method)
        ours = frame[frame["method"].eq(method)]
        curve = ours[ours["kind"].eq("wise")].sort_values("alpha")
        axes.plot(curve["id_score"], curve["ood_score"], color=look.color, lw=1.1, alpha=0.75, zorder=3)
        axes.plot(curve["id_score"], curve["ood_score"], ".", color=look.color, ms=2.8, alpha=0.75, zorder=3)
        chosen = ours[ours["kind"].eq("wise_selected")]
        axes.plot(chosen["id_score"], chosen["ood_score"], look.marker, mfc="white", mec=look.color, mew=1.2, zorder=5)
        point = ours[ours["kind"].eq("method")].iloc[0]
        x, y = float(point["id_score"]), float(point["ood_score"])
        if np.isfinite([point["id_low"], point["ood_low"]]).all():
            axes.plot([point["id_low"], point["id_high"]], [y, y], color=look.color, lw=0.8, alpha=0.6, zorder=4)
            axes.plot([x, x], [point["ood_low"], point["ood_high"]], color=look.color, lw=0.8, alpha=0.6, zorder=4)
        size = 12 if look.marker == "*" else 7.5
        axes.plot(x, y, look.marker, color=look.color, ms=size, mec="white", mew=0.8, zorder=6)
        handles.append(Line2D([], [], marker=look.marker, color=look.color, ls="", ms=size * 0.8, label=look.label))
    if frame["kind"].eq("wise").any():
        handles.append(Line2D([], [], color=theme.FAINT, marker=".", lw=1.1, label="WiSE-FT, α = 0 … 1"))
    if frame["kind"].eq("wise_selected").any():
        handles.append(Line2D([], [], marker="o", mfc="white", mec=theme.FAINT, ls="", label="WiSE-FT, α chosen"))
    if len(cloud):
        handles.append(Line2D([], [], marker="o", color=theme.FAINT, ls="", ms=4, label="every GMixout setting"))
    if frame["ood_low"].notna().any():
        handles.append(Line2D([], [], color=theme.FAINT, lw=0.8, label="95 % over seeds and images"))
    axes.legend(handles=handles, loc="best")
    axes.set(xlabel="ID accuracy (%)", ylabel="OOD accuracy, mean of the domains (%)")
    axes.set_title("In and out of distribution: methods at their settings chosen on ID validation")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(theme.percent_ticks())
    return [axes]


def caption(frame: pd.DataFrame) -> str:
    """What the plane shows, with the methods' accuracies and the span of the settings."""
    methods, cloud = frame[frame["kind"].eq("method")], frame[frame["kind"].eq("setting")]
    text = f"Accuracy in and out of distribution (ID / OOD, %) of {counted(len(methods), 'method')}, each at the "
    text += f"learning rate and setting that ID validation chose: {id_and_ood(methods)}. "
    if methods["ood_low"].notna().any():
        text += "Bars: 95 % bootstrap intervals over seeds and test images. "
    if frame["kind"].eq("wise").any():
        text += "Lines: WiSE-FT, means over seeds. "
    if frame["kind"].eq("wise_selected").any():
        text += "Hollow marks: its coefficient chosen on ID validation. "
    if len(cloud):
        text += f"Dots: {counted(len(cloud), 'GMixout setting')}, each at the rate that ID validation chose for it; "
        text += f"they span {span(cloud['id_score'])} % ID and {span(cloud['ood_score'])} % OOD."
    return text.strip()


def _draw_cloud(cloud: pd.DataFrame, levels: list[object], axes: Axes, figure: Canvas) -> None:
    values = [float(str(level)) for level in levels]
    positions = [values.index(value) for value in cloud["sparsity"]]
    norm = BoundaryNorm(np.arange(len(values) + 1) - 0.5, len(values))
    colors = theme.sequence_colors(len(values))
    points = axes.scatter(cloud["id_score"], cloud["ood_score"], c=positions, cmap=colors, norm=norm, s=17,
                          linewidths=0.4, edgecolors="white", zorder=2)  # fmt: skip
    if len(values) < 2:
        return
    bar = figure.colorbar(points, ax=axes, ticks=range(len(values)), shrink=0.55, aspect=16, pad=0.02)
    bar.ax.set_yticklabels([f"{value:g}" for value in values])
    bar.ax.tick_params(which="both", length=0)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.set_label("GMixout mask sparsity p")


def _means(rows: pd.DataFrame, by: list[str], kind: str) -> pd.DataFrame:
    if rows.empty:
        return pd.DataFrame(columns=COLUMNS)
    groups = rows.groupby(by, sort=True)
    firsts = groups[["anchor", "resample_every", "sparsity", "learning_rate"]].first()
    means = groups[["id_score", "ood_score"]].mean()
    cells = pd.Series([tuple(sorted(group["cell"])) for _, group in groups], index=means.index, name="cells")
    frame = pd.concat([firsts, means, groups.size().rename("seeds"), cells], axis=1).reset_index()
    return frame.assign(kind=kind)


FIGURE = Figure("The ID–OOD plane of GMixout and its references", table, draw, caption, (theme.WIDTH_INCHES, 5.0))
