"""Effects of levers over several benchmarks: a linear mixed model with the benchmark as a random effect.

With the benchmark as one of a kind, an effect's interval speaks about these benchmarks. As a random draw from many, it
speaks about another benchmark of the kind, provided that the effect itself may differ between benchmarks (``varying``):
without that, three benchmarks at which a lever does three different things would pass for very many repetitions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg, stats

from analysis.design import level_label, ordered_levels
from analysis.probabilities import Floats
from analysis.variances import ERROR, restricted

EFFECT_COLUMNS = ["lever", "from_level", "to_level", "effect", "standard_error", "degrees", "low", "high", "p_value",
                  "groups"]  # fmt: skip
VARIANCE_COLUMNS = ["component", "variance", "low", "high", "share", "units"]


@dataclass(frozen=True)
class Mixed:
    """What a mixed model says.

    Args:
        effects: One row a lever's level beside its first, columns ``EFFECT_COLUMNS``.
        variances: One row a component, the error (``residual``) last, columns ``VARIANCE_COLUMNS``.
    """

    effects: pd.DataFrame
    variances: pd.DataFrame


def mixed_model(
    frame: pd.DataFrame,
    response: str,
    levers: Sequence[str],
    group: str = "benchmark",
    run: str = "run",
    varying: Sequence[str] | None = None,
    level: float = 0.95,
    has_intervals: bool = True,
    interactions: Sequence[tuple[str, str]] = (),
) -> Mixed:
    r"""Levers' effects on a response, with benchmarks, runs within benchmarks, and effects' differences as random.

    .. math:: y = \mu + \sum_l \beta_{l,\mathrm{level}} + b_{\mathrm{group}} + c_{\mathrm{group},\mathrm{run}} +
              \sum_l d_{l,\mathrm{group},\mathrm{level}} + e

    with independent normal offsets of one variance a component, estimated by restricted maximum likelihood
    (:mod:`analysis.variances`), and :math:`\beta` by generalised least squares at these. Intervals
    and p-values are of Student's t with the degrees of freedom of the classical test: for a lever that may vary,
    (levels - 1)(groups - 1), for an interaction (levels - 1)(other's levels - 1)(groups - 1); for others, those of the
    error. An interaction is coded about the levers' equal-weight means, so an effect stays the mean over the other
    levers' levels, and an interaction is a difference of differences: how much an effect changes from the other lever's
    first level to another. In a balanced design all of it equals the analysis of
    variance unless a variance is estimated as 0; with two levels it is then the paired t-test over benchmarks.

    Args:
        frame: One row a cell; rows without the response are left out.
        response: Column of numbers.
        levers: Columns taken as categorical; those with a single level are left out. An effect is a level minus the
            lever's first, in the order to show.
        group: Column of the random groups, benchmarks; at least two.
        run: Column of the runs; a run of one benchmark is another than that of the next, whatever it is called. Left
            out where no run has two rows.
        varying: Levers whose effect may differ between groups; by default all that have two levels within a group.
        level: Nominal coverage of the intervals.
        has_intervals: Whether variances get intervals, which take most of the time.
        interactions: Pairs of ``levers``; those with a lever of a single level are left out. One whose difference may
            vary between groups is named ``first:second`` in ``varying``; by default all do.

    Returns:
        Effects and variances. ``share`` is a component's part of the sum of all variances (the intraclass correlation,
        for the group); ``units`` how many offsets it has; a variance's interval is by profile likelihood.

    Raises:
        ValueError: If there are fewer than two groups, no lever has two levels, ``varying`` names none of them, levers
            cannot be told apart, or too few rows are left for the error.

    Example:
        >>> rows = [{"benchmark": b, "run": 0, "sparsity": p, "score": y} for b, p, y in
        ...         [("a", .5, .70), ("a", .9, .60), ("b", .5, .80), ("b", .9, .68), ("c", .5, .60), ("c", .9, .52)]]
        >>> found = mixed_model(pd.DataFrame(rows), "score", ["sparsity"], has_intervals=False).effects
        >>> found[["effect", "degrees", "p_value"]].round(4).values.tolist()
        [[-0.1, 2.0, 0.0131]]
    """
    data = frame.dropna(subset=[response]).reset_index(drop=True)
    groups = data[group].nunique()
    if groups < 2:
        raise ValueError(f"a random {group} needs at least two of them, got {groups}; take an analysis of variance")
    levels = {lever: ordered_levels(lever, data[lever]) for lever in levers}
    levels = {lever: found for lever, found in levels.items() if len(found) > 1}
    pairs = [pair for pair in interactions if set(pair) <= set(levels)]
    terms: dict[str, tuple[str, ...]] = {lever: (lever,) for lever in levels}
    terms |= {":".join(pair): pair for pair in pairs}
    can_vary = [name for name, parts in terms.items() if _moves_within(data, group, parts)]
    free = can_vary if varying is None else list(varying)
    if not levels or (unknown := [name for name in free if name not in can_vary]):
        raise ValueError(
            f"a mixed model needs a lever with two levels, and within a {group} for one whose effect may vary; got "
            f"{', '.join(levels) or 'none'}" + (f" and varying {', '.join(unknown)}" if levels else "")
        )
    fixed = {(name, to): column for name, parts in terms.items() for to, column in _columns(data, levels, parts)}
    columns = np.stack([np.ones(len(data)), *fixed.values()], axis=1)
    offsets = _offsets(data, group, run, {name: terms[name] for name in free})
    values = data[response].to_numpy(dtype=np.float64)
    likelihood = restricted(values, columns, offsets)
    error_degrees = _error_degrees(columns, offsets)
    if error_degrees < 1 and any(name not in free for name in terms):
        raise ValueError(f"a mixed model needs more rows than effects and offsets, got {len(data)}; run more seeds")
    variances, _ = likelihood.top
    estimates, errors = _least_squares(values, columns, offsets, variances)
    rows = []
    for position, (name, to) in enumerate(fixed, start=1):
        among = int(np.prod([len(levels[lever]) - 1 for lever in terms[name]]))
        degrees = among * (groups - 1) if name in free else error_degrees
        effect, error = float(estimates[position]), float(errors[position])
        half = float(stats.t.ppf(0.5 + level / 2, degrees)) * error
        p_value = float(2.0 * stats.t.sf(abs(effect) / error, degrees)) if error > 0 else float("nan")
        rows.append({
            "lever": name, "from_level": ":".join(level_label(levels[lever][0]) for lever in terms[name]),
            "to_level": to, "effect": effect, "standard_error": error, "degrees": float(degrees), "low": effect - half,
            "high": effect + half, "p_value": p_value, "groups": groups,
        })  # fmt: skip
    components = []
    for position, name in enumerate(likelihood.names):
        low, high = likelihood.interval(position, level) if has_intervals else (float("nan"), float("nan"))
        components.append({
            "component": name, "variance": float(variances[position]), "low": low, "high": high,
            "share": float(variances[position] / variances.sum()),
            "units": len(data) if name == ERROR else offsets[name].shape[1],
        })  # fmt: skip
    return Mixed(pd.DataFrame(rows, columns=EFFECT_COLUMNS), pd.DataFrame(components, columns=VARIANCE_COLUMNS))


def _moves_within(data: pd.DataFrame, group: str, parts: Sequence[str]) -> bool:
    return bool(np.all([(data.groupby(group)[lever].nunique() > 1).any() for lever in parts]))


def _columns(data: pd.DataFrame, levels: Mapping[str, list[object]], parts: Sequence[str]) -> list[tuple[str, Floats]]:
    """A term's columns by the label of the levels that they tell from the first: of a lever, or of two."""
    first = parts[0]
    if len(parts) == 1:
        return [(level_label(to), _is(data[first], to)) for to in levels[first][1:]]
    second = parts[1]
    centred = {lever: [_is(data[lever], to) - 1.0 / len(levels[lever]) for to in levels[lever][1:]] for lever in parts}
    return [
        (f"{level_label(to)}:{level_label(other)}", one * two)
        for to, one in zip(levels[first][1:], centred[first])
        for other, two in zip(levels[second][1:], centred[second])
    ]


