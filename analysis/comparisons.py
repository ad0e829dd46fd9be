"""Is a method better than a reference? Paired differences with intervals, t-tests, and Holm's correction for many."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from analysis import theme
from analysis.design import PLACE
from analysis.families import holm
from analysis.outcomes import outcomes, places
from analysis.pairing import Difference, common_runs, difference, repeated, right_answers, rows_of
from analysis.records import Records
from analysis.selection import select, select_alpha
from analysis.tables import DIFFERENCES

COMPARISON_COLUMNS = [*PLACE, "reference", "method", "weights", "alpha", "setting", "learning_rate", "score",
                      "difference", "difference_low", "difference_high", "difference_over", "difference_t_low",
                      "difference_t_high", "p_value", "holm_p_value", "is_significant", "paired_seeds",
                      "unpaired_seeds", "seeds", "missing", "diverged", "cells"]  # fmt: skip


def compare(
    records: Records,
    references: Sequence[str] = ("full", "gmixout"),
    scores: Sequence[str] = DIFFERENCES,
    weights: Sequence[str] = ("reported",),
    significance: float = 0.05,
    seed: int = 0,
    level: float = 0.95,
    draws: int = 1000,
) -> pd.DataFrame:
    """Every method minus each reference, run by run, both at the choice of ID validation.

    Runs are paired by their seeds, of pretraining and of training; zero-shot, which has no seed, with every run of its
    pretrained model. The interval is the bootstrap over runs and test examples where right answers were kept, else
    Student's t over runs; ``difference_over`` says which. The p-value is of the paired t-test over runs alone: it asks
    whether another run would show the same sign on this test set. Few seeds have few degrees of freedom, so that an
    interval can exclude zero where the test, let alone its correction, does not reject.

    Holm's family is every method (and kind of weights) with every score against **one** reference, on one benchmark and
    backbone. The families of two references are corrected apart; the intervals are not corrected at all.

    Args:
        records: Any records.
        references: Methods to compare with; where a study adds something to all training, a name without additions
            stands for its plainest form. One that a benchmark lacks has no rows there.
        scores: Columns of :func:`analysis.shifts.shift_scores`; by default ID, OOD and corruption.
        weights: ``reported``, ``wise`` (at the coefficient that ID validation chose) or both. References are always
            taken as reported.
        significance: Largest adjusted p-value that counts as significant, in (0, 1).
        seed: Of the bootstrap's draws.
        level: Nominal coverage of the intervals.
        draws: Bootstrap resamples.

    Returns:
        Per (benchmark, backbone), reference, method in theme order and score a row of ``COMPARISON_COLUMNS``:
        ``difference`` a fraction, positive where the method is better; ``holm_p_value``; ``is_significant``;
        ``paired_seeds`` behind the difference and ``unpaired_seeds`` that only one of the two has; of the method
        ``seeds``, ``missing``, ``diverged``; ``cells`` of both sides. A reference has no row against itself, but for
        its WiSE-FT weights.

    Raises:
        ValueError: If ``weights`` names another kind, or ``significance`` is out of range.
    """
    if unknown := [name for name in weights if name not in ("reported", "wise")]:
        raise ValueError(f"weights may be reported and wise, got {', '.join(unknown)}")
    if not 0.0 < significance < 1.0:
        raise ValueError(f"significance must lie in (0, 1), got {significance}")
    rows: list[dict[str, Any]] = []
    for records_here in places(records):
        chosen = select(records_here)
        picks = {row["method"]: row for row in chosen.to_dict("records")}
        alphas = {row["method"]: row["alpha"] for row in select_alpha(records_here, chosen).to_dict("records")}
        results = outcomes(records_here, chosen)
        answers = right_answers(records_here, set(results["cell"]))
        sides = [(method, kind) for method in theme.in_order(picks) for kind in weights
                 if kind == "reported" or method in alphas]  # fmt: skip
        named = [theme.plainest(picks, name) for name in references]
        for reference in [name for name in named if name in picks]:
            family: list[dict[str, Any]] = []
            for method, kind in sides:
                if method == reference and kind == "reported":
                    continue
                row = {name: picks[method][name] for name in (*PLACE, "setting", "learning_rate", "seeds", "missing",
                                                              "diverged")}  # fmt: skip
                alpha = alphas[method] if kind == "wise" else float("nan")
                row |= {"reference": reference, "method": method, "weights": kind, "alpha": alpha}
                base = rows_of(results, reference)
                ours = repeated(rows_of(results, method, kind, alpha), base)
                base = repeated(base, ours)
                row |= {"paired_seeds": len(common_runs(ours, base)), "unpaired_seeds": _unpaired(ours, base)}
                row |= {"cells": tuple(sorted({*ours["cell"], *base["cell"]}))}
                # The same draws for every row, so that rows differ by their data alone.
                rng = np.random.default_rng(seed)
                for score in scores:
                    found = difference(ours, base, score, answers, rng, level, draws)
                    family.append(row | {"score": score, "p_value": paired_p_value(found.gaps)} | _named(found))
            for row, p_value in zip(family, holm([row["p_value"] for row in family])):
                rows.append(row | {"holm_p_value": p_value, "is_significant": bool(p_value <= significance)})
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS)


def paired_p_value(gaps: npt.ArrayLike) -> float:
    r"""Two-sided p-value of the paired t-test, :math:`t = \bar d\,\sqrt n / s` with n - 1 degrees of freedom.

    Args:
        gaps: Paired differences :math:`d`, one a run, shape ``(runs,)``; no NaN.

    Returns:
        The p-value in [0, 1]. NaN for fewer than two runs, and where the differences are all the same but not zero (to
        rounding): without spread there is no test, and the runs may not be repetitions at all. 1 where all are zero.

    Example:
        >>> round(paired_p_value([0.01, 0.02, 0.03]), 3)
        0.074
    """
    values = np.asarray(gaps, dtype=np.float64)
    if values.size < 2:
        return float("nan")
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    # Differences of fractions near 1 carry the rounding of fractions near 1.
    rounding = 8.0 * np.finfo(np.float64).eps
    if spread <= rounding:
        return 1.0 if abs(mean) <= rounding else float("nan")
    return float(2.0 * stats.t.sf(abs(mean) * np.sqrt(values.size) / spread, values.size - 1))


def _unpaired(ours: pd.DataFrame, base: pd.DataFrame) -> int:
    """Runs that only one of the two has; zero-shot has none of its own."""
    sides = [(one, other) for one, other in ((ours, base), (base, ours)) if not one["method"].eq("zero_shot").any()]
    return sum(len({*one["run"]} - {*other["run"]}) for one, other in sides)


def _named(found: Difference) -> dict[str, float | str]:
    interval, over_runs = found.interval, found.over_runs
    return {
        "difference": interval.estimate, "difference_low": interval.low, "difference_high": interval.high,
        "difference_over": interval.over, "difference_t_low": over_runs.low, "difference_t_high": over_runs.high,
    }  # fmt: skip
