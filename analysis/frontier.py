"""Methods compared at matched ID: each method's curve of ID and OOD over learning rates, and where two curves meet.

At one common learning rate any method that moves the weights less looks more robust. Along its learning-rate frontier
every method moves little and much; the question is who keeps more OOD where both have the same ID.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis import theme
from analysis.design import PLACE, with_setting
from analysis.intervals import bootstrap_interval, paired, t_interval
from analysis.metric import main_metrics
from analysis.records import LEVERS, Records, among
from analysis.selection import select
from analysis.shifts import shift_scores

_CURVE = [*PLACE, "method", "setting"]
_SCORES = ["id_score", "ood_score"]
FRONTIER_COLUMNS = [*_CURVE, "learning_rate", *LEVERS, "id_score", "id_lowest", "id_highest", "ood_score", "ood_lowest",
                    "ood_highest", "runs", "missing", "diverged", "cells"]  # fmt: skip
MATCHED_COLUMNS = [*_CURVE, *LEVERS, "is_selected", "at", "rates", "lowest_id_score", "highest_id_score",
                   "matched_id_score", "ood_score", "ood_score_low", "ood_score_high", "ood_difference",
                   "ood_difference_low", "ood_difference_high", "ood_difference_t_low", "ood_difference_t_high", "runs",
                   "reached", "diverged", "cells"]  # fmt: skip


def on_frontier(records: Records) -> Records:
    """The cells of the settings that were tried at two learning rates or more, whatever became of them."""
    cells = with_setting(records.cells)
    rates = cells.groupby(_CURVE)["learning_rate"].transform("nunique")
    return records.keep(cells.loc[rates.ge(2), "cell"])


def frontier(records: Records) -> pd.DataFrame:
    """ID and OOD of the reported weights at each learning rate of the settings that were tried at two or more.

    A diverged run has no score: its rate keeps its row, with the mean over the runs that are left (NaN if none is) and
    the number that diverged. That mean is over survivors and flatters the rate.

    Returns:
        One row a (setting, learning rate), rates ascending: ``benchmark``, ``backbone``, ``method``, ``setting``,
        ``learning_rate``, levers; ``id_score`` and ``ood_score`` (means over runs, fractions) with their ``*_lowest``
        and ``*_highest`` run; ``runs`` (with both numbers), ``missing`` (runs that the setting has at another rate,
        failed ones included), ``diverged``; ``cells`` (tuple of the hashes behind the means).
    """
    rows: list[dict[str, Any]] = []
    for key, curve in _points(on_frontier(records)).groupby(_CURVE, sort=True):
        runs = curve["run"].nunique()
        for rate, tried in curve.groupby("learning_rate", sort=True):
            known = tried.dropna(subset=_SCORES)
            row = dict(zip(_CURVE, key)) | {"learning_rate": rate} | {name: tried[name].iloc[0] for name in LEVERS}
            for name in ("id", "ood"):
                values = known[f"{name}_score"]
                row |= {f"{name}_score": values.mean(), f"{name}_lowest": values.min(), f"{name}_highest": values.max()}
            diverged = int(tried["status"].eq("diverged").sum())
            row |= {"runs": len(known), "missing": runs - len(known) - diverged, "diverged": diverged}
            rows.append(row | {"cells": tuple(sorted(known["cell"]))})
    return pd.DataFrame(rows, columns=FRONTIER_COLUMNS)


def ood_on_curve(id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike, id_score: float) -> float:
    r"""OOD where a curve of straight pieces has a given ID; the best one if it does so more than once.

    .. math:: \max_j\; y_j + \frac{t - x_j}{x_{j+1} - x_j}\,(y_{j+1} - y_j)
              \quad\text{over the pieces whose ends enclose } t

    Args:
        id_scores: ID :math:`x` of the points in the order of the curve, shape ``(points,)``. A NaN, here or in
            ``ood_scores``, is a hole: it is never bridged.
        ood_scores: OOD :math:`y`, same shape.
        id_score: The ID :math:`t` to match.

    Returns:
        The OOD; NaN where the curve never has this ID. Nothing is extrapolated.

    Raises:
        ValueError: If the shapes differ or are not one-dimensional.

    Example:
        >>> ood_on_curve([0.5, 0.75, 0.5], [0.875, 0.75, 0.25], 0.625)
        0.8125
        >>> ood_on_curve([0.5, 0.75, 0.5], [0.875, 0.75, 0.25], 0.8)
        nan
    """
    x, y = np.asarray(id_scores, dtype=np.float64), np.asarray(ood_scores, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"a curve has one ID and one OOD a point, shape (points,), got shapes {x.shape} and {y.shape}")
    found = list(y[x == id_score])
    for x0, x1, y0, y1 in zip(x[:-1], x[1:], y[:-1], y[1:]):
        if min(x0, x1) < id_score < max(x0, x1):
            found.append(y0 + (id_score - x0) / (x1 - x0) * (y1 - y0))
    known = [float(value) for value in found if not np.isnan(value)]
    return max(known, default=float("nan"))


def ood_at_matched_id(
    records: Records,
    reference: str = "full",
    at: str = "reference",
    seed: int = 0,
    level: float = 0.95,
    draws: int = 2000,
) -> pd.DataFrame:
    """Each method's OOD minus the reference's where both have the same ID, run by run.

    One side stands still: its run at the learning rate and setting that ID validation chose. The other moves along its
    own frontier, of the setting that ID validation prefers among those with two learning rates or more, until its ID
    *in the same run* is that of the first; its OOD there is interpolated by :func:`ood_on_curve` between neighbouring
    rates. Settings and the rate of the standing side are chosen as in :func:`analysis.selection.select`.

    This describes, it does not select: the axis of the match is ID **test**, so no learning rate found this way may be
    reported as a method's result. The better of several crossings is taken, which flatters the side that moves; with
    ``at`` the sides swap. The means are over the runs that reached the ID; where ``reached`` is below ``runs`` they
    are over a part, chosen by the outcome. A method without a second rate (``rates`` 1) cannot move and reaches an ID
    by chance only; zero-shot has no learning rate and no row.

    Args:
        records: Any records.
        reference: Method of the paired differences, or its plainest form (:func:`analysis.theme.plainest`).
        at: ``reference``: the reference stands still and each method moves to its ID; ``method``: each method stands
            still and the reference moves.
        seed: Of the bootstrap's draws.
        level: Nominal coverage.
        draws: Bootstrap resamples.

    Returns:
        Per (benchmark, backbone) a row a method in theme order: ``setting`` and levers of the method, ``is_selected``
        (it is also what :func:`analysis.selection.select` chose); of the side that moves ``rates``, ``diverged`` runs
        and ``lowest_id_score``, ``highest_id_score`` (what its frontier covers, means over runs); ``matched_id_score``
        (mean over ``runs``, those that both sides have); over the ``reached`` runs the method's ``ood_score`` (interval
        by t) and ``ood_difference`` (``*_low``, ``*_high`` by bootstrap over runs, ``*_t_low``, ``*_t_high`` by t; test
        images held fixed; NaN for the reference itself); ``cells``. Fractions.

    Raises:
        ValueError: If ``at`` is neither.
    """
    if at not in ("reference", "method"):
        raise ValueError(f"at must be reference or method, got {at!r}")
    points = _points(records)
    stands = select(records)
    moves = select(on_frontier(records))
    # A method without a frontier is listed with its only point rather than left out.
    moves = pd.concat([moves, stands]).drop_duplicates([*PLACE, "method"])
    rows = []
    tried = points.dropna(subset=["learning_rate"])
    for place, here in tried.groupby(PLACE, sort=True):
        first, second = (
            {row["method"]: row for row in chosen.to_dict("records") if (row["benchmark"], row["backbone"]) == place}
            for chosen in (stands, moves)
        )
        base = theme.plainest(first, reference)
        for method in theme.in_order(here["method"]):
            still, moving = (base, method) if at == "reference" else (method, base)
            ours = second[method] if at == "reference" else first[method]
            row = {name: ours[name] for name in (*_CURVE, *LEVERS)} | {"at": at}
            row["is_selected"] = ours["setting"] == first[method]["setting"]
            # The same draws for every row, so that rows differ by their data alone.
            rng = np.random.default_rng(seed)
            point = here[among(here["cell"], first[still]["cells"] if still in first else ())]
            curve = here.iloc[:0]
            if moving in second:
                curve = here[here["method"].eq(moving) & here["setting"].eq(second[moving]["setting"])]
            rows.append(row | _matched(point, curve, at, method == base, rng, level, draws))
    return pd.DataFrame(rows, columns=MATCHED_COLUMNS)


def _matched(
    point: pd.DataFrame, curve: pd.DataFrame, at: str, is_itself: bool, rng: np.random.Generator, level: float,
    draws: int,
) -> dict[str, Any]:  # fmt: skip
    ids, oods = (curve.pivot(index="run", columns="learning_rate", values=score) for score in _SCORES)
    ids, oods = ids.where(oods.notna()), oods.where(ids.notna())
    known = point.dropna(subset=_SCORES)
    known = known[known["run"].isin(ids.index)].sort_values("run")
    still = dict(zip(known["run"], known["ood_score"]))
    wanted = dict(zip(known["run"], known["id_score"]))
    found = {run: ood_on_curve(ids.loc[run], oods.loc[run], score) for run, score in wanted.items()}
    moved = {run: score for run, score in found.items() if not np.isnan(score)}
    ours, theirs = (moved, still) if at == "reference" else (still, moved)
    score = t_interval([ours[run] for run in moved], level)
    gaps = paired({run: ours[run] for run in moved}, {} if is_itself else theirs)
    difference = bootstrap_interval(gaps, rng, level=level, draws=draws, over="seeds")
    over_runs = t_interval(gaps, level)
    return {
        "rates": ids.shape[1],
        "lowest_id_score": float(ids.min(axis=1).mean()),
        "highest_id_score": float(ids.max(axis=1).mean()),
        "matched_id_score": float(known["id_score"].mean()),
        "ood_score": score.estimate, "ood_score_low": score.low, "ood_score_high": score.high,
        "ood_difference": difference.estimate,
        "ood_difference_low": difference.low, "ood_difference_high": difference.high,
        "ood_difference_t_low": over_runs.low, "ood_difference_t_high": over_runs.high,
        "runs": len(known), "reached": len(moved), "diverged": int(curve["status"].eq("diverged").sum()),
        "cells": tuple(sorted({*known["cell"], *curve.loc[curve[_SCORES].notna().all(axis=1), "cell"]})),
    }  # fmt: skip


def _points(records: Records) -> pd.DataFrame:
    cells, main = with_setting(records.cells), main_metrics(records)
    parts = []
    for _, place in cells.groupby(PLACE):
        metrics = records.metrics[among(records.metrics["cell"], place["cell"])]
        metric = str(main[place["cell"].iloc[0]])
        scores = shift_scores(metrics, metric, weights=("reported",))[["cell", *_SCORES]]
        parts.append(place.merge(scores, on="cell", how="left"))
    if not parts:
        return cells.assign(**{name: pd.Series(dtype="float64") for name in _SCORES})
    points = pd.concat(parts, ignore_index=True)
    # What a run scored before it diverged is not its result.
    points.loc[points["status"].ne("done").to_numpy(dtype=bool), _SCORES] = np.nan
    return points
