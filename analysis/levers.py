"""What each lever does: contrasts with intervals, and an analysis of variance, all else equal.

The learning rate is one of the things to hold equal: ID validation hardly tells rates apart that differ much off ID, so
settings are compared at every rate that they share, not each at a rate of its own.
"""

import numpy as np
import pandas as pd

from analysis.anova import anova
from analysis.comparisons import paired_p_value
from analysis.design import (
    MAIN_LEVERS,
    PLACE,
    comparable,
    core,
    grid,
    level_label,
    ordered_levels,
    other_levers,
    varying_levers,
    with_setting,
    with_shared_runs,
)
from analysis.effects import contrast
from analysis.families import with_family
from analysis.outcomes import outcomes, places, with_split_means
from analysis.power import minimum_detectable_effect
from analysis.probabilities import Floats
from analysis.records import Records, remembered
from analysis.selection import candidates, select

RESPONSES = ("id_score", "ood_score", "corruption_score", "diversity_score", "ood_calibration_error")
ARMS = ("anchor", "decay", "period", "sparsity")
"""Variants that follow a lever."""

LEVER_STUDY = ("zero_shot", "linear_probe", "full", "random_mask", "mixout", "gmixout")


@remembered
def lever_study(records: Records) -> Records:
    """The records of GMixout and of its references, without rivals, variants and additions.

    Figures with a line or a colour a method keep to these; those of the rivals show all.
    """
    return records.keep(records.cells.loc[records.cells["method"].isin(LEVER_STUDY), "cell"])


@remembered
def with_arms(records: Records, method: str = "gmixout") -> Records:
    """The records of a method and of its lever arms, all under the method's own name.

    A study may run levers beside a method whose settings it compares with rivals, as variants that are named after the
    lever (``gmixout/decay``): so they are no candidates of that method, but they are what its levers do. An arm's cell
    with a setting that the method has itself, or an earlier arm, is left out.
    """
    names = {method: 0, **{f"{method}/{arm}": number for number, arm in enumerate(ARMS, 1)}}
    ours = records.cells[records.cells["method"].isin(list(names))]
    if ours["method"].eq(method).all():
        return records.keep(ours["cell"])
    ours = with_setting(ours)
    order = ours["method"].astype(object).map(names).astype(int)
    ours = ours.iloc[np.argsort(order.to_numpy(), kind="stable")]
    cells = ours.drop_duplicates([*PLACE, "setting", "learning_rate", "run"])["cell"]
    kept = records.keep(cells)
    renamed = kept.cells.assign(method=pd.array([method] * len(kept.cells), dtype="string"))
    return Records.trusted(renamed, kept.metrics, kept.examples, kept.curves)


@remembered
def lever_cells(records: Records, rates: str = "chosen") -> pd.DataFrame:
    """One row a (GMixout setting, learning rate, run), with all outcomes of the reported weights.

    Runs that several anchors share are listed under each, see :func:`analysis.design.with_shared_runs`.

    Args:
        records: Any records.
        rates: ``chosen`` keeps the rate that ID validation chose for each setting; ``common`` all rates that every
            setting of the main design was tried at, for comparisons with all else equal (``chosen`` if there is none).

    Raises:
        ValueError: If ``rates`` is neither.
    """
    if rates not in ("chosen", "common"):
        raise ValueError(f"rates must be 'chosen' or 'common', got {rates!r}")
    ours = with_arms(records)
    selection = select(ours, by="setting")
    if rates == "common":
        tried = candidates(ours)
        settings = [set(group["learning_rate"]) for _, group in core(tried).groupby("setting")]
        shared = set.intersection(*settings) if settings else set()
        if shared:
            selection = tried[tried["learning_rate"].isin(shared)]
    results = outcomes(ours, selection)
    return with_shared_runs(results[results["weights"].eq("reported")])


@remembered
def measured_levers(records: Records) -> pd.DataFrame:
    """The cells of :func:`lever_cells` at shared learning rates, with their calibration errors."""
    return with_split_means(lever_cells(records, rates="common"), records, "calibration_error")


def compared_levers(cells: pd.DataFrame) -> list[str]:
    """The levers, the learning rate among them, that moved while all others stood still at least once."""
    moved = [*varying_levers(cells), *(["learning_rate"] if cells["learning_rate"].nunique() > 1 else [])]
    return [lever for lever in moved if _has_pairs(comparable(cells, lever), lever)]


def _has_pairs(cells: pd.DataFrame, lever: str) -> bool:
    others = other_levers(cells, lever)
    return bool((cells.groupby([*others, "run"], dropna=False)[lever].nunique() > 1).any())


