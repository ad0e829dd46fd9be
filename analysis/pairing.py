"""One method against another on the same runs: their cells, their right answers, intervals of a difference."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.intervals import Interval, crossed_interval, paired, t_interval
from analysis.metric import ACCURACY, main_metrics
from analysis.probabilities import Floats
from analysis.records import Records, among, unpack

Answers = Mapping[tuple[str, str], npt.NDArray[np.bool_]]

_COMBINE: Mapping[str, Callable[[Floats], Floats]] = {
    "id_score": lambda means: means[0],
    "ood_score": lambda means: means.mean(axis=0),
    "worst_domain_score": lambda means: means.min(axis=0),
    "gap_error": lambda means: means[0] - means[1:].mean(axis=0),
}


@dataclass(frozen=True)
class Difference:
    """A score of one method minus that of another, over the runs that both have.

    Args:
        interval: Bootstrap over runs and test examples where both methods' right answers are known, else as
            ``over_runs``; its ``over`` says which.
        over_runs: Student's t over the runs.
        gaps: The difference in each common run with a number, shape ``(runs,)``.
    """

    interval: Interval
    over_runs: Interval
    gaps: Floats


def right_answers(records: Records, cells: set[str]) -> Answers:
    """Right answers of the reported weights by (cell, split), where they were kept and their mean is the score.

    Of a benchmark that is scored otherwise (macro-F1) there are none, so its intervals are over the runs.
    """
    main = main_metrics(records)
    scored = cells & set(main.index[main.eq(ACCURACY)])
    kept = records.examples[among(records.examples["cell"], scored) & records.examples["weights"].eq("reported")]
    rows = zip(kept["cell"], kept["split"], kept["correct"], kept["examples"])
    return {(cell, split): unpack(packed, int(examples)) for cell, split, packed, examples in rows}


def rows_of(results: pd.DataFrame, method: str, weights: str = "reported", alpha: float = float("nan")) -> pd.DataFrame:
    """The rows of :func:`analysis.outcomes.outcomes` of one method's weights, in the order of their runs."""
    is_ours = results["method"].eq(method) & results["weights"].eq(weights)
    if not np.isnan(alpha):
        is_ours &= results["alpha"].eq(round(alpha, 6))
    return results[is_ours].sort_values("run").reset_index(drop=True)


def repeated(ours: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """Rows of zero-shot once for each run of ``base``: one cell stands for every run of its pretrained model.

    Rows of any other method are returned as they are.
    """
    if ours.empty or not ours["method"].eq("zero_shot").all():
        return ours
    by_model = {run.split("/")[0]: position for position, run in reversed(list(enumerate(ours["run"])))}
    present = set(ours["run"])
    extra = [(by_model[run.split("/")[0]], run) for run in base["run"]
             if run not in present and run.split("/")[0] in by_model]  # fmt: skip
    copies = ours.iloc[[position for position, _ in extra]].assign(run=[run for _, run in extra])
    return pd.concat([ours, copies], ignore_index=True) if extra else ours


def score_interval(
    ours: pd.DataFrame, score: str, answers: Answers, rng: np.random.Generator, level: float, draws: int
) -> Interval:
    """Interval of one method's score: bootstrap over seeds and test examples where they were kept, else Student's t.

    Args:
        ours: Rows of :func:`rows_of`.
        score: A column of theirs.
        answers: From :func:`right_answers`.
        rng: Source of the bootstrap's draws.
        level: Nominal coverage.
        draws: Bootstrap resamples.
    """
    is_reported = bool(ours["weights"].eq("reported").all())
    splits = _splits(answers, list(ours["cell"]), score) if is_reported else []
    if not splits:
        return t_interval(ours[score].dropna(), level)
    parts = [np.stack([answers[cell, split] for cell in ours["cell"]]) for split in splits]
    return crossed_interval(parts, rng, _COMBINE[score], level=level, draws=draws)


def difference(
    ours: pd.DataFrame,
    base: pd.DataFrame,
    score: str,
    answers: Answers,
    rng: np.random.Generator,
    level: float,
    draws: int,
) -> Difference:
    """A method's score minus the reference's, run by run.

    Args:
        ours: Rows of :func:`rows_of`; zero-shot's through :func:`repeated`.
        base: The reference's rows, likewise.
        score: A column of both.
        answers: From :func:`right_answers`, of the cells of both.
        rng: Source of the bootstrap's draws.
        level: Nominal coverage.
        draws: Bootstrap resamples.
    """
    gaps = paired(dict(zip(ours["run"], ours[score])), dict(zip(base["run"], base[score])))
    gaps = gaps[~np.isnan(gaps)]
    over_runs = t_interval(gaps, level)
    cell_of, base_cell_of = dict(zip(ours["run"], ours["cell"])), dict(zip(base["run"], base["cell"]))
    common = common_runs(ours, base)
    cells = [cell_of[run] for run in common] + [base_cell_of[run] for run in common]
    is_reported = bool(ours["weights"].eq("reported").all())
    splits = _splits(answers, cells, score) if is_reported else []
    if not splits:
        return Difference(over_runs, over_runs, gaps)
    parts = [
        paired(
            {run: answers[cell_of[run], split] for run in common},
            {run: answers[base_cell_of[run], split] for run in common},
        )
        for split in splits
    ]
    interval = crossed_interval(parts, rng, _COMBINE[score], level=level, draws=draws)
    return Difference(interval, over_runs, gaps)


def common_runs(ours: pd.DataFrame, base: pd.DataFrame) -> list[str]:
    """The runs that both have, in the order of ``ours``."""
    theirs = set(base["run"])
    return [run for run in ours["run"] if run in theirs]


def _splits(answers: Answers, cells: list[str], score: str) -> list[str]:
    domains = sorted({split for _, split in answers if split.startswith("ood/")})
    splits = {"id_score": ["id_test"], "ood_score": domains, "worst_domain_score": domains}
    splits["gap_error"] = ["id_test", *domains] if domains else []
    wanted = splits.get(score, [])
    return wanted if cells and all((cell, split) in answers for cell in cells for split in wanted) else []
