"""Cost against accuracy: time, memory, parameters at once and over the run, each with its Pareto front."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis import theme
from analysis.figures.figure import Figure, needs
from analysis.figures.rivals import draw_numbers
from analysis.figures.words import counted, listed, percent
from analysis.pareto import pareto_front
from analysis.records import Records
from analysis.tables import costs, summary

COSTS = {
    "train_time_s": "training time",
    "stored_floats": "numbers held in memory",
    "trained_per_episode": "parameters trained at once",
    "touched_over_run": "parameters trained over the run",
}
SCORES = {"ood": "OOD accuracy (%)", "id": "ID accuracy (%)"}
FRONTS = [f"is_on_{score}_{cost}_front" for score in SCORES for cost in COSTS]
COLUMNS = ["number", "method", "label", *(f"{score}_{part}" for score in SCORES for part in ("score", "low", "high")),
           *(f"{cost}_ratio" for cost in COSTS), *FRONTS, "seeds", "cells"]  # fmt: skip


def table(records: Records) -> pd.DataFrame:
    """One row a method at the choice of ID validation: accuracies with intervals, costs as multiples of full's.

    ``is_on_{score}_{cost}_front`` marks what no method beats at this cost or less; zero-shot, which costs no
    training, counts where its cost is not 0. ``number`` names a method that is on a front. Time was measured on
    whatever the records' device is, shared with other work perhaps; the other costs are counts. The search for
    settings, and for soups and ensembles the storage of their ingredients, are not counted.
    """
    methods = summary(records)
    methods = methods[methods["weights"].eq("reported")]
    ends = {f"{score}_score_{end}": f"{score}_{end}" for score in SCORES for end in ("low", "high")}
    methods = methods.rename(columns=ends).dropna(subset=["id_score", "ood_score"])
    prices = costs(records)[["method", *(f"{cost}_ratio" for cost in COSTS)]]
    frame = methods.merge(prices, on="method")
    known = frame[[f"{cost}_ratio" for cost in COSTS]]
    needs(len(frame) > 1 and bool(known.notna().any(axis=None)), "costs relative to full fine-tuning",
          "run full fine-tuning in the same study")  # fmt: skip
    for cost in COSTS:
        ratio = frame[f"{cost}_ratio"].where(frame[f"{cost}_ratio"].gt(0.0))
        for score in SCORES:
            frame[f"is_on_{score}_{cost}_front"] = pareto_front(-ratio, frame[f"{score}_score"])
    frame["label"] = [theme.look(method).label for method in frame["method"]]
    is_named = frame[FRONTS].any(axis=1)
    frame["number"] = is_named.cumsum().where(is_named).astype("Int64")
    return frame[COLUMNS].reset_index(drop=True)


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws OOD above ID, one column a cost; numbers and the key below name the methods on a front."""
    shown = [cost for cost in COSTS if frame[f"{cost}_ratio"].gt(0.0).any()]
    grid = figure.subplots(len(SCORES), len(shown), squeeze=False, sharey="row", sharex="col")
    width, height = figure.get_size_inches()
    for row, (score, label) in enumerate(SCORES.items()):
        for column, cost in enumerate(shown):
            axes = grid[row, column]
            points = frame[frame[f"{cost}_ratio"].gt(0.0)]
            for point in points.to_dict("records"):
                look = theme.look(point["method"])
                x, ends = point[f"{cost}_ratio"], [point[f"{score}_low"], point[f"{score}_high"]]
                axes.plot([x, x], ends, color=look.color, lw=0.5, alpha=0.3, zorder=2)
                axes.plot(x, point[f"{score}_score"], look.marker, ms=6 if look.marker == "*" else 3.8,
                          color=look.color, mec="white", mew=0.4, zorder=4)  # fmt: skip
            front = points[points[f"is_on_{score}_{cost}_front"]].sort_values(f"{cost}_ratio")
            reach = points[f"{cost}_ratio"].min() / 1.4, points[f"{cost}_ratio"].max() * 1.4
            axes.plot([*front[f"{cost}_ratio"], reach[1]], [*front[f"{score}_score"], front[f"{score}_score"].max()],
                      drawstyle="steps-post", color="#333333", lw=0.9, zorder=3)  # fmt: skip
            axes.set_xscale("log")
            axes.set_xlim(*reach)
            if column == 0:
                axes.set_ylabel(label)
                low, high = frame[f"{score}_score"].min(), frame[f"{score}_score"].max()
                margin = 0.07 * max(high - low, 1e-3)
                axes.set_ylim(low - margin, high + margin)
                axes.yaxis.set_major_formatter(theme.percent_ticks())
            axes.xaxis.set_major_locator(FixedLocator(_ticks(*reach)))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            inches = (width - 0.6) / len(shown) - 0.12, 0.72 * height / len(SCORES) - 0.2
            named = front.assign(number=front["number"].astype(int))
            draw_numbers(named, f"{cost}_ratio", f"{score}_score", [4.0] * len(front), axes, inches)
    for axes, cost in zip(grid[-1], shown):
        axes.set_xlabel(COSTS[cost].replace(" held", "\nheld").replace(" trained", "\ntrained") + "\n(full = 1)")
    named = frame.dropna(subset=["number"])
    handles = [Line2D([], [], ls="", marker=theme.look(row["method"]).marker, color=theme.look(row["method"]).color,
                      label=f"{row['number']}  {row['label']}") for row in named.to_dict("records")]  # fmt: skip
    handles.append(Line2D([], [], color="#333333", lw=0.9, label="best at this cost or less"))
    figure.legend(handles=handles, loc="outside lower left", ncols=3, fontsize=6.5)
    figure.suptitle("What accuracy costs; numbered: methods on a front", x=0.01, ha="left", fontsize=9.5,
                    fontweight="bold")  # fmt: skip
    return list(grid.ravel())


def caption(frame: pd.DataFrame) -> str:
    """What is drawn, with the methods on each OOD front and GMixout's costs."""
    fronts = []
    for cost, word in COSTS.items():
        ours = frame[frame[f"is_on_ood_{cost}_front"]].sort_values(f"{cost}_ratio")
        if len(ours):
            names = [f"{row['label']} ({row[f'{cost}_ratio']:.2g}×, {percent(row['ood_score'])})"
                     for row in ours.to_dict("records")]  # fmt: skip
            fronts.append(f"{word}: {listed(names)}")
    text = f"Accuracy of {counted(len(frame), 'method')} at the choice of ID validation against four costs, each as a "
    text += (
        "multiple of full fine-tuning's; what costs nothing has no place on a logarithmic axis. Best OOD at this cost "
    )
    text += f"or less, by {'; by '.join(fronts)}. "
    for row in frame[frame["method"].eq("gmixout")].to_dict("records"):
        text += "GMixout: " + listed(f"{row[f'{cost}_ratio']:.2g}× {word}" for cost, word in COSTS.items()
                                     if np.isfinite(row[f"{cost}_ratio"])) + ". "  # fmt: skip
    return text + "Time is as measured on the device of the records; the search for settings is not counted."


def _ticks(low: float, high: float) -> list[float]:
    """Powers of 2 in a short range, of 10 in a long one."""
    base = 2.0 if high / low < 50.0 else 10.0
    powers = [power for power in range(-12, 13) if low <= base**power <= high]
    stride = -(-len(powers) // 5)
    # 1 is full fine-tuning, and always told.
    return [base**power for power in powers if power % stride == 0]


FIGURE = Figure("Costs and their fronts", table, draw, caption, (theme.WIDTH_INCHES, 5.4))
