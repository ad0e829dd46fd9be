"""Is one run an ensemble? Its members beside as many independent runs, their soups, and averages along a run.

A *side* is one way to answer: a method's reported weights, its WiSE-FT model, the mean probability of its members, or
one member. Sides of equal training can be held against each other; what costs more is shown, and says so.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from analysis import theme
from analysis.comparisons import paired_p_value
from analysis.design import PLACE
from analysis.families import with_family
from analysis.intervals import t_interval
from analysis.outcomes import outcomes, places
from analysis.printing import MEMBER_LABELS, interval_text, number_text, one_place, seeds_text
from analysis.records import Records
from analysis.selection import select, select_alpha
from analysis.shifts import member_scores
from analysis.tables.members import PAIRS, inference_passes, scores_by_weights

REFERENCE = ("gmixout", "ensemble")
INDEPENDENT = "ensemble"
SCORES = ("id_score", "ood_score")
METHODS = (
    "full",
    "ema",
    "weight_average",
    "swad",
    "uniform_soup",
    "greedy_soup",
    "diwa",
    "ensemble",
    "mixout",
    "gmixout",
)
"""What the question is about, without additions to training; a study of more has its other tables for the others."""

EQUAL = 0.1
"""Training within this fraction of the reference's counts as equal: what methods add to a step is not more training."""

_SHORT = ("id", "ood")
_INTERVALS = [f"{name}{end}" for name in (*SCORES, "id_difference", "ood_difference", "ensemble_gain")
              for end in ("", "_low", "_high")]  # fmt: skip
COLUMNS = [*PLACE, "reference_method", "reference_weights", "method", "weights", "alpha", "member_kind",
           "learning_rate", "inference_passes", "training_ratio", "has_equal_training", *_INTERVALS, "id_p_value",
           "ood_p_value", "id_holm_p_value", "ood_holm_p_value", "is_id_significant", "is_ood_significant",
           "family_tests", "ensemble_gain_p_value", "diversity_score", "paired_seeds", "seeds", "missing", "diverged",
           "cells"]  # fmt: skip


def ensembles(
    records: Records, reference: tuple[str, str] = REFERENCE, significance: float = 0.05, level: float = 0.95
) -> pd.DataFrame:
    """Every side of ``METHODS`` beside the members of one run, their probabilities averaged.

    Members of an average along a run are those of full fine-tuning, and are listed there alone; an ensemble of separate
    runs is the ensemble of its members, and the runs of a soup are its pool's.

    Runs are paired by seed; a pool's runs belong to its block's seed. Intervals are Student's t over seeds. Holm's
    family is every side of equal training with both scores; sides that cost more or less have intervals and p-values
    of their own, outside the family and uncorrected.

    Args:
        records: Any records; methods are taken at the choice of ID validation.
        reference: Method and weights (``reported``, ``ensemble``, ``fresh_ensemble``, ``member``) of the side that all
            others are held against.
        significance: Largest adjusted p-value that counts as significant.
        level: Nominal coverage.

    Returns:
        Per (benchmark, backbone) that has the reference, and ensembles of separate runs, a row a side in theme order,
        the reference among them without differences, columns ``COLUMNS``: ``id_score``, ``ood_score`` with ends;
        ``id_difference``, ``ood_difference`` (the side minus the reference) with ends and p-values; ``training_ratio``
        to the reference's operations; for ensembles ``ensemble_gain`` (OOD, beyond the mean of its own members) and
        ``diversity_score`` (label disagreement of its members off ID). Fractions.
    """
    frames: list[pd.DataFrame] = []
    for here in places(records):
        sides = _sides(here)
        if reference not in [(side["method"], side["weights"]) for side in sides]:
            continue
        if not any(theme.name_parts(str(side["method"]))[0] == INDEPENDENT for side in sides):
            continue
        base = next(side for side in sides if (side["method"], side["weights"]) == reference)
        frames.append(_corrected([_row(side, base, level) for side in sides], significance))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)