@remembered
def lever_effects(records: Records, seed: int = 0, level: float = 0.95, draws: int = 2000) -> pd.DataFrame:
    """What each lever does to ID, OOD, corruption, diversity and OOD calibration, with intervals and tests.

    A numeric lever is contrasted from its lowest to its highest level; a categorical one from its first level (the
    pretrained anchor) to each other. Pairs agree in run, learning rate and all other levers; the rate itself counts as
    a lever. Main levers are compared within the fully crossed part of the main design (:func:`analysis.design.grid`).
    ``low``/``high`` is the bootstrap over runs and other settings, the test images held fixed;
    ``seeds_low``/``seeds_high`` Student's t over runs. The columns of the analysis of variance belong to the lever as a
    whole. Intervals and that analysis are not corrected for the number of comparisons; ``holm_p_value`` is: of the
    paired t-test over runs (``seeds_p_value``), in the family of all contrasts and responses of one benchmark and
    backbone. ``detectable`` is the least true effect that this test, uncorrected, finds with a chance of 80 %.

    Returns:
        Columns ``benchmark``, ``backbone``, ``lever``, ``from_level``, ``to_level``, ``response``, ``effect`` (a
        fraction), ``low``, ``high``, ``excludes_zero``, ``seeds_low``, ``seeds_high``, ``seeds_exclude_zero``,
        ``seeds_p_value``, ``detectable``, ``pairs``, ``runs``, ``f``, ``p_value``, ``partial_eta_squared``,
        ``partial_omega_squared``, ``holm_p_value``, ``is_significant``.
    """
    rows = []
    for here in places(records):
        cells = measured_levers(here)
        variance = lever_variance(here)
        for lever in compared_levers(cells):
            rows_here = comparable(grid(cells) if lever in MAIN_LEVERS else cells, lever)
            others = other_levers(rows_here, lever)
            for first, second in contrasts(lever, rows_here):
                for response in RESPONSES:
                    rng = np.random.default_rng(seed)
                    found = contrast(rows_here, response, lever, (first, second), others, rng, level=level, draws=draws)
                    part = variance[variance["response"].eq(response) & variance["term"].eq(lever)]
                    row = {name: here.cells[name].iloc[0] for name in PLACE}
                    row |= {"lever": lever, "from_level": level_label(first), "to_level": level_label(second)}
                    row |= {"response": response, "effect": found.interval.estimate}
                    row |= {"low": found.interval.low, "high": found.interval.high}
                    row |= {"excludes_zero": found.interval.excludes_zero, "seeds_low": found.over_seeds.low}
                    row |= {"seeds_high": found.over_seeds.high, "seeds_exclude_zero": found.over_seeds.excludes_zero}
                    row |= {"seeds_p_value": paired_p_value(found.gaps), "pairs": found.pairs, "runs": found.runs}
                    row |= {"detectable": _detectable(found.gaps)}
                    for name in ("f", "p_value", "partial_eta_squared", "partial_omega_squared"):
                        row[name] = float(part[name].iloc[0]) if len(part) else float("nan")
                    rows.append(row)
    columns = [*PLACE, "lever", "from_level", "to_level", "response", "effect", "low", "high", "excludes_zero",
               "seeds_low", "seeds_high", "seeds_exclude_zero", "seeds_p_value", "detectable", "pairs", "runs", "f",
               "p_value", "partial_eta_squared", "partial_omega_squared"]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns).astype({"seeds_p_value": "float64"})
    corrected = with_family(frame, PLACE, p_value="seeds_p_value")
    return corrected[[*columns, "holm_p_value", "is_significant"]]


def lever_variance(records: Records, interactions: int = 2) -> pd.DataFrame:
    """Type II analysis of variance of each response on the levers, interactions included, one row a term.

    Only the fully crossed part of the main design counts, and of it only periods at which the anchors differ (an
    endless mask is one run for all moving anchors). Where combinations of levels lack rows, as in a study along one
    lever at a time, interactions are left out. A response that cannot be analysed (too few cells, or a lever that does
    not move) has no rows.
    """
    frames = []
    for here in places(records):
        cells = comparable(grid(measured_levers(here)), "anchor")
        cells = cells[~cells["is_shared"]]
        for response in RESPONSES:
            for order in dict.fromkeys((interactions, 1)):
                try:
                    table = anova(cells, response, compared_levers(cells), interactions=order)
                except ValueError:
                    continue
                break
            else:
                continue
            names = {name: here.cells[name].iloc[0] for name in PLACE}
            frames.append(table.assign(**names, response=response))
    columns = [*PLACE, "response", "term", "sum_of_squares", "degrees", "f", "p_value", "partial_eta_squared",
               "partial_omega_squared"]  # fmt: skip
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def contrasts(lever: str, cells: pd.DataFrame) -> list[tuple[object, object]]:
    """Which levels are compared: the lowest number with the highest, or the first category with each other."""
    levels = ordered_levels(lever, cells[lever])
    if all(isinstance(level, int | float | np.number) and not isinstance(level, bool) for level in levels):
        return [(levels[0], levels[-1])]
    return [(levels[0], level) for level in levels[1:]]


def _detectable(gaps: Floats) -> float:
    spread = float(np.std(gaps, ddof=1)) if len(gaps) > 1 else float("nan")
    # Without any spread there is no test.
    return minimum_detectable_effect(spread, len(gaps)) if spread > 0.0 else float("nan")
