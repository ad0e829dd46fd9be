"""Who lies above the line of plain fine-tuning? ID against OOD on probit axes, and each method's distance above it."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy import special

from analysis import theme
from analysis.figures.figure import Figure, needs
from analysis.figures.words import counted, with_interval
from analysis.intervals import t_interval
from analysis.outcomes import outcomes
from analysis.records import Records
from analysis.robustness import Line, effective_robustness_score, fit_line
from analysis.selection import candidates, select

BASELINE = ("zero_shot", "full")
COLUMNS = ["kind", "method", "label", "id_score", "ood_score", "robustness", "low", "high", "slope", "intercept",
           "r_squared", "seeds", "cells"]  # fmt: skip


def table(records: Records) -> pd.DataFrame:
    """Every method against the line through zero-shot and full fine-tuning at each of its learning rates.

    Returns:
        ``kind`` is ``baseline`` (one row a learning rate of full fine-tuning, and zero-shot; means over seeds) or
        ``method`` (at the choice of ID validation, likewise). ``robustness`` is OOD accuracy above the line at a run's
        own ID accuracy, a fraction, with Student's t over seeds (the line held fixed); the line's ``slope``,
        ``intercept`` and ``r_squared`` are on probit axes. Full fine-tuning helped to draw the line, and lies about on
        it.
    """
    tried = candidates(records)
    plain = outcomes(records, tried[tried["method"].isin(BASELINE)])
    plain = plain[plain["weights"].eq("reported")].dropna(subset=["id_score", "ood_score"])
    rates = plain.loc[plain["method"].eq("full"), "learning_rate"].nunique()
    needs(rates > 1, "full fine-tuning at two learning rates or more",
          "run a study that lists several learning_rates for it")  # fmt: skip
    rows = []
    for (method, _), group in plain.groupby(["method", "learning_rate"], dropna=False):
        rows.append({"kind": "baseline", **_means(str(method), group)})
    line = fit_line([row["id_score"] for row in rows], [row["ood_score"] for row in rows])
    results = outcomes(records, select(records))
    results = results[results["weights"].eq("reported")].dropna(subset=["id_score", "ood_score"])
    for method in theme.in_order(results["method"]):
        ours = results[results["method"].eq(method)]
        above = t_interval(effective_robustness_score(ours["id_score"], ours["ood_score"], line))
        ends = {"robustness": above.estimate, "low": above.low, "high": above.high}
        rows.append({"kind": "method", **_means(method, ours), **ends})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.assign(slope=line.slope, intercept=line.intercept, r_squared=line.r_squared)


def draw(frame: pd.DataFrame, figure: Canvas) -> list[Axes]:
    """Draws the plane on probit axes with the line, and below or beside it every method's distance above the line."""
    methods = frame[frame["kind"].eq("method")]
    figure.set_size_inches(theme.WIDTH_INCHES, max(3.4, 0.17 * len(methods) + 1.0))
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
    base = frame[frame["kind"].eq("baseline")]
    line = _line(frame)
    left.plot(_probit(base["id_score"]), _probit(base["ood_score"]), "o", mfc="none", mec="#333333", ms=9, zorder=5)
    known = frame[["id_score", "ood_score"]]
    ends = np.array([known["id_score"].min(), known["id_score"].max()])
    left.plot(_probit(ends), _probit(line.predict(ends)), color="#333333", lw=1.1, zorder=2)
    for row in methods.to_dict("records"):
        look = theme.look(row["method"])
        left.plot(_probit(row["id_score"]), _probit(row["ood_score"]), look.marker, color=look.color, mec="white",
                  mew=0.5, ms=9 if look.marker == "*" else 5, zorder=4)  # fmt: skip
    for axis, name in ((left.xaxis, "id_score"), (left.yaxis, "ood_score")):
        low, high = known[name].min(), known[name].max()
        step = 0.05 if high - low > 0.12 else 0.02
        ticks = np.arange(np.floor(low / step), np.ceil(high / step) + 1) * step
        ticks = ticks[(ticks > 0.0) & (ticks < 1.0)]
        axis.set_major_locator(FixedLocator([float(place) for place in _probit(ticks)]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda place, _: f"{100 * special.ndtr(place):.0f}"))
    left.set(xlabel="ID accuracy (%), probit", ylabel="OOD accuracy (%), probit")
    order = methods.sort_values("robustness")
    for place, row in enumerate(order.to_dict("records")):
        look = theme.look(row["method"])
        if np.isfinite(row["low"]):
            right.plot([row["low"], row["high"]], [place, place], color=look.color, lw=1.0, alpha=0.5)
        right.plot(row["robustness"], place, look.marker, color=look.color, ms=5)
    right.axvline(0.0, color="#333333", lw=0.9, zorder=1)
    reach = methods["robustness"]
    margin = 0.15 * max(reach.max() - reach.min(), 1e-3)
    # Wide intervals of few seeds may leave the axes rather than press the points together.
    right.set_xlim(min(reach.min(), 0.0) - margin, max(reach.max(), 0.0) + margin)
    right.set_yticks(range(len(order)), list(order["label"]), fontsize=6.5)
    right.set_ylim(-0.7, len(order) - 0.3)
    right.set_xlabel("OOD above the line (points)")
    right.xaxis.set_major_formatter(theme.percent_ticks())
    handles = [
        Line2D(
            [],
            [],
            ls="",
            marker="o",
            mfc="none",
            mec="#333333",
            ms=8,
            label="zero-shot, and full fine-tuning\nat each learning rate",
        ),
        Line2D([], [], color="#333333", lw=1.1, label="line through these"),
    ]
    left.legend(handles=handles, loc="best", fontsize=6.5)
    figure.suptitle("Effective robustness: above the line of plain fine-tuning", x=0.01,
                    ha="left", fontsize=9.5, fontweight="bold")  # fmt: skip
    return [left, right]