def _sides(records: Records) -> list[dict[str, Any]]:
    """What a side is, its numbers by run (``scores``), and of an ensemble its gain by run (``gains``)."""
    chosen = select(records)
    results = outcomes(records, chosen)
    alphas = {str(row["method"]): float(row["alpha"]) for row in select_alpha(records, chosen).to_dict("records")}
    scores, passes = scores_by_weights(records.metrics), inference_passes(records)
    pairs = {weights: member_scores(records.metrics, weights=own).set_index("cell") for weights, own in PAIRS.items()}
    facts = records.cells.set_index("cell")
    runs = dict(zip(results["cell"], results["run"]))
    sides: list[dict[str, Any]] = []
    picks = {str(row["method"]): row for row in chosen.to_dict("records") if _is_asked(str(row["method"]))}
    for method in theme.in_order(picks):
        pick, cells = picks[method], [cell for cell in picks[method]["cells"] if cell in runs]
        flops = facts.loc[cells, "training_flops"].astype("Float64").astype("float64")
        common = {name: pick[name] for name in (*PLACE, "method", "learning_rate", "missing", "diverged")}
        common |= {"member_kind": facts.loc[cells, "member_kind"].iloc[0] if cells else "none"}
        common |= {"training_flops": float(flops.mean()), "alpha": float("nan"), "cells": tuple(cells)}
        by_run = [runs[cell] for cell in cells]
        for weights, found in scores.items():
            ours = found.reindex(cells).set_axis(by_run)
            if ours["ood_score"].notna().any() and not _is_twice(str(common["member_kind"]), method, weights):
                side = common | {"weights": weights, "scores": ours}
                side |= {"inference_passes": float(passes[weights].reindex(cells).mean())}
                if weights in PAIRS:
                    member = "member" if weights == "ensemble" else "fresh_member"
                    side["gains"] = (ours - scores[member].reindex(cells).set_axis(by_run))["ood_score"]
                    side["diversity_score"] = float(pairs[weights]["diversity_score"].reindex(cells).mean())
                sides.append(side)
        alpha = alphas.get(method, 1.0)
        # At 1 they are the reported weights once more.
        if alpha < 1.0:
            is_here = results["method"].eq(method) & results["weights"].eq("wise") & results["alpha"].eq(alpha)
            ours = results[is_here].set_index("run")[list(SCORES)]
            sides.append(common | {"weights": "wise", "alpha": alpha, "scores": ours, "inference_passes": 1.0})
    return sides


def _is_asked(method: str) -> bool:
    base, variant, additions = theme.name_parts(method)
    return base in METHODS and not additions and (not variant or theme.look(method).family == "several")


def _is_twice(kind: str, method: str, weights: str) -> bool:
    base, family = theme.name_parts(method)[0], theme.look(method).family
    if family == "averaged" or (family == "several" and base != INDEPENDENT):
        return weights != "reported"
    return base == INDEPENDENT and kind == "runs" and weights == "reported"


def _row(side: dict[str, Any], base: dict[str, Any], level: float) -> dict[str, Any]:
    row = {name: side[name] for name in COLUMNS if name in side}
    row |= {"reference_method": base["method"], "reference_weights": base["weights"]}
    row |= {
        "training_ratio": side["training_flops"] / base["training_flops"] if base["training_flops"] else float("nan")
    }
    # One of several separate runs cost less than all of them, and the records do not say how much less.
    if side["weights"] == "member" and side["member_kind"] == "runs":
        row["training_ratio"] = float("nan")
    row |= {"has_equal_training": bool(abs(row["training_ratio"] - 1.0) <= EQUAL)}
    row |= {"seeds": int(side["scores"]["ood_score"].notna().sum()), "paired_seeds": 0}
    is_base = side is base
    for score in SCORES:
        name = score.removesuffix("_score")
        values = side["scores"][score].dropna()
        gaps = (side["scores"][score] - base["scores"][score]).dropna()
        parts = {score: t_interval(values, level)}
        if not is_base:
            parts[f"{name}_difference"] = t_interval(gaps, level)
            row |= {f"{name}_p_value": paired_p_value(gaps), "paired_seeds": len(gaps)}
        for key, found in parts.items():
            row |= {key: found.estimate, f"{key}_low": found.low, f"{key}_high": found.high}
    if "gains" in side:
        gain = t_interval(side["gains"].dropna(), level)
        row |= {"ensemble_gain": gain.estimate, "ensemble_gain_low": gain.low, "ensemble_gain_high": gain.high}
        row |= {"ensemble_gain_p_value": paired_p_value(side["gains"].dropna())}
    return row


