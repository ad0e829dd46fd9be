"""The closing table of methods: each at what ID validation chose, with intervals and paired differences."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis import theme
from analysis.design import PLACE
from analysis.intervals import Interval, crossed_interval, paired, t_interval
from analysis.outcomes import COUNT_COLUMNS, outcomes, places
from analysis.probabilities import Floats
from analysis.records import LEVERS, Records, unpack
from analysis.selection import select, select_alpha
from analysis.shifts import GROUPS

SUMMARY_SCORES = ("id_score", "ood_score", "worst_domain_score", "corruption_score", "gap_error", "diversity_score",
                  *(f"{group}_score" for group in GROUPS))  # fmt: skip
DIFFERENCES = ("id_score", "ood_score", "corruption_score")

Answers = Mapping[tuple[str, str], npt.NDArray[np.bool_]]


def summary(
    records: Records, reference: str = "full", seed: int = 0, level: float = 0.95, draws: int = 1000
) -> pd.DataFrame:
    """Each method at the learning rate and setting chosen on ID validation, with intervals.

    The interval of a score is the bootstrap over seeds and test examples where right answers were kept (ID, OOD, worst
    domain, gap of the reported weights), else Student's t over seeds (corruption, diversity, WiSE-FT); ``*_over`` names
    which. The worst domain is the one whose mean over seeds is lowest; its bootstrap, a minimum's, leans low.
    Differences are to ``reference`` with the same seeds (and examples): ``*_low``/``*_high`` by bootstrap where
    possible, ``*_t_low``/``*_t_high`` by t over the paired seeds. Zero-shot does not depend on the seed and is paired
    with every one of its pretrained model.

    Args:
        records: Any records.
        reference: Method of the paired differences; they are NaN where it has no common seed.
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
        answers = _answers(records_here, set(results["cell"]))
        base = _one(results, reference, "reported", float("nan"))
        for method in theme.in_order(chosen["method"]):
            choice = chosen[chosen["method"].eq(method)].to_dict("records")[0]
            picks = [("reported", float("nan"), choice)]
            for wise in alphas[alphas["method"].eq(method)].to_dict("records"):
                picks.append(("wise", wise["alpha"], wise))
            for weights, alpha, pick in picks:
                ours = _one(results, method, weights, alpha)
                # The same draws for every row, so that rows differ by their data alone.
                rng = np.random.default_rng(seed)
                row = {name: pick[name] for name in (*PLACE, "method", "setting", "learning_rate", *LEVERS)}
                row |= {"weights": weights, "alpha": alpha, "id_val_score": pick["id_val_score"]}
                row |= {name: pick[name] for name in ("seeds", "missing", "diverged")}
                row |= _scores(ours, answers, rng, level, draws)
                # A method has no difference to itself, so the reference's own row says nothing rather than 0.
                partner = base.iloc[:0] if method == reference and weights == "reported" else base
                row |= _differences(_repeated(ours, partner), partner, answers, rng, level, draws)
                row |= {name: float(ours[name].mean()) for name in COUNT_COLUMNS}
                rows.append(row | {"cells": pick["cells"]})
    return pd.DataFrame(rows, columns=_summary_columns() if not rows else None)


def _one(results: pd.DataFrame, method: str, weights: str, alpha: float) -> pd.DataFrame:
    is_ours = results["method"].eq(method) & results["weights"].eq(weights)
    if not np.isnan(alpha):
        is_ours &= results["alpha"].eq(round(alpha, 6))
    return results[is_ours].sort_values("run").reset_index(drop=True)


