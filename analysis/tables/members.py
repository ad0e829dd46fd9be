"""The ensembles inside single runs: a method's members one by one, together, and with freshly drawn masks.

Beside ensembles and soups of separate runs they can be held at equal inference (``inference_passes``) or at equal
training (``training_steps``, ``training_flops``).
"""

from typing import Any

import pandas as pd

from analysis import theme
from analysis.design import PLACE
from analysis.intervals import t_interval
from analysis.outcomes import places
from analysis.records import Records
from analysis.selection import select
from analysis.shifts import member_scores, shift_scores

MEMBER_WEIGHTS = ("reported", "member", "ensemble", "fresh_member", "fresh_ensemble")
PAIRS = {"ensemble": "members", "fresh_ensemble": "fresh_members"}
_SCORES = ("id_score", "ood_score")
_INTERVALS = [f"{name}{end}" for name in (*_SCORES, "id_difference", "ood_difference") for end in ("", "_low", "_high")]
_COUNTS = ("inference_passes", "training_steps", "training_flops")
COLUMNS = [*PLACE, "method", "setting", "learning_rate", "member_kind", "weights", *_COUNTS, "seeds", "missing",
           "diverged", *_INTERVALS, "id_diversity_score", "diversity_score", "cells"]  # fmt: skip


def implicit_ensembles(records: Records, level: float = 0.95) -> pd.DataFrame:
    """Accuracy of a run's reported weights, of its members, and of their ensemble, at the choice of ID validation.

    Members are what the records kept: sub-networks that the run visited, points of its trajectory, or the separate runs
    of a soup or an ensemble; ``fresh`` ones have masks drawn after training. Only methods with members are listed.
    Intervals are Student's t over seeds, the test images held fixed; nothing is corrected for the number of
    comparisons.

    Args:
        records: Any records.
        level: Nominal coverage.

    Returns:
        Per (benchmark, backbone) and method in theme order a row for each of ``MEMBER_WEIGHTS`` that was measured;
        ``member`` and ``fresh_member`` are means over members. ``id_score``, ``ood_score`` with ``*_low``, ``*_high``;
        ``id_difference`` and ``ood_difference`` to the reported weights of the same run (NaN for these themselves);
        ``inference_passes`` (the number of members of an ensemble, 1 of a member; NaN where it is not known);
        ``training_steps`` and ``training_flops`` behind all members (NaN for the mean of separate runs); for ensembles
        ``id_diversity_score`` and ``diversity_score`` (label disagreement of their members); ``seeds`` with an OOD
        number; ``missing``, ``diverged``; ``cells``. Fractions.
    """
    rows: list[dict[str, Any]] = []
    for records_here in places(records):
        scores = scores_by_weights(records_here.metrics)
        facts = records_here.cells.set_index("cell")
        passes = inference_passes(records_here)
        picks = {row["method"]: row for row in select(records_here).to_dict("records")}
        for method in theme.in_order(picks):
            pick = picks[method]
            cells = list(pick["cells"])
            kinds = facts.loc[cells, "member_kind"]
            found = {weights: scores[weights].reindex(cells) for weights in MEMBER_WEIGHTS}
            measured = [weights for weights in MEMBER_WEIGHTS if found[weights].notna().any(axis=None)]
            if measured == ["reported"] and not kinds.eq("runs").any():
                continue
            for weights in measured:
                row = {name: pick[name] for name in (*PLACE, "setting", "learning_rate", "missing", "diverged")}
                row |= {"method": method, "member_kind": kinds.iloc[0], "weights": weights}
                # One of several separate runs cost less than all of them, and the records do not say how much less.
                is_alone = weights == "member" and kinds.eq("runs").any()
                for name in ("training_steps", "training_flops"):
                    row[name] = float("nan") if is_alone else _mean(facts.loc[cells, name])
                row |= {"inference_passes": float(passes[weights].reindex(cells).mean())}
                row |= {"seeds": int(found[weights]["ood_score"].notna().sum())}
                row |= _intervals(found[weights], found["reported"], weights, level)
                if weights in PAIRS:
                    pairs = member_scores(records_here.keep(cells).metrics, weights=PAIRS[weights])
                    row |= {name: float(pairs[name].mean()) for name in ("id_diversity_score", "diversity_score")}
                rows.append(row | {"cells": tuple(cells)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _intervals(ours: pd.DataFrame, reported: pd.DataFrame, weights: str, level: float) -> dict[str, float]:
    row: dict[str, float] = {}
    for score in _SCORES:
        name = score.removesuffix("_score") + "_difference"
        gaps = ours[score] - reported[score]
        parts = {score: t_interval(ours[score].dropna(), level)}
        if weights != "reported":
            parts[name] = t_interval(gaps.dropna(), level)
        for key, interval in parts.items():
            row |= {key: interval.estimate, f"{key}_low": interval.low, f"{key}_high": interval.high}
    return row


def scores_by_weights(metrics: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """ID and OOD accuracy of each of ``MEMBER_WEIGHTS``, by cell."""
    domains = sorted({split.removeprefix("ood/") for split in metrics["split"].unique() if split.startswith("ood/")})
    is_member = metrics["weights"].eq("member") & metrics["metric"].eq("accuracy_score")
    means = metrics[is_member].groupby(["cell", "split"])["value"].mean().reset_index()
    means = means.assign(weights="member", metric="accuracy_score", alpha=float("nan"))
    whole = pd.concat([metrics[~is_member], means], ignore_index=True)
    found = {
        name: _by_cell(whole, "accuracy_score", name, domains) for name in MEMBER_WEIGHTS if name != "fresh_member"
    }
    # Fresh members are not kept one by one: their mean is their ensemble's accuracy less its gain over them.
    gain = _by_cell(metrics, "ensemble_gain_score", "fresh_members", domains)
    return found | {"fresh_member": found["fresh_ensemble"] - gain}


def _by_cell(metrics: pd.DataFrame, metric: str, weights: str, domains: list[str]) -> pd.DataFrame:
    scores = shift_scores(metrics, metric, weights=(weights,), domains=domains, kinds=())
    return scores.set_index("cell")[list(_SCORES)]


def inference_passes(records: Records) -> dict[str, pd.Series]:
    """Forward passes an example needs with each of ``MEMBER_WEIGHTS``, by cell."""
    metrics = records.metrics
    members = metrics[metrics["weights"].eq("member")].groupby("cell")["member"].nunique()
    is_count = metrics["weights"].eq("fresh_members") & metrics["metric"].eq("members") & metrics["split"].eq("")
    fresh = metrics[is_count].set_index("cell")["value"]
    return {
        "reported": records.cells.set_index("cell")["inference_passes"].astype("Float64").astype("float64"),
        "member": members.clip(upper=1),
        "ensemble": members,
        "fresh_member": fresh.clip(upper=1.0),
        "fresh_ensemble": fresh,
    }


def _mean(values: pd.Series) -> float:
    return float(values.astype("Float64").astype("float64").mean())
