"""What each lever does to a response: analysis of variance, paired contrasts of levels, and level means to plot.

Rows are cells of a (nearly) crossed design: one column a lever, one with the run (seed), one a response. Runs are
blocks: every comparison is within a run and within a setting of the other levers.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

from analysis.design import level_label
from analysis.intervals import Interval, crossed_interval, t_interval

ANOVA_COLUMNS = ["term", "sum_of_squares", "degrees", "f", "p_value", "partial_eta_squared", "partial_omega_squared"]


@dataclass(frozen=True)
class Contrast:
    """The mean of one level minus the mean of another, paired within runs and settings of the other levers.

    Args:
        interval: Bootstrap over runs and over settings of the other levers (crossed).
        over_seeds: Student's t interval over the runs' mean differences; with two runs it has one degree of freedom.
        pairs: How many matched pairs there are.
        runs: How many runs they come from.
    """

    interval: Interval
    over_seeds: Interval
    pairs: int
    runs: int


def anova(
    frame: pd.DataFrame, response: str, factors: Sequence[str], block: str = "run", interactions: int = 2
) -> pd.DataFrame:
    r"""Type II analysis of variance of one response on the levers, blocked by run.

    .. math:: \eta_p^2 = \frac{SS}{SS + SS_{res}}, \qquad
              \omega_p^2 = \frac{SS - \nu\,MS_{res}}{SS + (N - \nu)\,MS_{res}}

    Args:
        frame: One row a cell; rows without the response are left out.
        response: Column of numbers.
        factors: Lever columns, each taken as categorical; those with a single level are left out.
        block: Column of the runs; left out of the model if there is a single run.
        interactions: Highest order of interaction among the factors, at least 1.

    Returns:
        One row a term (``a``, ``a:b``, the block, ``residual``), columns ``term``, ``sum_of_squares``, ``degrees``,
        ``f``, ``p_value``, ``partial_eta_squared``, ``partial_omega_squared`` (can be slightly negative).

    Raises:
        ValueError: If no factor has two levels, too few rows are left to estimate the error, or combinations of
            levels lack rows.
    """
    data = frame.dropna(subset=[response])
    used = [name for name in factors if data[name].dropna().nunique() > 1]
    if not used or interactions < 1:
        raise ValueError(f"analysis of variance needs a factor with two levels and interactions >= 1, got {used}")
    # Short names of our own, so that no column name can be read as a formula.
    names = {f"f{position}": name for position, name in enumerate(used)}
    plain = pd.DataFrame({"y": data[response].to_numpy(dtype=float)})
    for short, name in names.items():
        plain[short] = [level_label(value) for value in data[name]]
    has_block = data[block].nunique() > 1
    if has_block:
        plain["block"] = [str(value) for value in data[block]]
    order = min(interactions, len(used))
    formula = f"y ~ ({' + '.join(f'C({short})' for short in names)})**{order}" + (" + C(block)" if has_block else "")
    with warnings.catch_warnings():
        warnings.simplefilter("error", SingularMatrixWarning)
        try:
            fit = ols(formula, plain).fit()
        except SingularMatrixWarning as singular:
            raise ValueError(
                "analysis of variance needs rows for every combination of levels that it gives an effect, "
                "and some combinations have none; run the missing cells or lower interactions"
            ) from singular
    if fit.df_resid < 1:
        raise ValueError(
            f"analysis of variance needs more rows than effects, got {len(plain)} rows for {int(fit.df_model) + 1}; "
            "run more seeds or lower interactions"
        )
    table = anova_lm(fit, typ=2)
    error = float(table.loc["Residual", "sum_sq"])
    mean_error = error / fit.df_resid
    rows = []
    for term, line in table.iterrows():
        parts = [part.removeprefix("C(").removesuffix(")") for part in str(term).split(":")]
        squares, degrees = float(line["sum_sq"]), float(line["df"])
        is_residual = term == "Residual"
        rows.append({
            "term": "residual" if is_residual else ":".join(names.get(part, block) for part in parts),
            "sum_of_squares": squares,
            "degrees": degrees,
            "f": float(line["F"]),
            "p_value": float(line["PR(>F)"]),
            "partial_eta_squared": float("nan") if is_residual else _ratio(squares, squares + error),
            "partial_omega_squared": float("nan") if is_residual else _ratio(
                squares - degrees * mean_error, squares + (len(plain) - degrees) * mean_error
            ),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=ANOVA_COLUMNS)


def contrast(
    frame: pd.DataFrame,
    response: str,
    lever: str,
    levels: tuple[object, object],
    others: Sequence[str],
    rng: np.random.Generator,
    block: str = "run",
    level: float = 0.95,
    draws: int = 2000,
) -> Contrast:
    """The effect of moving one lever from the first level to the second, all else equal.

    Args:
        frame: One row a cell.
        response: Column of numbers.
        lever: Column of the lever.
        levels: ``(from, to)``; the effect is the mean of ``to - from`` over matched pairs.
        others: The other levers' columns; a pair agrees in all of them and in the run.
        rng: Source of the bootstrap's draws.
        block: Column of the runs.
        level: Nominal coverage of the intervals.
        draws: Number of resamples.

    Returns:
        The contrast; NaN everywhere if no pair matches.
    """
    first, second = (_grid(_at(frame, lever, value), response, others, block) for value in levels)
    differences = (second - first).dropna(how="all").dropna(axis=1, how="all")
    values = differences.to_numpy(dtype=float).T
    if not values.size:
        nothing = Interval(float("nan"), float("nan"), float("nan"), level, "seeds and settings", "percentile")
        return Contrast(nothing, replace(nothing, over="seeds", method="t"), 0, 0)
    interval = _over_settings(crossed_interval([values], rng, level=level, draws=draws))
    over_seeds = t_interval(np.nanmean(values, axis=1), level)
    return Contrast(interval, over_seeds, int(np.isfinite(values).sum()), len(values))


def level_means(
    frame: pd.DataFrame,
    response: str,
    lever: str,
    levels: Sequence[object],
    others: Sequence[str],
    rng: np.random.Generator,
    block: str = "run",
    level: float = 0.95,
    draws: int = 1000,
) -> list[Interval]:
    """Mean response at each level, with intervals made for comparing levels.

    Differences between settings of the other levers and between runs are removed first (each matched group is shifted
    to the grand mean, as Cousineau 2005 does for repeated measures), so that an interval shows what moves with the
    lever. Only groups that have every level count; if there is none, all rows do, unshifted.
    """
    grids = [_grid(_at(frame, lever, value), response, others, block) for value in levels]
    stacked = np.stack([grid.reindex_like(_union(grids)).to_numpy(dtype=float) for grid in grids])
    is_complete = np.isfinite(stacked).all(axis=0)
    if is_complete.any():
        stacked = np.where(is_complete, stacked, np.nan)
        group_means = np.where(is_complete, np.where(is_complete, stacked, 0.0).mean(axis=0), np.nan)
        stacked = stacked - group_means + np.nanmean(group_means)
    intervals = []
    for values in stacked:
        if np.isfinite(values).any():
            intervals.append(_over_settings(crossed_interval([values.T], rng, level=level, draws=draws)))
        else:
            intervals.append(Interval(float("nan"), float("nan"), float("nan"), level, "seeds and settings", "none"))
    return intervals


def _over_settings(interval: Interval) -> Interval:
    return replace(interval, over=interval.over.replace("examples", "settings"))


def _at(frame: pd.DataFrame, lever: str, value: object) -> pd.DataFrame:
    return frame[(frame[lever] == value).fillna(False).to_numpy(dtype=bool)]


def _union(grids: Sequence[pd.DataFrame]) -> pd.DataFrame:
    whole = grids[0]
    for grid in grids[1:]:
        whole = whole.combine_first(grid)
    return whole


def _grid(rows: pd.DataFrame, response: str, others: Sequence[str], block: str) -> pd.DataFrame:
    groups = [" ".join(map(level_label, key)) for key in zip(*(rows[name] for name in others))] or [""] * len(rows)
    plain = pd.DataFrame({"group": groups, "run": rows[block].to_numpy(), "y": rows[response].to_numpy(dtype=float)})
    return plain.pivot_table(index="group", columns="run", values="y", aggfunc="mean")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
