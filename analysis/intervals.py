"""Intervals for a mean: bootstrap over seeds, over examples or over both, and Student's t over seeds.

What an interval covers is what was resampled. *Examples*: another test set from the same source, the same trained
models. *Seeds*: another run of training, the same test set. *Both* (the pigeonhole bootstrap of Owen, AoAS 2007,
resamples the two independently and is a little wide): another run and another test set.

With few seeds no method can do magic. The bootstrap of n seeds has only (n-1)/n of their variance and few distinct
values (3 for n = 2), so below about 5 seeds its seed part is too narrow; Student's t is honest there and wide (n = 2:
12.7 standard errors). The tables give both.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.probabilities import Floats

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Args:
        estimate: The statistic of the data themselves.
        low: Lower end; NaN where the data cannot give one.
        high: Upper end.
        level: Nominal coverage, in (0, 1).
        over: What varied: ``seeds``, ``examples``, ``seeds and examples`` or ``values``.
        method: ``percentile``, ``bca`` or ``t``.
    """

    estimate: float
    low: float
    high: float
    level: float
    over: str
    method: str

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside; False where there is no interval."""
        return bool(self.low > 0.0 or self.high < 0.0)


def t_interval(values: npt.ArrayLike, level: float = 0.95, over: str = "seeds") -> Interval:
    r"""Student's interval of a mean, :math:`\bar x \pm t_{n-1}\, s/\sqrt n`; NaN ends for fewer than two values.

    Args:
        values: One number a seed, shape ``(seeds,)``; no NaN.
        level: Nominal coverage in (0, 1).
        over: What the values vary over.

    Example:
        >>> interval = t_interval([0.5, 0.6])
        >>> round(interval.high - interval.estimate, 2)
        0.64
    """
    sample = _sample(values, level)
    mean = float(sample.mean()) if sample.size else float("nan")
    if sample.size < 2:
        return Interval(mean, float("nan"), float("nan"), level, over, "t")
    half = float(stats.t.ppf(0.5 + level / 2, sample.size - 1) * sample.std(ddof=1) / np.sqrt(sample.size))
    return Interval(mean, mean - half, mean + half, level, over, "t")


def bootstrap_interval(
    values: npt.ArrayLike,
    rng: np.random.Generator,
    statistic: Callable[..., Floats] = np.mean,
    level: float = 0.95,
    draws: int = 2000,
    method: str = "percentile",
    over: str = "values",
) -> Interval:
    """Bootstrap interval of a statistic of independent values.

    Args:
        values: Shape ``(n,)``; no NaN.
        rng: Source of every draw.
        statistic: Takes ``axis=-1`` like ``np.mean``.
        level: Nominal coverage in (0, 1).
        draws: Number of resamples.
        method: ``percentile``, or ``bca`` (bias-corrected and accelerated, Efron 1987).
        over: What the values vary over.

    Returns:
        The interval; NaN ends for fewer than two values.

    Raises:
        ValueError: If ``method`` is neither, a value is NaN, or ``level`` or ``draws`` is out of range.
    """
    sample = _sample(values, level, draws)
    if method not in ("percentile", "bca"):
        raise ValueError(f"method must be percentile or bca, got {method!r}")
    if sample.size < 2:
        estimate = float(statistic(sample, axis=-1)) if sample.size else float("nan")
        return Interval(estimate, float("nan"), float("nan"), level, over, method)
    estimate = float(statistic(sample, axis=-1))
    resampled = statistic(sample[rng.integers(sample.size, size=(draws, sample.size))], axis=-1)
    tails = np.array([0.5 - level / 2, 0.5 + level / 2])
    if method == "bca":
        tails = _bca_tails(sample, resampled, estimate, statistic, tails)
    low, high = np.quantile(resampled, tails)
    return Interval(estimate, float(low), float(high), level, over, method)


def _mean_of_parts(means: Floats) -> Floats:
    return np.asarray(means.mean(axis=0))


def crossed_interval(
    parts: Sequence[npt.ArrayLike],
    rng: np.random.Generator,
    combine: Callable[[Floats], Floats] = _mean_of_parts,
    over: str = "seeds and examples",
    level: float = 0.95,
    draws: int = 1000,
) -> Interval:
    r"""Percentile interval of a function of the means of (seeds, examples) matrices, resampling rows and columns.

    The rows (seeds) of all parts are resampled together, the columns (examples) of each part on their own: with one
    part a split, splits keep their sizes. Differences of two methods' right answers with common seeds and examples
    give a *paired* interval: entries in {-1, 0, 1}.

    Args:
        parts: Matrices of shape ``(seeds, examples of the part)``; NaN marks entries that are not there.
        rng: Source of every draw.
        combine: Maps the parts' means, shape ``(parts, draws)``, to the statistic, shape ``(draws,)``; by default
            their mean.
        over: ``seeds``, ``examples`` or ``seeds and examples``.
        level: Nominal coverage in (0, 1).
        draws: Number of resamples.

    Returns:
        The interval; NaN ends where fewer than two units could vary. With a single seed, ``over`` says ``examples``:
        nothing else was resampled.

    Raises:
        ValueError: If there is no part, or shapes, ``over``, ``level`` or ``draws`` do not fit.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> crossed_interval([[[1.0, 0.0, 1.0, 0.0]]], rng, over="examples").estimate
        0.5
    """
    matrices = [np.asarray(part, dtype=np.float64) for part in parts]
    _sample([], level, draws)
    if not matrices or any(matrix.ndim != 2 or len(matrix) != len(matrices[0]) for matrix in matrices):
        shapes = [matrix.shape for matrix in matrices]
        raise ValueError(f"parts must be matrices (seeds, examples) with the same seeds, got shapes {shapes}")
    if over not in ("seeds", "examples", "seeds and examples"):
        raise ValueError(f"over must be seeds, examples or seeds and examples, got {over!r}")
    seeds = len(matrices[0])
    if seeds == 1 and over == "seeds and examples":
        over = "examples"
    rows = np.ones((draws, seeds)) if over == "examples" else _weights(seeds, draws, rng)
    means, samples = [], []
    for matrix in matrices:
        columns = np.ones((draws, matrix.shape[1])) if over == "seeds" else _weights(matrix.shape[1], draws, rng)
        means.append(_weighted_mean(matrix, np.ones((1, seeds)), np.ones((1, matrix.shape[1]))))
        samples.append(_weighted_mean(matrix, rows, columns))
    estimate = float(combine(np.stack(means))[0])
    drawn = combine(np.stack(samples))
    drawn = drawn[~np.isnan(drawn)]
    can_vary = (over != "examples" and seeds > 1) or (over != "seeds" and max(m.shape[1] for m in matrices) > 1)
    if not can_vary or drawn.size < 2 or np.isnan(estimate):
        return Interval(estimate, float("nan"), float("nan"), level, over, "percentile")
    low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(estimate, float(low), float(high), level, over, "percentile")


def paired(values: Mapping[Key, npt.ArrayLike], reference: Mapping[Key, npt.ArrayLike]) -> Floats:
    """Differences to a reference on the seeds that both have, stacked in the order of ``values``.

    Args:
        values: Seed to a number, or to an array of right answers ``(examples,)``.
        reference: The same for the reference method.

    Returns:
        Shape ``(common seeds,)`` or ``(common seeds, examples)``; empty without a common seed.

    Raises:
        ValueError: If two arrays of one seed differ in shape.
    """
    differences = []
    for seed in [seed for seed in values if seed in reference]:
        ours = np.asarray(values[seed], dtype=np.float64)
        theirs = np.asarray(reference[seed], dtype=np.float64)
        if ours.shape != theirs.shape:
            raise ValueError(
                f"paired values must be on the same examples, got shapes {ours.shape} and {theirs.shape} "
                f"for seed {seed}; pair cells of one benchmark and manifest only"
            )
        differences.append(ours - theirs)
    return np.stack(differences) if differences else np.empty(0)


def _weighted_mean(matrix: Floats, rows: Floats, columns: Floats) -> Floats:
    is_present = ~np.isnan(matrix)
    total = ((columns @ np.nan_to_num(matrix).T) * rows).sum(axis=1)
    # Whole numbers below 2**53: both sums are exact, and where nothing is missing the short one gives the same.
    if is_present.all():
        weight = columns.sum(axis=1) * rows.sum(axis=1)
    else:
        weight = ((columns @ is_present.T.astype(np.float64)) * rows).sum(axis=1)
    return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)


def _weights(units: int, draws: int, rng: np.random.Generator) -> Floats:
    # How often each unit was drawn: the same as drawing indices, in one bincount instead of one gather a draw.
    picks = rng.integers(max(units, 1), size=(draws, units)) + units * np.arange(draws)[:, None]
    return np.bincount(picks.ravel(), minlength=draws * units).reshape(draws, units).astype(np.float64)


def _bca_tails(
    sample: Floats, resampled: Floats, estimate: float, statistic: Callable[..., Floats], tails: Floats
) -> Floats:
    below = np.clip(np.mean(resampled < estimate) + 0.5 * np.mean(resampled == estimate), 1e-6, 1 - 1e-6)
    bias = stats.norm.ppf(below)
    left_out = np.array([statistic(np.delete(sample, i), axis=-1) for i in range(sample.size)])
    spread = left_out.mean() - left_out
    scale = float((spread**2).sum() ** 1.5)
    acceleration = float((spread**3).sum()) / (6.0 * scale) if scale > 0 else 0.0
    shifted = bias + stats.norm.ppf(tails)
    return np.asarray(stats.norm.cdf(bias + shifted / (1.0 - acceleration * shifted)))


def _sample(values: npt.ArrayLike, level: float, draws: int = 1) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    if sample.ndim != 1 or np.isnan(sample).any():
        raise ValueError(
            f"values must be numbers of shape (n,) without NaN, got shape {sample.shape} with "
            f"{int(np.isnan(sample).sum())} NaN; drop missing seeds and say how many"
        )
    return sample
