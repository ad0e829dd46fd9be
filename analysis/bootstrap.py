"""The bootstrap of frames: whole units (seeds, examples, benchmarks) are drawn, within strata, nested or crossed.

A row is one observation; a *unit* is all rows that share a value of the unit's column, drawn together or not at all.
What is compared within a unit is thereby paired. An interval speaks about the units that were drawn and about no
others: over ``run`` it is another run on these benchmarks, over ``benchmark`` another benchmark of the same kind.
:mod:`analysis.intervals` does the same for matrices of right answers, where frames would be slow.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from analysis.probabilities import Floats, Integers

Seed = int | np.random.Generator
Statistic = Callable[[pd.DataFrame], Mapping[str, float]]
ARRANGEMENTS = ("nested", "crossed")
INTERVALS = ("percentile", "expanded", "bca")
INTERVAL_COLUMNS = ["statistic", "estimate", "low", "high", "level", "over", "strata", "interval", "units", "undefined"]


def bootstrap(
    frame: pd.DataFrame,
    statistic: Statistic,
    unit: str | Sequence[str],
    rng: Seed = 0,
    strata: Sequence[str] = (),
    arrangement: str = "nested",
    method: str = "percentile",
    level: float = 0.95,
    draws: int = 2000,
) -> pd.DataFrame:
    r"""Intervals of statistics of a frame, resampling whole units.

    With ``strata`` each stratum keeps its number of units, and units of different strata are different ones whatever
    their names. Without, rows of one unit stay together across everything (a seed with all its benchmarks). Several
    units are drawn ``nested``, the second within each drawn first (benchmarks, then seeds within a benchmark), or
    ``crossed``, each on its own, a row counting as often as the product of its units' draws (Owen, AoAS 2007; a little
    wide).

    The percentile interval takes quantiles of the resampled statistic. BCa (Efron, JASA 1987) corrects them for bias
    and skewness, with the acceleration of several strata

    .. math:: a = \frac{\sum_s \sum_{i \in s} U_{si}^3 / n_s^3}{6\,\bigl(\sum_s \sum_{i \in s} U_{si}^2 / n_s^2
              \bigr)^{3/2}}, \qquad U_{si} = (n_s - 1)(\bar\theta_{s\cdot} - \theta_{(si)})

    where :math:`\theta_{(si)}` leaves out unit i of stratum s. With few units both are too narrow: n units hold only
    (n - 1)/n of their variance, and their resamples have no tails of Student's t. The ``expanded`` percentile interval
    (Hesterberg, The American Statistician 2015) takes quantiles further out by as much, with one degree of freedom a
    unit less one a stratum; what it cannot do is to draw more than there is: two units have three different resamples.

    Args:
        frame: One row an observation.
        statistic: Frame to named numbers, the same names for every resample; rows of a resample repeat.
        unit: Column of the unit that is drawn, or columns of several, outermost first.
        rng: Seed or generator of every draw.
        strata: Columns that are held fixed.
        arrangement: ``nested`` or ``crossed``; says nothing for one unit.
        method: ``percentile``; ``expanded``, unless units are crossed; or ``bca``, for a single unit.
        level: Nominal coverage in (0, 1).
        draws: Resamples.

    Returns:
        A row a statistic: ``statistic``, ``estimate`` (of the frame itself), ``low``, ``high``, ``level``, ``over``
        (the unit), ``strata``, ``interval`` (its method), ``units`` (of the outermost unit, over all strata) and
        ``undefined`` (resamples in which the statistic was NaN, left out). Ends are NaN with fewer than two units in
        every stratum.

    Raises:
        ValueError: If a column is missing or holds nulls, an argument is out of range, or the method does not go with
            the units.

    Example:
        >>> runs = pd.DataFrame({"run": range(4), "score": [0.1, 0.2, 0.3, 0.4]})
        >>> found = bootstrap(runs, lambda rows: {"mean": rows["score"].mean()}, unit="run")
        >>> found[["statistic", "estimate", "over"]].values.tolist()
        [['mean', 0.25, 'run']]
    """
    return bootstrap_positions(
        frame, lambda rows: statistic(frame.iloc[rows]), unit, rng, strata, arrangement, method, level, draws
    )


def bootstrap_positions(
    frame: pd.DataFrame,
    statistic: Callable[[Integers], Mapping[str, float]],
    unit: str | Sequence[str],
    rng: Seed = 0,
    strata: Sequence[str] = (),
    arrangement: str = "nested",
    method: str = "percentile",
    level: float = 0.95,
    draws: int = 2000,
) -> pd.DataFrame:
    """As :func:`bootstrap`, with a statistic of row positions: for arrays that were taken out of the frame before."""
    names = [unit] if isinstance(unit, str) else list(unit)
    _check(frame, names, strata, arrangement, method, level, draws)
    whole = pd.Series(dict(statistic(np.arange(len(frame)))), dtype="float64")
    sizes = _units_by_stratum(frame, names[:1] if arrangement == "nested" else names, strata)
    can_vary = any(size > 1 for size in sizes)
    ends = pd.DataFrame(np.nan, index=whole.index, columns=["low", "high"])
    undefined = pd.Series(0, index=whole.index)
    if can_vary:
        drawn = pd.DataFrame(
            [dict(statistic(rows)) for rows in resamples(frame, names, rng, strata, arrangement, draws)]
        )
        drawn = drawn.reindex(columns=whole.index).astype("float64")
        undefined = drawn.isna().sum()
        left_out = _left_out(frame, statistic, names[0], strata) if method == "bca" else None
        for name, estimate in whole.items():
            values = drawn[name].dropna().to_numpy()
            if len(values) < 2 or np.isnan(estimate):
                continue
            tails = np.array([0.5 - level / 2, 0.5 + level / 2])
            if method == "expanded":
                tails = _expanded_tails(sizes, tails)
            if left_out is not None:
                tails = _bca_tails(values, float(estimate), [part[name].to_numpy() for part in left_out], tails)
            ends.loc[name] = np.quantile(values, tails)
    over = {"nested": " then ", "crossed": " and "}[arrangement].join(names)
    found = pd.DataFrame({"statistic": whole.index, "estimate": whole.to_numpy(), "low": ends["low"].to_numpy(),
                          "high": ends["high"].to_numpy(), "level": level, "over": over, "strata": ", ".join(strata),
                          "interval": method, "units": sum(sizes), "undefined": undefined.to_numpy()})  # fmt: skip
    return found[INTERVAL_COLUMNS]


def resamples(
    frame: pd.DataFrame,
    unit: str | Sequence[str],
    rng: Seed = 0,
    strata: Sequence[str] = (),
    arrangement: str = "nested",
    draws: int = 2000,
) -> Iterator[Integers]:
    """Row positions of one resample after the other; arguments as for :func:`bootstrap`.

    Example:
        >>> frame = pd.DataFrame({"run": ["a", "a", "b"]})
        >>> all(np.bincount(rows, minlength=3)[0] == np.bincount(rows, minlength=3)[1]
        ...     for rows in resamples(frame, "run", draws=9))
        True
    """
    names = [unit] if isinstance(unit, str) else list(unit)
    _check(frame, names, strata, arrangement, "percentile", 0.5, draws)
    generator = np.random.default_rng(rng)
    parts = _positions(frame, strata)
    if arrangement == "crossed" and len(names) > 1:
        codes = [[pd.factorize(frame[name].iloc[rows])[0] for name in names] for rows in parts]
        for _ in range(draws):
            yield np.concatenate([_crossed(rows, part, generator) for rows, part in zip(parts, codes)])
        return
    trees = [_tree(frame, rows, names) for rows in parts]
    for _ in range(draws):
        yield np.concatenate([_draw(tree, generator) for tree in trees])


Tree = list["Tree"] | Integers


def _tree(frame: pd.DataFrame, rows: Integers, names: Sequence[str]) -> Tree:
    if not names:
        return rows
    codes = pd.factorize(frame[names[0]].iloc[rows])[0]
    order = np.argsort(codes, kind="stable")
    groups = np.split(rows[order], np.flatnonzero(np.diff(codes[order])) + 1)
    return [_tree(frame, group, names[1:]) for group in groups]


def _draw(tree: Tree, generator: np.random.Generator) -> Integers:
    if not isinstance(tree, list):
        return tree
    return np.concatenate([_draw(tree[pick], generator) for pick in generator.integers(len(tree), size=len(tree))])


def _crossed(rows: Integers, codes: Sequence[npt.NDArray[np.intp]], generator: np.random.Generator) -> Integers:
    times = np.ones(len(rows), dtype=np.int64)
    for code in codes:
        units = int(code.max()) + 1
        times *= np.bincount(generator.integers(units, size=units), minlength=units)[code]
    return np.repeat(rows, times)


def _positions(frame: pd.DataFrame, strata: Sequence[str]) -> list[Integers]:
    rows = np.arange(len(frame))
    if not strata or not len(frame):
        return [rows]
    codes = frame.groupby(list(strata), sort=False, observed=True).ngroup().to_numpy()
    return [rows[codes == code] for code in range(int(codes.max()) + 1)]


def _units_by_stratum(frame: pd.DataFrame, names: Sequence[str], strata: Sequence[str]) -> list[int]:
    return [max(frame[name].iloc[rows].nunique() for name in names) for rows in _positions(frame, strata)]


def _left_out(
    frame: pd.DataFrame, statistic: Callable[[Integers], Mapping[str, float]], unit: str, strata: Sequence[str]
) -> list[pd.DataFrame]:
    everything, parts = np.arange(len(frame)), []
    for rows in _positions(frame, strata):
        groups = _tree(frame, rows, [unit])
        if len(groups) > 1:
            without = [np.setdiff1d(everything, np.asarray(group), assume_unique=True) for group in groups]
            parts.append(pd.DataFrame([dict(statistic(rest)) for rest in without]).astype("float64"))
    return parts


def _expanded_tails(sizes: Sequence[int], tails: Floats) -> Floats:
    degrees = sum(sizes) - len(sizes)
    return np.asarray(stats.norm.cdf(np.sqrt(sum(sizes) / degrees) * stats.t.ppf(tails, degrees)))


def _bca_tails(values: Floats, estimate: float, left_out: Sequence[Floats], tails: Floats) -> Floats:
    below = np.clip(np.mean(values < estimate) + 0.5 * np.mean(values == estimate), 1e-6, 1 - 1e-6)
    bias = stats.norm.ppf(below)
    cubes = squares = 0.0
    for part in left_out:
        influence = (len(part) - 1) * (np.nanmean(part) - part) / len(part)
        cubes, squares = cubes + float(np.nansum(influence**3)), squares + float(np.nansum(influence**2))
    acceleration = cubes / (6.0 * squares**1.5) if squares > 0 else 0.0
    shifted = bias + stats.norm.ppf(tails)
    return np.asarray(stats.norm.cdf(bias + shifted / (1.0 - acceleration * shifted)))


def _check(
    frame: pd.DataFrame, names: Sequence[str], strata: Sequence[str], arrangement: str, method: str, level: float,
    draws: int,
) -> None:  # fmt: skip
    columns = [*names, *strata]
    if not names or not len(frame):
        raise ValueError(f"a bootstrap needs a unit and rows, got unit {names} and {len(frame)} rows")
    if wrong := [name for name in columns if name not in frame or frame[name].isna().any()]:
        raise ValueError(f"units and strata are columns without nulls, got {', '.join(wrong)}; drop or name those rows")
    if arrangement not in ARRANGEMENTS:
        raise ValueError(f"arrangement must be one of {', '.join(ARRANGEMENTS)}, got {arrangement!r}")
    if method not in INTERVALS:
        raise ValueError(f"method must be one of {', '.join(INTERVALS)}, got {method!r}")
    if len(names) > 1 and (method == "bca" or (method == "expanded" and arrangement == "crossed")):
        raise ValueError(f"{method} is for a single unit, got {arrangement} {', '.join(names)}; take percentile")
    if not 0.0 < level < 1.0 or draws < 1:
        raise ValueError(f"level must lie in (0, 1) and draws be at least 1, got {level} and {draws}")
