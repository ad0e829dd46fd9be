"""Which learning rate, setting and WiSE-FT coefficient are reported: from ID validation alone.

Every function but the ``oracle_`` one first cuts the records down to the cells and their ``id_val`` score, and works on
that cut; no number of another split can reach a choice. The score is the benchmark's own metric (accuracy; macro-F1 for
iWildCam) unless another is named. A candidate with a diverged seed ranks behind all others and stays visible; one with
missing seeds ranks behind complete ones.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd

from analysis.design import CHOICES, PLACE, with_setting
from analysis.metric import main_metrics
from analysis.records import Records, among, remembered
from analysis.shifts import shift_scores

_CANDIDATE = [*PLACE, "method", "setting", "learning_rate"]
_GROUPS = {"method": [*PLACE, "method"], "setting": [*PLACE, "method", "setting"]}


@remembered
def candidates(records: Records, metric: str | None = None) -> pd.DataFrame:
    """Every (method, setting, learning rate) with its ID validation score and its place among its method's.

    Args:
        records: Any records.
        metric: What ID validation is read by, such as ``accuracy_score``; by default each benchmark's main metric,
            see :func:`analysis.metric.main_metrics`.

    Returns:
        One row a candidate, best first within a method: ``benchmark``, ``backbone``, ``method``, ``setting``,
        ``learning_rate`` (NaN where none is set: zero-shot, soups, ensembles), the lever columns, ``options``,
        ``recipe``; ``id_val_score`` (mean over seeds); ``seeds`` (with a number), ``missing`` (seeds that the
        method's other candidates have, failed ones included), ``diverged``; ``rank`` (1 is best); ``cells`` (tuple of
        cell hashes).
    """
    return _ranked(records.cells, _validation(records, metric)["value"], set(records.metrics["cell"].unique()))


def select(records: Records, by: str = "method", metric: str | None = None) -> pd.DataFrame:
    """The best candidate by mean ID validation score over seeds.

    Ties go to the smaller learning rate, then to the setting that sorts first.

    Args:
        records: Any records.
        by: ``method`` picks learning rate and setting, one row a method; ``setting`` picks the learning rate alone,
            one row a (method, setting).
        metric: What ID validation is read by, such as ``accuracy_score``; by default each benchmark's main metric,
            see :func:`analysis.metric.main_metrics`.

    Raises:
        ValueError: If ``by`` is neither.
    """
    return _best(candidates(records, metric), by)


def select_alpha(records: Records, selection: pd.DataFrame | None = None, metric: str | None = None) -> pd.DataFrame:
    """The WiSE-FT coefficient of each selected candidate, by mean ID validation score over its seeds.

    Only coefficients that every one of its cells has are considered; ties go to the smaller one, nearer to the
    pretrained model.

    Args:
        records: Any records.
        selection: Rows of :func:`select`; by default one a method.
        metric: What ID validation is read by, such as ``accuracy_score``; by default each benchmark's main metric,
            see :func:`analysis.metric.main_metrics`.

    Returns:
        The rows of ``selection`` that have a WiSE-FT curve, with ``alpha`` and its ``id_val_score``.
    """
    chosen = select(records, metric=metric) if selection is None else selection
    curve = _validation(records, metric, "wise")
    curve = curve.assign(alpha=curve["alpha"].round(6))
    rows = []
    for row in chosen.to_dict("records"):
        ours = curve[among(curve["cell"], row["cells"])].groupby("alpha")["value"]
        means = ours.mean()[ours.count() == len(row["cells"])]
        if len(means):
            best = int(np.argmax(means.to_numpy()))
            rows.append(row | {"alpha": float(means.index[best]), "id_val_score": float(means.iloc[best])})
    return pd.DataFrame(rows, columns=[*chosen.columns, "alpha"])


def oracle_select(
    records: Records, score: str = "ood_score", by: str = "method", metric: str | None = None
) -> pd.DataFrame:
    """What :func:`select` would pick if it could see the test splits. An upper bound, never a result.

    Args:
        records: Any records.
        score: A column of :func:`analysis.shifts.shift_scores`, higher is better.
        by: As in :func:`select`.
        metric: Which metric the score is made of; by default each benchmark's main one.
    """
    metrics = _of_metric(records.metrics, records, metric)
    parts = [
        shift_scores(metrics, str(name), weights=("reported",)).set_index("cell")[score]
        for name in sorted(set(metrics["metric"]))
    ]
    scores = pd.concat(parts).dropna() if parts else pd.Series(dtype="float64")
    return _best(_ranked(records.cells, scores).rename(columns={"id_val_score": f"oracle_{score}"}), by)


def _validation(records: Records, metric: str | None, weights: str = "reported") -> pd.DataFrame:
    metrics = records.metrics
    seen = metrics[metrics["split"].eq("id_val") & metrics["weights"].eq(weights)]
    seen = _of_metric(seen, records, metric)
    return seen[["cell", "alpha", "value"]].dropna(subset=["value"]).set_index("cell", drop=False)


def _of_metric(metrics: pd.DataFrame, records: Records, metric: str | None) -> pd.DataFrame:
    if metric is not None:
        return metrics[metrics["metric"].eq(metric)]
    wanted = metrics["cell"].astype(object).map(main_metrics(records))
    return metrics[metrics["metric"].astype(object).eq(wanted).to_numpy(dtype=bool)]


def _ranked(cells: pd.DataFrame, scores: pd.Series, measured: Collection[str] = ()) -> pd.DataFrame:
    # What a cell cost or how it went otherwise is no ground for a choice, so it is cut away here.
    known = with_setting(cells[["cell", *PLACE, "pretrain_seed", "method", "seed", "learning_rate", "steps",
                                "batch_size", "weight_decay", *CHOICES, "status"]])  # fmt: skip
    score = known["cell"].astype(object).map(dict(zip(scores.index, scores))).astype("float64")
    known = known.assign(score=score.where(known["status"].ne("failed").to_numpy(dtype=bool), np.nan))
    expected = {tuple(map(str, key)): group["run"].nunique() for key, group in known.groupby([*PLACE, "method"])}
    choices = known[list(CHOICES)].to_dict("records")
    # Published results seldom tell ID validation; a method's only candidate is no choice, and needs none.
    candidates = {tuple(map(str, key)): len(group[_CANDIDATE].drop_duplicates())
                  for key, group in known.groupby([*PLACE, "method"])}  # fmt: skip
    known["is_measured"] = (known["status"].eq("done") & among(known["cell"], measured)).to_numpy(dtype=bool)
    rows = []
    for key, group in known.reset_index(drop=True).groupby(_CANDIDATE, dropna=False, sort=True):
        place = tuple(map(str, key[:3]))
        runs = expected[place]
        diverged = int(group["status"].eq("diverged").sum())
        is_present = group["score"].notna()
        if candidates[place] == 1 and not is_present.any():
            is_present = group["is_measured"]
        present = group[is_present]
        rows.append({
            **dict(zip(_CANDIDATE, key)),
            **choices[group.index[0]],
            "id_val_score": float(present["score"].mean()) if len(present) else float("nan"),
            "seeds": len(present),
            "missing": runs - int((is_present | group["status"].eq("diverged")).sum()),
            "diverged": diverged,
            "cells": tuple(sorted(present["cell"])),
        })  # fmt: skip
    columns = [*_CANDIDATE, *CHOICES, "id_val_score", "seeds", "missing", "diverged", "cells"]
    frame = pd.DataFrame(rows, columns=columns)
    frame = frame.assign(is_empty=frame["seeds"].eq(0), is_missing=frame["missing"].gt(0), worst=-frame["id_val_score"])
    frame["has_diverged"] = frame["diverged"].gt(0)
    order = [*PLACE, "method", "is_empty", "has_diverged", "is_missing", "worst", "learning_rate", "setting"]
    frame = frame.sort_values(order, kind="stable").reset_index(drop=True)
    frame["rank"] = frame.groupby([*PLACE, "method"]).cumcount() + 1
    return frame.drop(columns=["is_empty", "has_diverged", "is_missing", "worst"])


def _best(ranked: pd.DataFrame, by: str) -> pd.DataFrame:
    if by not in _GROUPS:
        raise ValueError(f"by must be one of {', '.join(_GROUPS)}, got {by!r}")
    counts = ranked.groupby(_GROUPS[by])["rank"].transform("size")
    return ranked.assign(candidates=counts).drop_duplicates(_GROUPS[by], keep="first").reset_index(drop=True)
