"""The closing table of methods: each at what ID validation chose, with intervals and paired differences."""

from typing import Any

import numpy as np
import pandas as pd

from analysis import theme
from analysis.design import PLACE
from analysis.intervals import Interval
from analysis.outcomes import COUNT_COLUMNS, outcomes, places
from analysis.pairing import Answers, common_runs, difference, repeated, right_answers, rows_of, score_interval
from analysis.records import LEVERS, Records, remembered
from analysis.selection import select, select_alpha
from analysis.shifts import GROUPS

SUMMARY_SCORES = ("id_score", "ood_score", "worst_domain_score", "corruption_score", "gap_error", "diversity_score",
                  *(f"{group}_score" for group in GROUPS))  # fmt: skip
DIFFERENCES = ("id_score", "ood_score", "corruption_score")


@remembered
def summary(
    records: Records, reference: str = "full", seed: int = 0, level: float = 0.95, draws: int = 1000
) -> pd.DataFrame:
    """Each method at the learning rate and setting chosen on ID validation, with intervals.

    The interval of a score is the bootstrap over seeds and test examples where right answers were kept (ID, OOD, worst
    domain, gap of the reported weights), else Student's t over seeds (corruption, diversity, WiSE-FT); ``*_over`` names
    which. A benchmark that is not scored by accuracy (iWildCam: macro-F1) has Student's t alone. The worst domain is
    the one whose mean over seeds is lowest; its bootstrap, a minimum's, leans low.
    Differences are to ``reference`` with the same seeds (and examples): ``*_low``/``*_high`` by bootstrap where
    possible, ``*_t_low``/``*_t_high`` by t over the paired seeds. Zero-shot does not depend on the seed and is paired
    with every one of its pretrained model.

    Args:
        records: Any records.
        reference: Method of the paired differences, or its plainest form (:func:`analysis.theme.plainest`); they are
            NaN where it has no common seed.
        seed: Of the bootstrap's draws.
        level: Nominal coverage.
        draws: Bootstrap resamples.

    Returns:
        Per (benchmark, backbone) and method in theme order a row with ``weights`` reported, and one with ``wise`` and
        its selected ``alpha`` where there is a curve; fractions; ``seeds``, ``missing``, ``diverged``;
        ``trained_per_episode``, ``touched_over_run``, ``total_parameters``; levers; ``cells``.
    """
    rows: list[dict[str, Any]] = []
    for records_here in places(records):
        chosen = select(records_here)
        alphas = select_alpha(records_here, chosen)
        results = outcomes(records_here, chosen)
        answers = right_answers(records_here, set(results["cell"]))
        own_reference = theme.plainest(chosen["method"], reference)
        base = rows_of(results, own_reference)
        for method in theme.in_order(chosen["method"]):
            choice = chosen[chosen["method"].eq(method)].to_dict("records")[0]
            picks = [("reported", float("nan"), choice)]
            for wise in alphas[alphas["method"].eq(method)].to_dict("records"):
                picks.append(("wise", wise["alpha"], wise))
            for weights, alpha, pick in picks:
                ours = rows_of(results, method, weights, alpha)
                # The same draws for every row, so that rows differ by their data alone.
                rng = np.random.default_rng(seed)
                row = {name: pick[name] for name in (*PLACE, "method", "setting", "learning_rate", *LEVERS)}
                row |= {"weights": weights, "alpha": alpha, "id_val_score": pick["id_val_score"]}
                row |= {name: pick[name] for name in ("seeds", "missing", "diverged")}
                row |= _scores(ours, answers, rng, level, draws)
                # A method has no difference to itself, so the reference's own row says nothing rather than 0.
                partner = base.iloc[:0] if method == own_reference and weights == "reported" else base
                row |= _differences(repeated(ours, partner), partner, answers, rng, level, draws)
                row |= {name: float(ours[name].mean()) for name in COUNT_COLUMNS}
                rows.append(row | {"cells": pick["cells"]})
    return pd.DataFrame(rows, columns=_summary_columns() if not rows else None)


def _scores(
    ours: pd.DataFrame, answers: Answers, rng: np.random.Generator, level: float, draws: int
) -> dict[str, float | str]:
    row: dict[str, float | str] = {}
    for score in SUMMARY_SCORES:
        interval = score_interval(ours, score, answers, rng, level, draws)
        row |= {**_named(score, interval), f"{score}_over": interval.over}
    return row


def _differences(
    ours: pd.DataFrame, base: pd.DataFrame, answers: Answers, rng: np.random.Generator, level: float, draws: int
) -> dict[str, float]:
    row: dict[str, float] = {}
    for score in DIFFERENCES:
        found = difference(ours, base, score, answers, rng, level, draws)
        name = score.removesuffix("_score") + "_difference"
        row |= _named(name, found.interval)
        row |= {f"{name}_t_low": found.over_runs.low, f"{name}_t_high": found.over_runs.high}
    return row | {"paired_seeds": len(common_runs(ours, base))}


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _summary_columns() -> list[str]:
    scores = [f"{score}{end}" for score in SUMMARY_SCORES for end in ("", "_low", "_high", "_over")]
    return [*PLACE, "method", "setting", "learning_rate", *LEVERS, "weights", "alpha", "id_val_score", "seeds",
            "missing", "diverged", *scores, "cells"]  # fmt: skip
