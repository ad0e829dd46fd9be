"""Does what a lever does depend on where another stands? Differences of differences, with intervals and tests."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis import theme
from analysis.comparisons import paired_p_value
from analysis.design import MAIN_LEVERS, PLACE, comparable, grid, level_label
from analysis.families import with_family
from analysis.intervals import t_interval
from analysis.levers import RESPONSES, contrasts, lever_variance, measured_levers
from analysis.outcomes import places
from analysis.printing import MISSING, interval_text
from analysis.probabilities import Floats
from analysis.records import Records, remembered

_ENDS = ("from_level", "to_level", "other_from_level", "other_to_level")
COLUMNS = [*PLACE, "lever", "other", *_ENDS, "response", "effect", "low", "high", "p_value", "holm_p_value",
           "is_significant", "family_tests", "settings", "runs", "f", "f_p_value", "partial_eta_squared"]  # fmt: skip


@remembered
def lever_interactions(records: Records, level: float = 0.95) -> pd.DataFrame:
    r"""How much a main lever's effect changes when another main lever moves, all else equal.

    .. math:: (y_{11} - y_{01}) - (y_{10} - y_{00})

    where the first index is the lever and the second the other, each from its first to its last level as
    :func:`analysis.levers.contrasts` takes them. It is formed within a run and a setting of all that is left (the third
    lever, the learning rate); a run's value is the mean over these settings. Interval and test are Student's t over
    runs; Holm's family is every pair, contrast and response of one benchmark and backbone. Only the fully crossed part
    of the design counts (:func:`analysis.design.grid`).

    Returns:
        Columns ``COLUMNS``: ``effect`` is a fraction, the same whichever of the two levers is called the other;
        ``f``, ``f_p_value`` and ``partial_eta_squared`` are of the pair of levers as a whole, in the analysis of
        variance, uncorrected. Without two levers that were crossed there are no rows.
    """
    rows: list[dict[str, Any]] = []
    for here in places(records):
        cells = comparable(grid(measured_levers(here)), "anchor")
        if cells.empty:
            continue
        cells = cells[~cells["is_shared"]]
        variance = lever_variance(here)
        moved = [lever for lever in MAIN_LEVERS if cells[lever].dropna().nunique() > 1]
        for lever, other in combinations(moved, 2):
            held = ["run", "learning_rate", *(name for name in moved if name not in (lever, other))]
            for first in contrasts(lever, cells):
                for second in contrasts(other, cells):
                    for response in RESPONSES:
                        gaps, settings = _gaps(cells, response, (lever, first), (other, second), held)
                        if not len(gaps):
                            continue
                        found = t_interval(gaps, level)
                        row: dict[str, Any] = {name: here.cells[name].iloc[0] for name in PLACE}
                        row |= {"lever": lever, "other": other, "response": response, "effect": found.estimate}
                        row |= dict(zip(_ENDS, map(level_label, (*first, *second))))
                        row |= {"low": found.low, "high": found.high, "p_value": paired_p_value(gaps)}
                        row |= {"settings": settings, "runs": len(gaps)} | _whole(variance, response, lever, other)
                        rows.append(row)
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    return with_family(pd.DataFrame(rows).astype({"p_value": "float64"}), PLACE)[COLUMNS]


def _gaps(
    cells: pd.DataFrame,
    response: str,
    one: tuple[str, tuple[object, object]],
    two: tuple[str, tuple[object, object]],
    held: list[str],
) -> tuple[Floats, int]:
    """Each run's mean difference of differences, and over how many settings at most."""
    corners = []
    for value in one[1]:
        for other in two[1]:
            is_here = (cells[one[0]] == value).fillna(False) & (cells[two[0]] == other).fillna(False)
            corners.append(cells[is_here.to_numpy(dtype=bool)].groupby(held, dropna=False)[response].mean())
    neither, only_other, only_one, both = corners
    change = ((both - only_other) - (only_one - neither)).dropna()
    by_run = change.groupby(level="run")
    return by_run.mean().to_numpy(dtype=np.float64), int(by_run.size().max()) if len(change) else 0


def _whole(variance: pd.DataFrame, response: str, lever: str, other: str) -> dict[str, float]:
    terms = variance["term"].isin([f"{lever}:{other}", f"{other}:{lever}"])
    part = variance[variance["response"].eq(response) & terms]
    if part.empty:
        return dict.fromkeys(("f", "f_p_value", "partial_eta_squared"), float("nan"))
    line = part.iloc[0]
    return {"f": line["f"], "f_p_value": line["p_value"], "partial_eta_squared": line["partial_eta_squared"]}


def pair_label(row: dict[str, Any]) -> str:
    """Both levers with their levels.

    Example:
        >>> pair_label({"lever": "anchor", "from_level": "pretrained", "to_level": "ema", "other": "sparsity",
        ...             "other_from_level": "0.5", "other_to_level": "0.9"})
        'anchor (pretrained → EMA) × sparsity p (0.5 → 0.9)'
    """
    names = [theme.SHORT_LEVERS.get(row[name], row[name]) for name in ("lever", "other")]
    return (
        f"{names[0]} ({theme.level_name(row['from_level'])} → {theme.level_name(row['to_level'])}) × "
        f"{names[1]} ({theme.level_name(row['other_from_level'])} → {theme.level_name(row['other_to_level'])})"
    )


def printed_interactions(frame: pd.DataFrame, digits: int = 2) -> pd.DataFrame:
    """The rows of :func:`lever_interactions` as text: points, a star where Holm's correction leaves significance."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for row in frame.to_dict("records"):
        label = pair_label(row)  # type: ignore[arg-type]
        text = rows.setdefault((row["benchmark"], row["backbone"], label), {"levers": label, "runs": str(row["runs"])})
        heading = theme.score_label(str(row["response"]), " (points)")
        star = " *" if row["is_significant"] else ""
        text[heading] = interval_text(row["effect"], row["low"], row["high"], digits, signed=True) + star
    return pd.DataFrame(list(rows.values())).fillna(MISSING)
