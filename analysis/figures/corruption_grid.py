"""Every method on every kind of corruption: accuracy, and the difference to full fine-tuning as colour."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from analysis import theme
from analysis.design import with_setting
from analysis.figures.figure import Figure, needs
from analysis.figures.words import counted, percent
from analysis.intervals import paired
from analysis.metric import main_metrics
from analysis.records import Records, among
from analysis.selection import select
from analysis.shifts import SEVERITIES

KINDS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
MEAN = "mean"
COLUMNS = ["method", "kind", "score", "difference", "seeds", "paired_seeds", "cells"]


def table(records: Records) -> pd.DataFrame:
    """One row a (method, corruption kind), and one a method with kind ``mean``: means over severities and seeds.

    ``difference`` is to full fine-tuning with the same seeds, both at the choice of ID validation; zero-shot, which has
    no seed, is compared with the mean of all.
    """
    chosen = select(records)
    cells = {cell for names in chosen["cells"] for cell in names}
    metrics = records.metrics[among(records.metrics["cell"], cells) & records.metrics["weights"].eq("reported")]
    metrics = metrics[metrics["split"].str.startswith("corruption/")]
    main = metrics["cell"].astype(object).map(main_metrics(records))
    metrics = metrics[metrics["metric"].astype(object).eq(main).to_numpy(dtype=bool)]
    needs(len(metrics) > 0, "accuracies on corruptions", "run a study that evaluates them")
    parts = metrics["split"].str.split("/", expand=True)
    whole = metrics.assign(kind=parts[1]).groupby(["cell", "kind"])["value"].agg(["mean", "count"]).reset_index()
    # A kind without all severities is no mean over them.
    whole = whole[whole["count"].eq(len(SEVERITIES))].rename(columns={"mean": "score"})
    kinds = whole["kind"].nunique()
    means = whole.groupby("cell")["score"].agg(["mean", "count"]).reset_index()
    means = means[means["count"].eq(kinds)].rename(columns={"mean": "score"}).assign(kind=MEAN)
    runs = with_setting(records.cells[among(records.cells["cell"], cells)])[["cell", "method", "run"]]
    scores = pd.concat([whole, means], ignore_index=True).merge(runs, on="cell")
    needs(bool(scores["method"].eq("full").any()), "full fine-tuning on corruptions", "run it in the same study")
    base = {kind: dict(zip(group["run"], group["score"]))
            for kind, group in scores[scores["method"].eq("full")].groupby("kind")}  # fmt: skip
    rows = []
    for (method, kind), group in scores.groupby(["method", "kind"]):
        reference = base.get(str(kind), {})
        gaps = paired(dict(zip(group["run"], group["score"])), reference)
        if method == "zero_shot" and reference:
            gaps = np.asarray(group["score"].mean() - np.array(list(reference.values())))
        rows.append({
            "method": method, "kind": kind, "score": group["score"].mean(), "seeds": len(group),
            "difference": gaps.mean() if gaps.size else float("nan"), "paired_seeds": gaps.size,
            "cells": tuple(sorted(group["cell"])),
        })  # fmt: skip
    frame = pd.DataFrame(rows, columns=COLUMNS)
    methods, order = theme.in_order(frame["method"]), _kinds(frame["kind"])
    places = [(methods.index(row["method"]), order.index(row["kind"])) for row in frame.to_dict("records")]
    return frame.iloc[sorted(range(len(frame)), key=places.__getitem__)].reset_index(drop=True)


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws methods down and kinds across, in CIFAR-C's groups; blue is better than full fine-tuning, red worse."""
    methods, kinds = theme.in_order(frame["method"]), _kinds(frame["kind"])
    figure.set_size_inches(theme.WIDTH_INCHES, max(0.185 * len(methods) + 1.7, 3.2))
    axes = figure.add_subplot()
    differences, scores = (
        frame.pivot(index="method", columns="kind", values=name).reindex(index=methods, columns=kinds).to_numpy(float)
        for name in ("difference", "score")
    )
    reach = float(np.nanmax(np.abs(differences))) or 0.01
    image = axes.imshow(differences, aspect="auto", cmap="RdBu", vmin=-reach, vmax=reach)
    for (row, column), score in np.ndenumerate(scores):
        if np.isfinite(score):
            is_dark = abs(differences[row, column]) > 0.6 * reach
            axes.text(column, row, f"{100 * score:.0f}", ha="center", va="center", fontsize=6.2,
                      color="white" if is_dark else "#222222")  # fmt: skip
    axes.set_xticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds], rotation=45, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(range(len(methods)), [theme.look(method).label for method in methods])
    axes.tick_params(length=0, labelsize=6.5)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    place = -0.5
    for group in KINDS.values():
        place += sum(kind in kinds for kind in group)
        axes.axvline(place, color="white", lw=2.0)
    bar = figure.colorbar(image, ax=axes, format=theme.percent_ticks(), aspect=26, pad=0.01)
    bar.set_label("− full fine-tuning (points)")
    bar.outline.set_visible(False)  # type: ignore[operator]
    figure.suptitle("Accuracy by kind of corruption (%, mean of 5 severities); colour: against full fine-tuning",
                    x=0.01, ha="left", fontsize=9.5, fontweight="bold")  # fmt: skip
    return [axes]


def caption(frame: pd.DataFrame) -> str:
    """What the grid shows, with the kinds on which GMixout gains and loses most."""
    kinds = frame.loc[frame["kind"].ne(MEAN), "kind"].nunique()
    text = f"Accuracy (%) of {counted(frame['method'].nunique(), 'method')} on {counted(kinds, 'kind')} of corruption, "
    text += "means over severities and seeds; colour: points above (blue) or below (red) full fine-tuning, the same "
    text += "seeds."
    ours = frame[frame["method"].eq("gmixout") & frame["kind"].ne(MEAN)].dropna(subset=["difference"])
    if len(ours):
        worst, best = ours.sort_values("difference").iloc[[0, -1]].to_dict("records")
        ahead = int(ours["difference"].gt(0.0).sum())
        text += f" GMixout is above it on {ahead} of {len(ours)}: most on {_spoken(best)}, least on {_spoken(worst)}."
    return text + " Differences are means over seeds without a test."


def _spoken(row: Mapping[Hashable, Any]) -> str:
    return f"{row['kind'].replace('_', ' ')} ({percent(row['difference'], signed=True)})"


def _kinds(found: pd.Series) -> list[str]:
    known = [kind for group in KINDS.values() for kind in group]
    here = set(map(str, found))
    return [kind for kind in known if kind in here] + sorted(here - {*known, MEAN}) + [MEAN] * (MEAN in here)


FIGURE = Figure("Corruptions by kind", table, draw, caption, (theme.WIDTH_INCHES, 4.0))
