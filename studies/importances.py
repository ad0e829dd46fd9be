"""How much each setting matters, by two measures side by side: fANOVA's forest and the factorial analysis of variance.

They answer different questions, and agree where cells are a balanced, crossed design whose effects add up.
"""

import math
from collections.abc import Sequence
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from analysis.design import PLACE, level_label
from analysis.levers import RESPONSES, lever_variance
from analysis.outcomes import outcomes, places
from analysis.records import LEVERS, Records
from analysis.selection import candidates

FANOVA_WARNING = (
    "fANOVA: shares of a random forest's variance over the settings that were tried, so they depend on where one has "
    "looked (a search looks most where it is good) and have no interval; settings that move together share theirs."
)
ANOVA_WARNING = (
    "ANOVA: partial omega squared (type II) of levels as categories, in the crossed part of the design alone, so it "
    "depends on the levels chosen; it speaks about other cells of this kind, not about other pretrained models. "
    "Nothing is corrected for the number of tests."
)
SETTINGS = ("run", "learning_rate", *LEVERS)
FEWEST = 10
"""Cells that a forest needs at least to say anything."""
COLUMNS = [*PLACE, "method", "response", "setting", "fanova", "cells", "partial_omega_squared", "f", "p_value"]


def importances(records: Records, responses: Sequence[str] = RESPONSES, trees: int = 64, seed: int = 0) -> pd.DataFrame:
    """Both measures for every setting that differs between the cells of a method with levers.

    Args:
        records: Any records.
        responses: Columns of `analysis.outcomes.outcomes`.
        trees: Trees of fANOVA's forest.
        seed: Its seed.

    Returns:
        One row a (benchmark, backbone, method, response, setting): ``fanova``, a fraction of 1 over the settings, from
        so many ``cells``; ``partial_omega_squared``, ``f`` and ``p_value`` of the analysis of variance, NaN where the
        design gives none. ``run`` is the seed. Methods with fewer than two settings that differ, or
        with fewer than ``FEWEST`` cells, have no rows.
    """
    rows: list[dict[str, Any]] = []
    for here in places(records):
        found = outcomes(here, candidates(here))
        found = found[found["weights"].eq("reported")]
        variance = lever_variance(here, interactions=1)
        for method, cells in found.groupby("method", sort=True):
            for response in responses:
                known = cells[cells[response].notna()]
                shares = fanova(known, response, SETTINGS, trees, seed)
                terms = {row["term"]: row for row in variance[variance["response"].eq(response)].to_dict("records")}
                for setting, share in shares.items():
                    row = {name: here.cells[name].iloc[0] for name in PLACE}
                    row |= {"method": method, "response": response, "setting": setting}
                    row |= {"fanova": share, "cells": len(known)}
                    term = terms.get(setting, {}) if method == "gmixout" else {}
                    row |= {name: float(term.get(name, math.nan)) for name in COLUMNS[-3:]}
                    rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def fanova(
    cells: pd.DataFrame, response: str, settings: Sequence[str], trees: int = 64, seed: int = 0
) -> dict[str, float]:
    """Shares of the response's variance that a random forest puts down to each setting alone, summing to 1.

    Functional ANOVA (Hutter, Hoos and Leyton-Brown, ICML 2014), as Optuna has it.

    Args:
        cells: One row a cell.
        response: Column of finite numbers.
        settings: Columns; those with one value are left out, a missing value is a level of its own.
        trees: Trees of the forest.
        seed: Its seed.

    Returns:
        Share by setting, largest first; empty with fewer than two settings that differ, or few cells (``FEWEST``),
        or where nothing varies.

    Example:
        >>> frame = pd.DataFrame({"a": [0.0, 0.0, 1.0, 1.0] * 8, "b": [0.0, 1.0] * 16})
        >>> shares = fanova(frame.assign(y=3 * frame["a"] + frame["b"]), "y", ["a", "b"])
        >>> list(shares), round(shares["a"], 1)
        (['a', 'b'], 0.9)
    """
    values = {name: _values(cells[name]) for name in settings if name in cells}
    differing = {name: own for name, own in values.items() if len(set(own)) > 1}
    if len(differing) < 2 or len(cells) < FEWEST or cells[response].nunique() < 2:
        return {}
    distributions = {name: _distribution(own) for name, own in differing.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for number, value in enumerate(cells[response]):
        point = {name: own[number] for name, own in differing.items()}
        study.add_trial(optuna.trial.create_trial(value=float(value), params=point, distributions=distributions))
    forest = optuna.importance.FanovaImportanceEvaluator(n_trees=trees, seed=seed)
    found = optuna.importance.get_param_importances(study, evaluator=forest)
    return {name: float(share) for name, share in found.items()}


def _values(column: pd.Series) -> list[Any]:
    numbers = [value for value in column if not isinstance(value, bool | str) and not pd.isna(value)]
    if len(numbers) == len(column) and all(math.isfinite(value) for value in numbers):
        return [float(value) for value in numbers]
    return ["none" if pd.isna(value) else level_label(value) for value in column]


def _distribution(values: list[Any]) -> BaseDistribution:
    if isinstance(values[0], str):
        return CategoricalDistribution(sorted(set(values)))
    low, high = min(values), max(values)
    return FloatDistribution(low, high, log=low > 0 and high >= 10 * low)
