"""What accuracy costs: OOD and ID of all methods against training, with the forward passes that an answer needs."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis import theme
from analysis.figures.figure import Figure, needs
from analysis.figures.rivals import KEY_SHARE, POINT_COLUMNS, draw_numbers, numbered_points, with_key
from analysis.figures.words import counted, listed
from analysis.pareto import pareto_front
from analysis.records import Records
from analysis.tables import costs

PANELS = {"ood": "OOD accuracy (%)", "id": "ID accuracy (%)"}
COLUMNS = ["kind", *POINT_COLUMNS, "training_flops_ratio", "inference_passes", "is_on_ood_front", "is_on_id_front"]
SIZE = (theme.WIDTH_INCHES, 6.8)


def table(records: Records) -> pd.DataFrame:
    """Every method's accuracies and costs at the choice of ID validation.

    Returns:
        ``kind`` is ``method``, or ``free`` where nothing is trained (zero-shot: no place on a logarithmic axis); the
        ``number`` is that of ``rivals_plane``; ``training_flops_ratio`` is to full fine-tuning, runs that a method is
        built from included, the search for its settings not; ``is_on_*_front`` marks what no method beats that trains
        as little and does train. A method whose training was not counted has no row.
    """
    points = numbered_points(records)
    known = costs(records)[["method", "training_flops_ratio", "inference_passes"]]
    frame = points.merge(known, on="method").dropna(subset=["training_flops_ratio"]).reset_index(drop=True)
    needs(bool(frame["training_flops_ratio"].gt(0.0).any()), "training costs relative to full fine-tuning",
          "run full fine-tuning in the same study")  # fmt: skip
    frame = frame.assign(kind=np.where(frame["training_flops_ratio"].gt(0.0), "method", "free"))
    for name in PANELS:
        trained = frame[f"{name}_score"].where(frame["kind"].eq("method"))
        frame[f"is_on_{name}_front"] = pareto_front(-frame["training_flops_ratio"], trained)
    return frame[COLUMNS]


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws OOD above ID; the area of a point grows with its forward passes."""
    panels = with_key(frame, figure, panels=len(PANELS))
    points, free = frame[frame["kind"].eq("method")], frame[frame["kind"].eq("free")]
    width, height = figure.get_size_inches()
    for axes, (name, label) in zip(panels, PANELS.items()):
        scores = points[f"{name}_score"]
        margin = 0.07 * max(scores.max() - scores.min(), 1e-3)
        limits = scores.min() - margin, scores.max() + margin
        for line in free.to_dict("records"):
            limits = _draw_free(line, line[f"{name}_score"], limits, axes)
        for point in points.to_dict("records"):
            look = theme.look(point["method"])
            x, y = point["training_flops_ratio"], point[f"{name}_score"]
            ends = [point[f"{name}_low"], point[f"{name}_high"]]
            axes.plot([x, x], ends, color=look.color, lw=0.5, alpha=0.35, zorder=3)
            axes.plot(x, y, "o", ms=_size(1.0), color=look.color, mec="white", mew=0.5, zorder=6)
            if point["inference_passes"] > 1.0:
                # A ring, not a disc: a disc would hide the points that it is compared with.
                axes.plot(x, y, "o", ms=_size(point["inference_passes"]), mfc="none", mec=look.color, mew=0.9, zorder=5)
        front = frame[frame[f"is_on_{name}_front"]].sort_values("training_flops_ratio")
        low, high = points["training_flops_ratio"].min() / 1.25, points["training_flops_ratio"].max() * 1.25
        x, y = [*front["training_flops_ratio"], high], [*front[f"{name}_score"], front[f"{name}_score"].max()]
        axes.plot(x, y, drawstyle="steps-post", color="#333333", lw=1.1, zorder=4)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(*limits)
        axes.set_ylabel(label)
        axes.yaxis.set_major_formatter(theme.percent_ticks())
        axes.xaxis.set_major_locator(FixedLocator([2.0**power for power in range(-12, 13)]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        inches = (1.0 - KEY_SHARE) * width - 0.6, (height - 1.1) / len(PANELS) - 0.2
        marks = [_size(passes) for passes in points["inference_passes"]]
        draw_numbers(points, "training_flops_ratio", f"{name}_score", marks, axes, inches)
    panels[0].tick_params(labelbottom=False)
    panels[-1].set_xlabel("floating-point operations of training, full fine-tuning = 1")
    figure.legend(handles=_handles(points, free), loc="outside lower left", ncols=3)
    figure.suptitle("What accuracy costs: every method at its setting chosen on ID validation",
                    x=0.01, ha="left", fontsize=9.5, fontweight="bold")  # fmt: skip
    return panels


def _draw_free(
    line: Mapping[Hashable, Any], score: float, limits: tuple[float, float], axes: Axes
) -> tuple[float, float]:
    """Draws what costs nothing as a line and returns the limits with it, or notes it at the edge if it is far off."""
    (low, high), color = limits, theme.look(line["method"]).color
    reach = 0.4 * (high - low)
    if low - reach <= score <= high + reach:
        axes.axhline(score, color=color, lw=0.9, ls=(0, (4, 3)), zorder=1)
        return min(low, score - 0.1 * reach), max(high, score + 0.1 * reach)
    is_above = score > high
    note = f"{line['label']} {100 * score:.1f} {'↑' if is_above else '↓'}"
    axes.text(0.98, 0.97 if is_above else 0.03, note, transform=axes.transAxes, ha="right", fontsize=6.5, color=color,
              va="top" if is_above else "bottom")  # fmt: skip
    return limits


def caption(frame: pd.DataFrame) -> str:
    """What the panels show, with the methods on each front and the spread of the costs."""
    points = frame[frame["kind"].eq("method")]
    ratios = points["training_flops_ratio"]
    fronts = []
    for name, word in (("ood", "OOD"), ("id", "ID")):
        ours = points[points[f"is_on_{name}_front"]].sort_values("training_flops_ratio")
        fronts.append(f"{word}: {listed(map(str, ours['label']))}")
    return (
        f"Accuracy of {counted(len(points), 'trained method')} against the operations of its training, "
        f"{ratios.min():.2f} to {ratios.max():.2f} times full fine-tuning's, the search for settings not counted. Best "
        f"at their cost or less, {'; '.join(fronts)}. Rings: several forward passes an answer. Bars: 95 % over "
        "seeds and test images."
    )


def _size(passes: float) -> float:
    return 5.0 * float(np.sqrt(min(passes, 10.0))) if np.isfinite(passes) else 5.0


def _handles(points: pd.DataFrame, free: pd.DataFrame) -> list[Line2D]:
    handles = [Line2D([], [], color="#333333", lw=1.1, label="best at this cost or less")]
    for line in free.to_dict("records"):
        look = theme.look(line["method"])
        label = f"{line['number']}  {look.label}"
        handles.append(Line2D([], [], color=look.color, lw=0.9, ls=(0, (4, 3)), label=label))
    if np.isfinite(points[["id_low", "ood_low"]]).any(axis=None):
        handles.append(Line2D([], [], color=theme.FAINT, lw=0.5, marker="|", ms=7, label="95 % over seeds and images"))
    for passes in sorted(points["inference_passes"].dropna().unique()):
        label = f"{passes:g} forward pass{'' if passes == 1 else 'es'}"
        face, edge = (theme.FAINT, "white") if passes == 1 else ("none", theme.FAINT)
        handles.append(Line2D([], [], marker="o", ls="", ms=_size(passes), mfc=face, mec=edge, label=label))
    return handles


FIGURE = Figure("Accuracy of all methods against the cost of training", table, draw, caption, SIZE)
