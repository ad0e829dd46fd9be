"""Reliability diagrams: accuracy against confidence, bin by bin, in and out of distribution."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from analysis import theme
from analysis.figures.figure import Figure, needs
from analysis.figures.words import listed, percent
from analysis.levers import lever_study
from analysis.records import Records, among
from analysis.selection import select

SHIFTS = {"id": "ID", "ood": "OOD, all domains together"}
FEWEST = 10
COLUMNS = ["shift", "method", "bin", "confidence", "accuracy", "examples", "calibration_error", "seeds", "cells"]


def table(records: Records) -> pd.DataFrame:
    """One row a (shift, method, bin) of the lever study's methods at the choice of ID validation.

    Bins of equal width in confidence (:func:`analysis.calibration.reliability_curve`). ``confidence`` and ``accuracy``
    are means over the examples of all seeds, and of all OOD domains; ``examples`` counts them. ``calibration_error`` is
    the expected calibration error over these pooled examples, the same in each row of a method and shift; pooling
    seeds and domains cancels errors of opposite sign, so it is at most their mean.
    """
    records = lever_study(records)
    chosen = select(records)
    methods = {cell: row["method"] for row in chosen.to_dict("records") for cell in row["cells"]}
    metrics = records.metrics
    metrics = metrics[among(metrics["cell"], methods) & metrics["weights"].eq("reported")]
    parts = metrics["metric"].str.extract(r"^bin_(?P<kind>confidence|accuracy)_(?P<bin>\d+)(?:_score)?$")
    is_bin = parts["bin"].notna()
    # Asked before anything is assigned: an empty frame would take the rows of what it is given.
    needs(bool(is_bin.any()), "accuracy by confidence", "run the study again: earlier records did not keep it")
    found = metrics[is_bin].assign(kind=parts.loc[is_bin, "kind"], bin=parts.loc[is_bin, "bin"])
    found = found.assign(
        method=found["cell"].astype(object).map(methods),
        shift=np.where(found["split"].eq("id_test"), "id", "ood"),
        bin=found["bin"].astype(int),
        weighted=found["value"] * found["examples"],
    )
    rows = []
    for (shift, method), group in found.groupby(["shift", "method"]):
        sums = group.pivot_table(index="bin", columns="kind", values=["weighted", "examples"], aggfunc="sum")
        examples = sums["examples"]["accuracy"]
        confidence = sums["weighted"]["confidence"] / examples
        accuracy = sums["weighted"]["accuracy"] / examples
        error = float(((confidence - accuracy).abs() * examples).sum() / examples.sum())
        cells = tuple(sorted(set(group["cell"])))
        for number in sums.index:
            rows.append({"shift": shift, "method": method, "bin": int(number), "confidence": confidence[number],
                         "accuracy": accuracy[number], "examples": int(examples[number]), "calibration_error": error,
                         "seeds": len(cells), "cells": cells})  # fmt: skip
    frame = pd.DataFrame(rows, columns=COLUMNS)
    order = {name: place for place, name in enumerate((*SHIFTS, *theme.in_order(frame["method"])))}
    return frame.sort_values(["shift", "method", "bin"], key=lambda column: column.map(lambda v: order.get(v, v)),
                             ignore_index=True)  # fmt: skip


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws ID beside OOD; below the diagonal a model is surer than it is right. Bins of few examples are left out."""
    shown = [shift for shift in SHIFTS if frame["shift"].eq(shift).any()]
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, shift in zip(panels, shown):
        axes.plot([0.0, 1.0], [0.0, 1.0], color=theme.FAINT, lw=0.9, ls=(0, (4, 3)), zorder=1)
        ours = frame[frame["shift"].eq(shift)]
        for method in theme.in_order(ours["method"]):
            look = theme.look(method)
            curve = ours[ours["method"].eq(method)]
            error = curve["calibration_error"].iloc[0]
            curve = curve[curve["examples"].ge(FEWEST)]
            axes.plot(curve["confidence"], curve["accuracy"], color=look.color, marker=look.marker, lw=1.1,
                      ms=7 if look.marker == "*" else 4, mec="white", mew=0.4,
                      label=f"{look.label}, {percent(error)}")  # fmt: skip
        axes.set_title(SHIFTS[shift], fontsize=8.5)
        axes.set(xlabel="confidence (%)", xlim=(0.0, 1.02), ylim=(0.0, 1.02))
        axes.xaxis.set_major_formatter(theme.percent_ticks())
        axes.yaxis.set_major_formatter(theme.percent_ticks())
        axes.legend(loc="upper left", fontsize=6.5, title="calibration error (%)", title_fontsize=6.5)
    panels[0].set_ylabel("accuracy (%)")
    figure.suptitle("Reliability: accuracy against confidence", x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    return list(panels)


def caption(frame: pd.DataFrame) -> str:
    """What is drawn, with each method's calibration error in and out of distribution."""
    errors = frame.groupby(["method", "shift"])["calibration_error"].first().unstack()
    spoken = []
    for method in theme.in_order(map(str, errors.index)):
        pair = " / ".join(percent(float(errors[shift][method])) for shift in SHIFTS if shift in errors)
        spoken.append(f"{theme.look(method).label} {pair}")
    shifts = " / ".join(shift.upper() for shift in SHIFTS if shift in errors)
    return (
        "Accuracy against confidence in bins of equal width, over the examples of all seeds; bins of fewer than "
        f"{FEWEST} examples are not drawn. Expected calibration error of the pooled examples, {shifts} (%): "
        f"{listed(spoken)}. Below the dashed diagonal a method is surer than it is right."
    )


FIGURE = Figure("Reliability", table, draw, caption, (theme.WIDTH_INCHES, 3.9), is_of_main_metric=False)
