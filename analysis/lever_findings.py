"""What each lever does, whether it depends on another, and whether it acts through diversity, in plain sentences."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis import theme
from analysis.design import comparable, grid, level_label, other_levers
from analysis.families import holm
from analysis.figures.words import counted, percent, with_interval
from analysis.finding import SIGNIFICANCE, Finding, not_found, p_text
from analysis.interactions import lever_interactions, pair_label
from analysis.levers import contrasts, lever_effects, measured_levers
from analysis.mediation import ASSUMPTIONS, mediation
from analysis.records import Records

WORDS: Mapping[str, str] = {
    "id_score": "ID",
    "ood_score": "OOD",
    "diversity_score": "members' disagreement",
    "ood_calibration_error": "calibration error off ID",
}
MAIN = ("anchor", "resample_every", "sparsity")
SHOWN = 3
"""How many interactions are told in words; the table has all."""
DRAWS = 1000


def lever_findings(records: Records) -> list[Finding]:
    """A finding a lever, one on interactions, and one a main lever on its way through diversity.

    Args:
        records: Records of one benchmark and backbone.
    """
    effects = lever_effects(records)
    effects = effects[effects["response"].isin(WORDS)].dropna(subset=["effect"]).reset_index(drop=True)
    if effects.empty:
        return []
    return [*_effects(effects), *_interactions(records), *_through_diversity(records)]


def _effects(effects: pd.DataFrame) -> list[Finding]:
    # One F-test a lever and response: the contrasts of a lever share it. Levers outside the main design have none.
    tests = effects.drop_duplicates(["lever", "response"])
    of_lever = dict(zip(zip(tests["lever"], tests["response"]), holm(tests["p_value"].to_numpy(dtype=float))))
    family = counted(int(tests["p_value"].notna().sum()), "test")
    found = []
    for lever, rows in effects.groupby("lever", sort=False):
        has_f = not rows["p_value"].isna().all()
        parts, p_values = [], []
        for response, word in WORDS.items():
            ours = rows[rows["response"].eq(response)]
            if ours.empty:
                continue
            p_values.append(of_lever[lever, response] if has_f else float(ours["holm_p_value"].min()))
            moved = [
                f"{theme.level_name(row['from_level'])} → {theme.level_name(row['to_level'])} "
                f"{with_interval(row, 'effect', 'low', 'high', signed=True)}"
                for row in ours.to_dict("records")
            ]
            is_found = p_values[-1] <= SIGNIFICANCE
            behind = p_text(p_values[-1]) if is_found else not_found(p_values[-1], float(ours["detectable"].max()))
            parts.append(f"{word} {', '.join(moved)} ({behind})")
        runs = counted(int(rows["runs"].max()), "run")
        test = f"F-test of the lever in the analysis of variance, Holm over {family}"
        if not has_f:
            test = f"Paired t-test over {runs}, the least p-value of the contrasts, Holm over all levers and responses"
        found.append(Finding(
            theme.lever_title(str(lever)),
            f"Moved alone, in points: {'; '.join(parts)}.",
            f"Paired by run, rate and all other settings; 95 % bootstrap over runs and settings, images held fixed. "
            f"{test}. What is found with a chance of 80 %: by the paired t-test over {runs}, uncorrected.",
            any(p <= SIGNIFICANCE for p in p_values) if not np.isnan(p_values).all() else None,
        ))  # fmt: skip
    return found


def _interactions(records: Records) -> list[Finding]:
    rows = lever_interactions(records)
    rows = rows[rows["response"].isin(WORDS)]
    if rows.empty or rows["p_value"].isna().all():
        return []
    kept = rows[rows["is_significant"]]
    runs = counted(int(rows["runs"].max()), "run")
    many = f"Of {counted(len(rows), 'difference')} that one main lever makes to another's effect"
    if len(kept):
        largest = kept.assign(size=kept["effect"].abs()).nlargest(SHOWN, "size").to_dict("records")
        parts = [_interaction(row) for row in largest]
        text = f"{many}, {len(kept)} can be told from none; the largest, in points: {'; '.join(parts)}."
    else:
        closest = rows.nsmallest(1, "p_value").to_dict("records")[0]
        text = f"{many}, none can be told from none. The nearest, in points: {_interaction(closest)}."
    return [Finding(
        "Interactions of levers", text,
        f"Difference of differences within runs, rates and settings of the third lever; Student's t over {runs} at "
        f"95 %, Holm over {counted(int(rows['family_tests'].iloc[0]), 'test')}.",
        bool(len(kept)),
    )]  # fmt: skip


def _interaction(row: dict[Any, Any]) -> str:
    gap = with_interval(row, "effect", "low", "high", signed=True)
    return f"{pair_label(row)}: {WORDS[row['response']]} {gap} ({p_text(row['holm_p_value'])})"


def _through_diversity(records: Records) -> list[Finding]:
    """Whether each main lever's effect on OOD goes through the members' disagreement, as the paper has it."""
    cells = grid(measured_levers(records))
    asked = []
    for lever in MAIN:
        here = comparable(cells, lever)
        if here.empty or here[lever].dropna().nunique() < 2:
            continue
        asked += [(lever, pair, here) for pair in contrasts(lever, here)]
    found = []
    for lever, (first, last), here in asked:
        rows = here[here[lever].isin([first, last])]
        others = other_levers(rows, lever)
        held = [" ".join(level_label(value) for value in key) for key in zip(*(rows[name] for name in others))]
        rows = rows.assign(moved=(rows[lever] == last).astype(float), held=held or "")
        try:
            paths = mediation(rows, "moved", "diversity_score", "ood_score", ["run", *others], unit=["run", "held"],
                              arrangement="crossed", interval="percentile", draws=DRAWS,
                              level=1.0 - SIGNIFICANCE / len(asked)).set_index("effect")  # fmt: skip
        except ValueError:
            continue
        total, indirect, path = (paths.loc[name] for name in ("total", "indirect", "path_b"))
        if np.isnan([indirect["low"], indirect["high"], total["low"], total["high"]]).any():
            continue
        verdict, holds = _verdict(total, indirect, path)
        moved, through = (with_interval(row, "estimate", "low", "high", signed=True) for row in (total, indirect))
        slope = f"{path['estimate']:+.2f} [{path['low']:+.2f}, {path['high']:+.2f}]".replace("-", "−")
        ends = [theme.level_name(level_label(level)) for level in (first, last)]
        found.append(Finding(
            f"Through diversity? {theme.lever_title(lever)}, {ends[0]} → {ends[1]}",
            f"{verdict} OOD moves by {moved} points; the way through the members' disagreement makes {through} of "
            f"them, at {slope} points of OOD a point of disagreement.",
            f"Mediation within runs, rates and settings of the other levers; bootstrap over runs and settings, "
            f"together 95 % over {counted(len(asked), 'contrast')} (Bonferroni). Assumes {ASSUMPTIONS}.",
            holds,
        ))  # fmt: skip
    return found


def _verdict(total: Any, indirect: Any, path: Any) -> tuple[str, bool]:
    if not total["excludes_zero"]:
        return "The lever's effect on OOD cannot be told from none, so there is no way to explain.", False
    if not indirect["excludes_zero"]:
        return "That the lever acts on OOD through diversity is not shown.", False
    if path["estimate"] < 0:
        return "The paper's story does not hold here: more disagreement goes with less OOD, not more.", False
    if indirect["estimate"] * total["estimate"] < 0:
        return (
            "The paper's story does not hold here: the way through diversity pulls against the lever's effect.",
            False,
        )
    share = percent(min(indirect["estimate"] / total["estimate"], 1.0))
    return f"As the paper has it, the lever acts on OOD through diversity, by {share} % of its effect.", True
