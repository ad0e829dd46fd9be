"""Do masks of whole rows, columns and blocks keep what masks of single entries reach? Paired, with all else equal.

Masks of whole units are what makes sparse training fast. Whether they cost accuracy or diversity is asked at every rate
and setting that the granularities share, not at a rate that ID validation chose for each.
"""

from typing import Any

import numpy as np
import pandas as pd

from analysis import theme
from analysis.comparisons import paired_p_value
from analysis.design import PLACE, level_label, ordered_levels, other_levers
from analysis.effects import contrast
from analysis.equivalence import equivalence
from analysis.families import holm, with_family
from analysis.outcomes import outcomes, places
from analysis.printing import MISSING, interval_text, number_text, one_place, seeds_text
from analysis.records import Records
from analysis.selection import candidates

REFERENCE = "element"
RESPONSES = ("id_score", "ood_score", "diversity_score")
_SHORT = {"id_score": "ID", "ood_score": "OOD", "diversity_score": "disagreement"}
MARGIN = 0.01
"""A point: what a loss may be without mattering, said before any of it was run."""

COLUMNS = [*PLACE, "method", "granularity", "response", "estimate", "reference_estimate", "difference",
           "difference_low", "difference_high", "p_value", "holm_p_value", "is_significant", "margin", "loss_p_value",
           "loss_holm_p_value", "is_kept", "family_tests", "paired_seeds", "missing", "pairs", "trained_fraction",
           "train_time_ratio", "stored_floats_ratio", "cells"]  # fmt: skip


def granularities(
    records: Records, margin: float = MARGIN, significance: float = 0.05, level: float = 0.95
) -> pd.DataFrame:
    """Each granularity beside masks of single entries, of every method whose granularity was varied.

    A pair agrees in seeds, learning rate and all other levers; a run's difference is the mean over its pairs. Intervals
    are Student's t over runs, p-values the paired t-test's. Holm's family is every method, granularity and response of
    one benchmark and backbone, once for the tests of a difference and once for those of no loss.

    Args:
        records: Any records.
        margin: Largest loss that does not matter, a fraction above 0.
        significance: Of both corrected tests.
        level: Nominal coverage of the intervals.

    Returns:
        Per (benchmark, backbone), method, granularity in the order to show and response a row of ``COLUMNS``:
        ``estimate`` over the pairs and ``reference_estimate`` over the same; ``difference``; ``is_significant``;
        ``is_kept`` where a loss as large as ``margin`` is rejected; ``paired_seeds``, and ``missing`` seeds of the
        method without a pair; ``pairs``; ``trained_fraction`` of the parameters within one episode, and training time
        and numbers held as multiples of the reference's, means over pairs. The reference's own row has no difference.
        Without a method whose granularity varies there are no rows.
    """
    frames: list[pd.DataFrame] = []
    for here in places(records):
        results = outcomes(here, candidates(here))
        results = results[results["weights"].eq("reported") & results["granularity"].notna()]
        costs = here.cells.set_index("cell")[["train_time_s", "stored_floats"]].astype("Float64").astype("float64")
        results = results.join(costs, on="cell")
        planned = here.cells.assign(run=here.cells["pretrain_seed"].astype(str) + "/" + here.cells["seed"].astype(str))
        runs = {str(method): group.nunique() for method, group in planned.groupby("method")["run"]}
        if rows := _of_place(results, runs, margin, level):
            frames.append(_corrected(rows, significance))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)