def _corrected(rows: list[dict[str, Any]], significance: float) -> pd.DataFrame:
    frame = pd.DataFrame(rows).reindex(columns=COLUMNS)
    equal = frame[frame["has_equal_training"].eq(True)]
    parts = [pd.DataFrame({"p_value": equal[f"{name}_p_value"].astype("float64"), "score": name}) for name in _SHORT]
    tests = with_family(pd.concat(parts), significance=significance)
    for name in _SHORT:
        ours = tests[tests["score"].eq(name)]
        frame[f"{name}_holm_p_value"] = ours["holm_p_value"].reindex(frame.index)
        frame[f"is_{name}_significant"] = frame.index.isin(ours.index[ours["is_significant"]])
    return frame.assign(family_tests=int(tests["p_value"].notna().sum()))


def printed_ensembles(frame: pd.DataFrame, digits: int = 1) -> pd.DataFrame:
    """The rows of :func:`ensembles` as text: percent, points, a star where Holm's correction leaves significance."""
    rows = []
    for row in frame.to_dict("records"):
        text = {"benchmark": row["benchmark"], "backbone": row["backbone"], "side": side_label(row)}
        text |= {"seeds": seeds_text(row), "forward passes": number_text(row["inference_passes"], "{:.0f}")}
        text["training"] = number_text(row["training_ratio"], "{:.2f}×")
        for name, heading in (("id", "ID"), ("ood", "OOD")):
            text[f"{heading} (%)"] = interval_text(row[f"{name}_score"], *_ends(row, f"{name}_score"), digits)
        for name, heading in (("id", "ID"), ("ood", "OOD")):
            gap = f"{name}_difference"
            star = " *" if row[f"is_{name}_significant"] else ""
            text[f"{heading} − members (points)"] = (
                interval_text(row[gap], *_ends(row, gap), digits, signed=True) + star
            )
        gain = interval_text(row["ensemble_gain"], *_ends(row, "ensemble_gain"), digits, signed=True)
        text["OOD gain over own members"] = gain
        text["disagreement (%)"] = interval_text(row["diversity_score"], float("nan"), float("nan"), digits)
        rows.append(text)
    return one_place(pd.DataFrame(rows))


def side_label(row: Mapping[Hashable, Any]) -> str:
    """A side in words.

    Example:
        >>> side_label({"method": "full", "weights": "wise", "alpha": 0.5})
        'Full fine-tuning + WiSE-FT α=0.5'
        >>> side_label({"method": "gmixout", "weights": "ensemble"})
        'GMixout, ensemble of members'
        >>> side_label({"method": "ensemble/short", "weights": "ensemble"})
        'Ensemble (short)'
    """
    label = theme.look(str(row["method"])).label
    if theme.name_parts(str(row["method"]))[0] == INDEPENDENT:
        return label if row["weights"] == "ensemble" else f"{label}, mean run"
    if row["weights"] == "reported":
        return label
    if row["weights"] == "wise":
        return f"{label} + WiSE-FT α={row['alpha']:.1f}"
    return f"{label}, {MEMBER_LABELS[str(row['weights'])]}"


def _ends(row: Mapping[Hashable, Any], name: str) -> tuple[float, float]:
    return row[f"{name}_low"], row[f"{name}_high"]
