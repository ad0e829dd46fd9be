"""Period × sparsity heat maps, one column an anchor: ID, OOD, the members' diversity, and calibration off ID."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle

from analysis import theme
from analysis.design import MAIN_LEVERS, core, grid, level_label, ordered_levels, with_shared_runs
from analysis.figures.figure import Figure, needs
from analysis.figures.maps import draw_map
from analysis.figures.words import counted, listed, percent, span
from analysis.levers import lever_cells
from analysis.outcomes import with_split_means
from analysis.records import Records
from analysis.selection import candidates, select

RESPONSES = ("id_score", "ood_score", "diversity_score", "ood_calibration_error")
COLUMNS = ["anchor", "resample_every", "sparsity", *RESPONSES, "seeds", "diverged", "is_selected",
           "is_shared", "cells"]  # fmt: skip


def table(records: Records) -> pd.DataFrame:
    """One row a (anchor, period, sparsity) of the main design, means over runs and shared learning rates.

    Levels at which only a few settings of the other levers were run are left out (:func:`analysis.design.grid`).

    A run that several anchors share (an endless mask) appears under each. Settings whose every seed diverged or failed
    are kept with NaN scores, so that a hole in the map is explained.
    """
    tried = candidates(records)
    tried = core(tried[tried["method"].eq("gmixout")]).dropna(subset=list(MAIN_LEVERS))
    needs(tried["setting"].nunique() > 1, "GMixout cells at several settings", "run a study that sweeps levers")
    tried = grid(with_shared_runs(tried.drop_duplicates("setting")))
    cells = lever_cells(records, rates="common").query("not is_shared")
    groups = with_split_means(cells, records, "calibration_error").groupby("setting")
    averaged = {str(setting): tuple(sorted(group["cell"])) for setting, group in groups}
    chosen = set(select(records).query("method == 'gmixout'")["setting"])
    frame = tried.join(groups[list(RESPONSES)].mean(), on="setting")
    # A setting without a score keeps the cells that were tried for it.
    frame["cells"] = [averaged.get(row["setting"], row["cells"]) for row in frame.to_dict("records")]
    frame = frame.assign(is_selected=frame["setting"].isin(chosen))
    return frame.sort_values(["anchor", "resample_every", "sparsity"])[COLUMNS].reset_index(drop=True)


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws one map per anchor and response; a frame marks the setting that ID validation chose."""
    anchors = ordered_levels("anchor", frame["anchor"])
    periods = ordered_levels("resample_every", frame["resample_every"])
    sparsities = ordered_levels("sparsity", frame["sparsity"])
    responses = [name for name in RESPONSES if frame[name].notna().any()] or ["id_score"]
    figure.set_size_inches(max(theme.WIDTH_INCHES, 2.4 * len(anchors)), 2.05 * len(responses))
    maps = figure.subplots(len(responses), len(anchors), squeeze=False, sharex=True, sharey=True)
    for row, response in enumerate(responses):
        low, high = frame[response].min(), frame[response].max()
        for column, anchor in enumerate(anchors):
            axes = maps[row, column]
            ours = frame[frame["anchor"].eq(str(anchor))]
            values = np.full((len(sparsities), len(periods)), np.nan)
            for cell in ours.to_dict("records"):
                place = sparsities.index(cell["sparsity"]), periods.index(cell["resample_every"])
                values[place] = cell[response]
                if cell["is_selected"]:
                    axes.add_patch(Rectangle((place[1] - 0.48, place[0] - 0.48), 0.96, 0.96, fill=False, lw=1.6,
                                             ec=theme.look("full").color, zorder=5))  # fmt: skip
                if np.isnan(cell[response]):
                    note = "diverged" if cell["diverged"] else "none"
                    axes.text(place[1], place[0], note, ha="center", va="center", fontsize=6, color=theme.FAINT)
            image = draw_map(values, (low, high), response, axes)
            axes.set_xticks(range(len(periods)), [level_label(period) for period in periods])
            axes.set_yticks(range(len(sparsities)), [level_label(sparsity) for sparsity in sparsities])
            if row == 0:
                axes.set_title(f"anchor: {theme.level_name(anchor)}", fontsize=8.5)
            if row == len(responses) - 1:
                note = "\n(∞: one run for all anchors)" if frame["is_shared"].any() else ""
                axes.set_xlabel(theme.lever_label("resample_every") + note)
            if column == 0:
                axes.set_ylabel("mask sparsity p")
        bar = figure.colorbar(image, ax=list(maps[row]), format=theme.percent_ticks(), aspect=14, pad=0.01)
        bar.set_label(theme.score_label(response))
        bar.outline.set_visible(False)  # type: ignore[operator]
    framed = "; framed: chosen on ID validation" if frame["is_selected"].any() else ""
    figure.suptitle(f"Period and sparsity, mean over seeds and rates (%){framed}",
                    x=0.01, ha="left", fontsize=9.5, fontweight="bold")  # fmt: skip
    return list(maps.ravel())


def caption(frame: pd.DataFrame) -> str:
    """What the maps show, with the span of each response and the setting that was chosen."""
    shown = [name for name in RESPONSES if frame[name].notna().any()]
    spans = [f"{theme.score_label(name, '')} {span(frame[name])}" for name in shown]
    text = f"{counted(len(frame), 'GMixout setting')} over period and sparsity, one column an anchor, means over seeds "
    text += f"and the learning rates that all settings share (%): {listed(spans)}."
    for row in frame[frame["is_selected"]].drop_duplicates(["anchor", "resample_every", "sparsity"]).to_dict("records"):
        text += f" Framed, chosen on ID validation: {row['anchor']} anchor, k = {level_label(row['resample_every'])}, "
        text += f"p = {level_label(row['sparsity'])} ({percent(row['id_score'])} ID, {percent(row['ood_score'])} OOD)."
    if holes := int(frame["id_score"].isna().sum()):
        text += f" {counted(holes, 'setting')} without a score."
    return text


FIGURE = Figure("GMixout over period and sparsity, per anchor", table, draw, caption, (theme.WIDTH_INCHES, 6.2))
