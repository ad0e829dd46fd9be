"""Scores over several benchmarks and runs: interquartile mean, performance profiles, probability of improvement.

The definitions are those of Agarwal et al. (NeurIPS 2021, arXiv 2108.13264). Rows are one (method, benchmark, run);
intervals resample runs within benchmarks, the benchmarks held fixed. Scores are used as they are: accuracies of
benchmarks of different difficulty should be made comparable before (:func:`normalised`).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from analysis.bootstrap import Seed, bootstrap_positions
from analysis.probabilities import Floats, Integers


def interquartile_mean(values: npt.ArrayLike) -> float:
    """Mean of the middle half: the lowest and the highest quarter (rounded down) are left out.

    Args:
        values: Any shape; flattened; no NaN.

    Returns:
        The mean; NaN for no values.

    Raises:
        ValueError: If a value is NaN.

    Example:
        >>> interquartile_mean([0.0, 0.4, 0.6, 9.0])
        0.5
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    if np.isnan(flat).any():
        raise ValueError(f"an interquartile mean is of numbers, got {int(np.isnan(flat).sum())} NaN; drop missing runs")
    return float(stats.trim_mean(flat, 0.25)) if flat.size else float("nan")


def normalised(
    frame: pd.DataFrame, score: str, low: str, high: str, method: str = "method", task: str = "benchmark"
) -> pd.DataFrame:
    r"""Scores on a scale whose 0 and 1 are two methods' means on each benchmark, :math:`(x - l)/(h - l)`.

    Args:
        frame: One row a (method, task, run).
        score: Column of the scores.
        low: Method at 0.
        high: Method at 1.
        method: Column of the methods.
        task: Column of the benchmarks.

    Returns:
        The frame with ``score`` on the new scale; NaN where a benchmark lacks one of the two, or they are equal.
    """
    means = frame.groupby([method, task])[score].mean()
    ends = {name: means.loc[name] if name in means.index else pd.Series(dtype="float64") for name in (low, high)}
    bottom, top = (frame[task].map(ends[name]).astype("float64") for name in (low, high))
    span = (top - bottom).where(lambda width: width.ne(0.0))
    return frame.assign(**{score: (frame[score] - bottom) / span})


def aggregates(
    frame: pd.DataFrame,
    score: str,
    rng: Seed = 0,
    target: float = 1.0,
    method: str = "method",
    task: str = "benchmark",
    run: str = "run",
    level: float = 0.95,
    draws: int = 2000,
) -> pd.DataFrame:
    """Each method's mean, median, interquartile mean and optimality gap over all benchmarks and runs.

    ``mean`` and ``median`` are over the benchmarks' means; ``interquartile_mean`` over all (benchmark, run);
    ``optimality_gap`` is the mean shortfall from ``target``, runs above it counting 0.

    Args:
        frame: One row a (method, task, run); rows without a score are left out and counted in ``missing``.
        score: Column of the scores.
        rng: Seed or generator.
        target: Where the optimality gap counts as closed.
        method: Column of the methods.
        task: Column of the benchmarks.
        run: Column of the runs; drawn within benchmarks.
        level: Nominal coverage.
        draws: Resamples.

    Returns:
        Columns ``method`` and those of :func:`analysis.bootstrap.bootstrap`, ``missing`` (rows without a score).
    """
    parts = []
    for name, rows in frame.groupby(method, sort=False):
        known = rows.dropna(subset=[score])
        if known.empty:
            continue
        values, tasks = known[score].to_numpy(dtype=np.float64), pd.factorize(known[task])[0]

        def statistic(at: Integers, values: Floats = values, tasks: npt.NDArray[np.intp] = tasks) -> dict[str, float]:
            means = _task_means(values[at], tasks[at])
            gap = float(np.maximum(target - values[at], 0.0).mean())
            return {"mean": float(means.mean()), "median": float(np.median(means)),
                    "interquartile_mean": interquartile_mean(values[at]), "optimality_gap": gap}  # fmt: skip

        found = bootstrap_positions(known, statistic, run, rng, (task,), level=level, draws=draws)
        found.insert(0, "method", name)
        parts.append(found.assign(missing=len(rows) - len(known)))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["method"])