def _of_place(results: pd.DataFrame, runs: dict[str, int], margin: float, level: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for method in theme.in_order(results["method"]):
        ours = results[results["method"].eq(method)]
        levels = [str(one) for one in ordered_levels("granularity", ours["granularity"])]
        if REFERENCE not in levels or len(levels) < 2:
            continue
        others = other_levers(ours, "granularity")
        for granularity in levels:
            is_reference = granularity == REFERENCE
            both = _matched(ours, granularity, others)
            place: dict[str, Any] = {name: ours[name].iloc[0] for name in PLACE}
            place |= {"method": method, "granularity": granularity}
            place |= {"trained_fraction": float((both["trained_per_episode"] / both["total_parameters"]).mean())}
            place |= {"train_time_ratio": _ratio(both, "train_time_s")}
            place |= {"stored_floats_ratio": _ratio(both, "stored_floats"), "margin": margin}
            for response in RESPONSES:
                row = place | {"response": response, "estimate": float(both[response].mean())}
                row |= {"reference_estimate": float(both[f"{response}_reference"].mean())}
                row |= {"cells": tuple(sorted({*both["cell"], *both["cell_reference"]}))}
                if not is_reference:
                    # Its bootstrap is not used, so its draws are few.
                    pair = REFERENCE, granularity
                    found = contrast(
                        ours, response, "granularity", pair, others, np.random.default_rng(0), level=level, draws=2
                    )
                    row |= {"difference": found.over_seeds.estimate, "difference_low": found.over_seeds.low}
                    row |= {"difference_high": found.over_seeds.high, "p_value": paired_p_value(found.gaps)}
                    row |= {"loss_p_value": equivalence(found.gaps, margin).p_above if found.runs else float("nan")}
                    row |= {"paired_seeds": found.runs, "pairs": found.pairs}
                    row |= {"missing": runs[method] - found.runs}
                else:
                    row |= {"paired_seeds": both["run"].nunique(), "pairs": len(both)}
                    row |= {"missing": runs[method] - row["paired_seeds"]}
                rows.append(row)
    return rows


def _matched(ours: pd.DataFrame, granularity: str, others: list[str]) -> pd.DataFrame:
    """Cells of a granularity, each beside the reference's cell of the same run and settings."""
    keys = ["run", *others]
    plain = ours.assign(**{name: ours[name].map(level_label) for name in others})
    one, base = (plain[plain["granularity"].eq(level)] for level in (granularity, REFERENCE))
    kept = ["cell", *RESPONSES, "train_time_s", "stored_floats", "trained_per_episode", "total_parameters"]
    return one[[*keys, *kept]].merge(base[[*keys, *kept]], on=keys, suffixes=("", "_reference"))


def _ratio(both: pd.DataFrame, name: str) -> float:
    return float((both[name] / both[f"{name}_reference"]).mean())


def _corrected(rows: list[dict[str, Any]], significance: float) -> pd.DataFrame:
    p_values = ["p_value", "loss_p_value"]
    frame = pd.DataFrame(rows).reindex(columns=COLUMNS).astype(dict.fromkeys(p_values, "float64"))
    frame = frame.drop(columns=["holm_p_value", "is_significant", "family_tests"])
    frame = with_family(frame, significance=significance)
    frame["loss_holm_p_value"] = holm(frame["loss_p_value"])
    frame["is_kept"] = frame["loss_holm_p_value"] <= significance
    return frame[COLUMNS]


def printed_granularities(frame: pd.DataFrame, digits: int = 1) -> pd.DataFrame:
    """The rows of :func:`granularities` as text, one a method and granularity: percent, points, what is kept.

    A star marks a difference that Holm's correction leaves significant; ``kept`` names the responses of which a loss as
    large as the margin is rejected, after the same correction.
    """
    rows = []
    for key, group in frame.groupby([*PLACE, "method", "granularity"], sort=False):
        by_response = {str(row["response"]): row for row in group.to_dict("records")}
        one = by_response[RESPONSES[0]]
        text = dict(zip(PLACE, key)) | {"method": theme.look(str(key[2])).label, "masks of": key[3]}
        text["seeds"] = seeds_text({"seeds": one["paired_seeds"], "missing": one["missing"], "diverged": 0})
        for response in RESPONSES:
            row, name = by_response[response], _SHORT[response]
            text[f"{name} (%)"] = interval_text(row["estimate"], float("nan"), float("nan"), digits)
            ends = row["difference"], row["difference_low"], row["difference_high"]
            star = " *" if row["is_significant"] else ""
            text[f"{name} − {REFERENCE} (points)"] = interval_text(*ends, digits, signed=True) + star
        kept = [_SHORT[name] for name in RESPONSES if by_response[name]["is_kept"]]
        text["kept"] = MISSING if key[3] == REFERENCE else ", ".join(kept) or "nothing shown"
        text["trained (%)"] = interval_text(one["trained_fraction"], float("nan"), float("nan"), digits)
        text["training time"] = number_text(one["train_time_ratio"], "{:.2f}×")
        text["numbers held"] = number_text(one["stored_floats_ratio"], "{:.2f}×")
        rows.append(text)
    return one_place(pd.DataFrame(rows))