def _repeated(ours: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    if ours.empty or not ours["method"].eq("zero_shot").all():
        return ours
    # One zero-shot cell stands for every run of its pretrained model.
    by_model = {run.split("/")[0]: position for position, run in reversed(list(enumerate(ours["run"])))}
    present = set(ours["run"])
    extra = [(by_model[run.split("/")[0]], run) for run in base["run"]
             if run not in present and run.split("/")[0] in by_model]  # fmt: skip
    copies = ours.iloc[[position for position, _ in extra]].assign(run=[run for _, run in extra])
    return pd.concat([ours, copies], ignore_index=True) if extra else ours


def _answers(records: Records, cells: set[str]) -> Answers:
    kept = records.examples[records.examples["cell"].isin(cells) & records.examples["weights"].eq("reported")]
    rows = zip(kept["cell"], kept["split"], kept["correct"], kept["examples"])
    return {(cell, split): unpack(packed, int(examples)) for cell, split, packed, examples in rows}


def _splits(answers: Answers, cells: list[str], score: str) -> list[str]:
    domains = sorted({split for _, split in answers if split.startswith("ood/")})
    splits = {"id_score": ["id_test"], "ood_score": domains, "worst_domain_score": domains}
    splits["gap_error"] = ["id_test", *domains] if domains else []
    wanted = splits.get(score, [])
    return wanted if cells and all((cell, split) in answers for cell in cells for split in wanted) else []


_COMBINE: Mapping[str, Callable[[Floats], Floats]] = {
    "id_score": lambda means: means[0],
    "ood_score": lambda means: means.mean(axis=0),
    "worst_domain_score": lambda means: means.min(axis=0),
    "gap_error": lambda means: means[0] - means[1:].mean(axis=0),
}


def _scores(
    ours: pd.DataFrame, answers: Answers, rng: np.random.Generator, level: float, draws: int
) -> dict[str, float | str]:
    row: dict[str, float | str] = {}
    for score in SUMMARY_SCORES:
        is_reported = bool(ours["weights"].eq("reported").all())
        splits = _splits(answers, list(ours["cell"]), score) if is_reported else []
        if splits:
            parts = [np.stack([answers[cell, split] for cell in ours["cell"]]) for split in splits]
            interval = crossed_interval(parts, rng, _COMBINE[score], level=level, draws=draws)
        else:
            interval = t_interval(ours[score].dropna(), level)
        row |= {**_named(score, interval), f"{score}_over": interval.over}
    return row


def _differences(
    ours: pd.DataFrame, base: pd.DataFrame, answers: Answers, rng: np.random.Generator, level: float, draws: int
) -> dict[str, float]:
    row: dict[str, float] = {}
    common = [run for run in ours["run"] if run in set(base["run"])]
    cell_of = dict(zip(ours["run"], ours["cell"]))
    base_cell_of = dict(zip(base["run"], base["cell"]))
    for score in DIFFERENCES:
        values = dict(zip(ours["run"], ours[score]))
        theirs = dict(zip(base["run"], base[score]))
        gaps = paired(values, theirs)
        over_seeds = t_interval(gaps[~np.isnan(gaps)], level)
        interval = over_seeds
        cells = [cell_of[run] for run in common] + [base_cell_of[run] for run in common]
        splits = _splits(answers, cells, score) if ours["weights"].eq("reported").all() else []
        if splits and common:
            parts = [
                paired(
                    {run: answers[cell_of[run], split] for run in common},
                    {run: answers[base_cell_of[run], split] for run in common},
                )
                for split in splits
            ]
            interval = crossed_interval(parts, rng, _COMBINE[score], level=level, draws=draws)
        name = score.removesuffix("_score") + "_difference"
        row |= _named(name, interval) | {f"{name}_t_low": over_seeds.low, f"{name}_t_high": over_seeds.high}
    return row | {"paired_seeds": len(common)}


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _summary_columns() -> list[str]:
    scores = [f"{score}{end}" for score in SUMMARY_SCORES for end in ("", "_low", "_high", "_over")]
    return [*PLACE, "method", "setting", "learning_rate", *LEVERS, "weights", "alpha", "id_val_score", "seeds",
            "missing", "diverged", *scores, "cells"]  # fmt: skip