def performance_profiles(
    frame: pd.DataFrame,
    score: str,
    thresholds: Sequence[float],
    rng: Seed = 0,
    method: str = "method",
    task: str = "benchmark",
    run: str = "run",
    level: float = 0.95,
    draws: int = 2000,
) -> pd.DataFrame:
    r"""The fraction of (benchmark, run) whose score exceeds each threshold, by method; benchmarks weigh equally.

    .. math:: \hat F(\tau) = \frac1M \sum_m \frac1{N_m} \sum_n 1[x_{mn} > \tau]

    Bands are pointwise. A profile above another everywhere is stochastic dominance; where two cross, neither method is
    better.

    Args:
        frame: One row a (method, task, run); rows without a score are left out.
        score: Column of the scores.
        thresholds: Values of :math:`\tau`.
        rng: Seed or generator.
        method: Column of the methods.
        task: Column of the benchmarks.
        run: Column of the runs; drawn within benchmarks.
        level: Nominal coverage at each threshold.
        draws: Resamples.

    Returns:
        Columns ``method``, ``threshold``, ``fraction``, ``low``, ``high``, ``units``.
    """
    levels = np.asarray(thresholds, dtype=np.float64)
    parts = []
    for name, rows in frame.dropna(subset=[score]).groupby(method, sort=False):
        tasks = pd.factorize(rows[task])[0]
        exceeds = (rows[score].to_numpy(dtype=np.float64)[:, None] > levels).astype(np.float64)

        def statistic(at: Integers, exceeds: Floats = exceeds, tasks: npt.NDArray[np.intp] = tasks) -> dict[str, float]:
            counts = np.bincount(tasks[at])
            # Each row weighs by its benchmark's size, so that benchmarks weigh equally.
            weights = 1.0 / (counts[tasks[at]] * np.count_nonzero(counts))
            return dict(enumerate(weights @ exceeds[at]))  # type: ignore[arg-type]

        found = bootstrap_positions(rows, statistic, run, rng, (task,), level=level, draws=draws)
        parts.append(pd.DataFrame({"method": name, "threshold": levels, "fraction": found["estimate"].to_numpy(),
                                   "low": found["low"].to_numpy(), "high": found["high"].to_numpy(),
                                   "units": found["units"].to_numpy()}))  # fmt: skip
    columns = ["method", "threshold", "fraction", "low", "high", "units"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def probability_of_improvement(
    frame: pd.DataFrame,
    score: str,
    reference: str,
    rng: Seed = 0,
    pairing: str = "run",
    method: str = "method",
    task: str = "benchmark",
    run: str = "run",
    level: float = 0.95,
    draws: int = 2000,
) -> pd.DataFrame:
    r"""The chance that a run of a method beats a run of the reference, a tie counting half, mean over benchmarks.

    .. math:: P(X > Y) = \frac1M \sum_m \frac{U_m}{N_m K_m}

    with Mann and Whitney's U. It says how often, not by how much. Every run is held against every run of the
    reference, whether they share a seed or not; ``pairing`` is about the interval alone.

    Args:
        frame: One row a (method, task, run); rows without a score are left out. Benchmarks that one of the two lacks do
            not count.
        score: Column of the scores.
        reference: Method to beat.
        rng: Seed or generator.
        pairing: ``run`` draws runs that share a name together (same seed, same batches); ``none`` draws the two
            methods' runs apart.
        method: Column of the methods.
        task: Column of the benchmarks.
        run: Column of the runs.
        level: Nominal coverage.
        draws: Resamples.

    Returns:
        A row a method but the reference: ``method``, ``reference``, ``probability``, ``low``, ``high``, ``tasks``.

    Raises:
        ValueError: If ``pairing`` is neither, or the reference has no row.
    """
    if pairing not in ("run", "none"):
        raise ValueError(f"pairing must be run or none, got {pairing!r}")
    known = frame.dropna(subset=[score])
    if not known[method].eq(reference).any():
        raise ValueError(
            f"the reference must be one of {', '.join(map(str, known[method].unique()))}, got {reference!r}"
        )
    base = known[known[method].eq(reference)]
    rows = []
    for name, ours in known.groupby(method, sort=False):
        shared = set(ours[task]) & set(base[task])
        if name == reference or not shared:
            continue
        both = pd.concat([ours, base])
        both = both[both[task].isin(shared)].reset_index(drop=True)
        values, tasks = both[score].to_numpy(dtype=np.float64), pd.factorize(both[task])[0]
        is_ours = both[method].eq(name).to_numpy(dtype=bool)

        def statistic(
            at: Integers, values: Floats = values, tasks: npt.NDArray[np.intp] = tasks,
            is_ours: npt.NDArray[np.bool_] = is_ours,
        ) -> dict[str, float]:  # fmt: skip
            return {"probability": _wins(values[at], tasks[at], is_ours[at])}

        strata = (task,) if pairing == "run" else (task, method)
        found = bootstrap_positions(both, statistic, run, rng, strata, level=level, draws=draws).iloc[0]
        rows.append({"method": name, "reference": reference, "probability": found["estimate"], "low": found["low"],
                     "high": found["high"], "tasks": len(shared)})  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "reference", "probability", "low", "high", "tasks"])


def _task_means(values: Floats, tasks: npt.NDArray[np.intp]) -> Floats:
    counts = np.bincount(tasks)
    return np.asarray((np.bincount(tasks, weights=values) / np.maximum(counts, 1))[counts > 0])


def _wins(values: Floats, tasks: npt.NDArray[np.intp], is_ours: npt.NDArray[np.bool_]) -> float:
    chances = []
    for task in np.unique(tasks):
        is_here = tasks == task
        ours, theirs = values[is_here & is_ours], values[is_here & ~is_ours]
        if not ours.size or not theirs.size:
            return float("nan")
        gaps = ours[:, None] - theirs[None, :]
        chances.append(float(((gaps > 0) + 0.5 * (gaps == 0)).mean()))
    return float(np.mean(chances))