def _offsets(data: pd.DataFrame, group: str, run: str, varying: Mapping[str, Sequence[str]]) -> dict[str, Floats]:
    found = {group: _units([data[group]])}
    runs = _units([data[group], data[run]]) if run in data else None
    # As many runs as rows, or as groups, are these themselves under another name.
    if runs is not None and found[group].shape[1] < runs.shape[1] < len(data):
        found[run] = runs
    for name, parts in varying.items():
        units = _units([data[group], *(data[lever].map(level_label) for lever in parts)])
        if units.shape[1] < len(data):
            found[f"{group}:{name}"] = units
    return found


def _units(names: Sequence[pd.Series]) -> Floats:
    keys = pd.DataFrame({str(position): name.to_numpy() for position, name in enumerate(names)})
    codes = keys.groupby(list(keys.columns), sort=False).ngroup().to_numpy()
    return np.asarray(np.eye(int(codes.max()) + 1)[codes])


def _is(values: pd.Series, level: object) -> Floats:
    return np.asarray((values == level).fillna(False).to_numpy(dtype=np.float64))


def _error_degrees(columns: Floats, offsets: Mapping[str, Floats]) -> int:
    return len(columns) - int(np.linalg.matrix_rank(np.concatenate([columns, *offsets.values()], axis=1)))


def _least_squares(
    values: Floats, columns: Floats, offsets: Mapping[str, Floats], variances: Floats
) -> tuple[Floats, Floats]:
    covariance = variances[-1] * np.eye(len(values))
    for variance, units in zip(variances[:-1], offsets.values()):
        covariance += variance * units @ units.T
    lower = linalg.cholesky(covariance, lower=True)
    white_columns, white_values = (linalg.solve_triangular(lower, part, lower=True) for part in (columns, values))
    inverse = np.linalg.inv(white_columns.T @ white_columns)
    return inverse @ white_columns.T @ white_values, np.sqrt(np.diag(inverse))
