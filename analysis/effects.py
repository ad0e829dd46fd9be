"""What each lever does to a response: paired contrasts of levels, and level means to plot.

Rows are cells of a (nearly) crossed design: one column a lever, one with the run (seed), one a response. Runs are
blocks: every comparison is within a run and within a setting of the other levers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.design import level_label
from analysis.intervals import Interval, crossed_interval, t_interval
from analysis.probabilities import Floats


@dataclass(frozen=True)
class Contrast:
    """The mean of one level minus the mean of another, paired within runs and settings of the other levers.

    Args:
        interval: Bootstrap over runs and over settings of the other levers (crossed).
        over_seeds: Student's t interval over the runs' mean differences; with two runs it has one degree of freedom.
        pairs: How many matched pairs there are.
        runs: How many runs they come from.
        gaps: Each run's mean difference over its settings, shape ``(runs,)``.
    """

    interval: Interval
    over_seeds: Interval
    pairs: int
    runs: int
    gaps: Floats


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
        return Contrast(nothing, replace(nothing, over="seeds", method="t"), 0, 0, np.empty(0))
    interval = _over_settings(crossed_interval([values], rng, level=level, draws=draws))
    gaps = np.asarray(np.nanmean(values, axis=1))
    return Contrast(interval, t_interval(gaps, level), int(np.isfinite(values).sum()), len(values), gaps)


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
        # Rows and columns are all that is asked for; to fill them in takes most of the time.
        whole = whole.align(grid)[0] if len(whole) and len(grid) else whole.combine_first(grid)
    return whole


def _grid(rows: pd.DataFrame, response: str, others: Sequence[str], block: str) -> pd.DataFrame:
    if others:
        number = rows.groupby(list(others), sort=False, dropna=False, observed=True).ngroup().to_numpy()
        different = rows.iloc[np.unique(number, return_index=True)[1]]
        spelled = [" ".join(map(level_label, key)) for key in zip(*(different[name] for name in others))]
        groups = [spelled[position] for position in number]
    else:
        groups = [""] * len(rows)
    plain = pd.DataFrame({"group": groups, "run": rows[block].to_numpy(), "y": rows[response].to_numpy(dtype=float)})
    return plain.pivot_table(index="group", columns="run", values="y", aggfunc="mean")