def caption(frame: pd.DataFrame) -> str:
    """What is drawn, with the line and the methods furthest from it."""
    rows = frame[frame["kind"].eq("method")].sort_values("robustness").to_dict("records")
    line = _line(frame)
    ours = [row for row in rows if row["method"] == "gmixout"]
    spoken = [f"{row['label']} {with_interval(row, 'robustness', 'low', 'high', signed=True)}"
              for row in {row["method"]: row for row in (rows[-1], *ours, rows[0])}.values()]  # fmt: skip
    slope = f"{line.slope:+.2f}".replace("-", "−")
    text = (
        f"OOD against ID accuracy on probit axes, with the least-squares line through {line.models} baselines, means "
    )
    text += (
        f"over seeds: full fine-tuning at each learning rate, and zero-shot (slope {slope}, R² {line.r_squared:.2f}; "
    )
    text += (
        f"where training costs OOD it falls). Right: OOD accuracy of {counted(len(rows), 'method')} above the line at "
    )
    return text + f"their own ID (points, Student's t over seeds, the line held fixed): {'; '.join(spoken)}."


def _means(method: str, rows: pd.DataFrame) -> dict[str, Any]:
    means = {name: float(rows[name].mean()) for name in ("id_score", "ood_score")}
    return {"method": method, "label": theme.look(method).label, **means, "seeds": len(rows),
            "cells": tuple(sorted(rows["cell"]))}  # fmt: skip


def _line(frame: pd.DataFrame) -> Line:
    first, models = frame.iloc[0], int(frame["kind"].eq("baseline").sum())
    return Line("probit", float(first["slope"]), float(first["intercept"]), models, 0, float(first["r_squared"]))


def _probit(fractions: object) -> np.ndarray:
    return np.asarray(special.ndtri(np.asarray(fractions, dtype=np.float64)))


FIGURE = Figure("Effective robustness", table, draw, caption, (theme.WIDTH_INCHES, 3.8))
