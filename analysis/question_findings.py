"""The two questions in plain sentences: do whole rows, columns and blocks do, and is one masked run an ensemble?"""

from typing import Any

import pandas as pd

from analysis import theme
from analysis.figures.words import counted, listed, percent, with_interval
from analysis.finding import Finding, not_found, p_text
from analysis.granularity import REFERENCE as ELEMENT
from analysis.granularity import RESPONSES, granularities
from analysis.one_run import REFERENCE as ONE_RUN
from analysis.one_run import ensembles, side_label
from analysis.power import detectable_within
from analysis.records import Records

_WORDS = {"id_score": "ID", "ood_score": "OOD", "diversity_score": "members' disagreement"}


def granularity_findings(records: Records) -> list[Finding]:
    """One finding a granularity, and which of those that keep ID and OOD trains fastest.

    Args:
        records: Records of one benchmark and backbone.
    """
    rows = granularities(records)
    found: list[Finding] = []
    fastest: dict[str, float] = {}
    for (method, granularity), group in rows.groupby(["method", "granularity"], sort=False):
        if granularity == ELEMENT:
            continue
        by_response = {str(row["response"]): row for row in group.to_dict("records") if row["paired_seeds"]}
        if not by_response:
            text = f"Masks of {_plural(granularity)} were run, but no run has a partner of {ELEMENT} masks."
            found.append(Finding(_topic(method, granularity), text, "Nothing to pair."))
            continue
        one = by_response[RESPONSES[0]]
        kept = [_WORDS[name] for name in RESPONSES if by_response[name]["is_kept"]]
        differs = any(row["is_significant"] for row in by_response.values())
        verdict = f"Masks of {_plural(granularity)} keep {listed(kept)} to a point" if kept else (
            f"That masks of {_plural(granularity)} keep anything to a point is not shown"
        )  # fmt: skip
        parts = [_granular(by_response[name]) for name in RESPONSES]
        costs = [f"{one[name]:.2f} times the {word}" for name, word in
                 (("train_time_ratio", "training time"), ("stored_floats_ratio", "numbers held"))
                 if not pd.isna(one[name])]  # fmt: skip
        text = f"{verdict}. Against masks of single entries, in points: {'; '.join(parts)}."
        text += f" They take {listed(costs)}." if costs else ""
        text += f" {counted(int(one['missing']), 'seed')} of the study without a pair." if one["missing"] else ""
        seeds = counted(int(one["paired_seeds"]), "seed")
        found.append(Finding(
            _topic(method, granularity), text,
            f"Paired by seed, rate and all other levers; Student's t over {seeds} at 95 %. Holm over "
            f"{counted(int(one['family_tests']), 'test')} of a difference, and apart from these over as many of a loss "
            f"of {percent(one['margin'])} points. What is found with a chance of 80 %: uncorrected.",
            bool(differs or kept),
        ))  # fmt: skip
        if {_WORDS["id_score"], _WORDS["ood_score"]} <= set(kept) and not pd.isna(one["train_time_ratio"]):
            fastest[str(granularity)] = float(one["train_time_ratio"])
    return [*found, *_recommended(found, fastest)]


def _recommended(found: list[Finding], fastest: dict[str, float]) -> list[Finding]:
    if not found:
        return []
    quicker = {name: ratio for name, ratio in fastest.items() if ratio < 1.0}
    if quicker:
        best = min(quicker, key=lambda name: quicker[name])
        text = f"Of the granularities that keep ID and OOD to a point, {_plural(best)} train fastest: "
        text += f"{quicker[best]:.2f} times the time of single entries."
    elif fastest:
        text = f"Masks of {listed(map(_plural, fastest))} keep ID and OOD to a point, but train no faster here."
    else:
        text = "No granularity was shown to keep both ID and OOD to a point, so single entries stay the safe choice."
    return [Finding("Which granularity?", text, "Read off the tests above; times are of this machine and model size.")]


def _granular(row: dict[Any, Any]) -> str:
    text = (
        f"{_WORDS[str(row['response'])]} {with_interval(row, 'difference', 'difference_low', 'difference_high', True)}"
    )
    if row["is_significant"]:
        return f"{text} ({p_text(row['holm_p_value'])})"
    ends = row["difference_low"], row["difference_high"]
    return f"{text} ({not_found(row['holm_p_value'], detectable_within(*ends, int(row['paired_seeds'])))})"


def _topic(method: object, granularity: object) -> str:
    return f"Granularity: {theme.look(str(method)).label}, {_plural(granularity)}"


def _plural(granularity: object) -> str:
    return f"{granularity}s"


def ensemble_findings(records: Records) -> list[Finding]:
    """Whether averaging a run's members helps, and how they compare with each side of equal training.

    Args:
        records: Records of one benchmark and backbone; without an ensemble of separate runs there is no finding.
    """
    rows = ensembles(records)
    if rows.empty:
        return []
    base = next(row for row in rows.to_dict("records") if (row["method"], row["weights"]) == ONE_RUN)
    return [*_gains(rows, base), *_sides(rows, base)]


def _gains(rows: pd.DataFrame, base: dict[Any, Any]) -> list[Finding]:
    ends = "ensemble_gain", "ensemble_gain_low", "ensemble_gain_high"
    if pd.isna(base["ensemble_gain"]):
        return []
    low, high = base["ensemble_gain_low"], base["ensemble_gain_high"]
    helps = bool(low > 0)
    verdict = "helps" if helps else "hurts" if high < 0 else "cannot be told from no help"
    gain = with_interval(base, *ends, signed=True)
    text = f"Averaging the predictions of one GMixout run's members {verdict}: {gain} points of OOD beyond the mean "
    text += f"member ({p_text(base['ensemble_gain_p_value'])})"
    if not pd.isna(base["diversity_score"]):
        text += f", at {percent(base['diversity_score'])} % disagreement"
    others = [
        f"{side_label(row)} {with_interval(row, *ends, True)}"
        for row in rows.to_dict("records")
        if (row["method"], row["weights"]) != ONE_RUN and not pd.isna(row["ensemble_gain"])
    ]
    text += f". The same of others: {'; '.join(others)}." if others else "."
    return [Finding(
        "Is one run an ensemble? What averaging adds", text,
        f"Student's t over {counted(int(base['seeds']), 'seed')} at 95 %, not corrected. Members that are weak gain "
        "much and may still be no better in the end.",
        bool(helps or high < 0),
    )]  # fmt: skip


def _sides(rows: pd.DataFrame, base: dict[Any, Any]) -> list[Finding]:
    others = rows[~(rows["method"].eq(base["method"]) & rows["weights"].eq(base["weights"]))]
    equal = others[others["has_equal_training"].eq(True) & others["paired_seeds"].gt(0)].to_dict("records")
    score = f"{percent(base['id_score'])} % ID and {percent(base['ood_score'])} % OOD"
    text = f"One GMixout run's members, averaged, have {score}."
    is_any = False
    for name, word in (("id", "ID"), ("ood", "OOD")):
        marked = [row for row in equal if row[f"is_{name}_significant"]]
        is_any |= bool(marked)
        for better, sign in (("more", 1), ("less", -1)):
            sides = "; ".join(_side(row, name) for row in marked if sign * row[f"{name}_difference"] > 0)
            text += f" Significantly {better} {word} at equal training: {sides}." if sides else ""
        text += "" if marked else f" No side of equal training can be told from them by {word}."
    independent = [row for row in equal if theme.name_parts(str(row["method"]))[0] == "ensemble"
                   and row["weights"] == "ensemble"]  # fmt: skip
    for row in independent:
        gaps = [_plain(row, name, word) for name, word in (("id", "ID"), ("ood", "OOD"))]
        text += f" As many independent runs at the same training, averaged: {listed(gaps)}."
    # Of all that costs more, several whole runs are what members stand in for; the table has the rest.
    costly = [
        f"{side_label(row)} ({row['training_ratio']:.1f} times) {_gap(row, 'id')} ID and {_gap(row, 'ood')} OOD"
        for row in others[~others["has_equal_training"].eq(True) & others["training_ratio"].gt(1.0)].to_dict("records")
        if theme.look(str(row["method"])).family == "several" and row["weights"] in ("reported", "ensemble")
    ]
    text += f" For more training: {'; '.join(costly)}." if costly else ""
    lost = sum(int(row["missing"]) for row in rows.to_dict("records") if row["weights"] in ("reported", "ensemble"))
    text += f" {counted(lost, 'seed')} missing over all sides." if lost else ""
    seeds = counted(int(rows["paired_seeds"].max()), "seed")
    return [Finding(
        "Is one run an ensemble? Against others", text,
        f"Paired t-test over {seeds} at most, Holm over {counted(int(base['family_tests']), 'test')}: every side of "
        "equal training, ID and OOD; intervals 95 %, Student's t, not corrected. Differences are the side minus the "
        "members, in points.",
        is_any,
    )]  # fmt: skip


def _gap(row: dict[Any, Any], name: str) -> str:
    return with_interval(row, f"{name}_difference", f"{name}_difference_low", f"{name}_difference_high", signed=True)


def _side(row: dict[Any, Any], name: str) -> str:
    return f"{side_label(row)} {_gap(row, name)} ({p_text(row[f'{name}_holm_p_value'])})"


def _plain(row: dict[Any, Any], name: str, word: str) -> str:
    if row[f"is_{name}_significant"]:
        return f"{_gap(row, name)} {word} ({p_text(row[f'{name}_holm_p_value'])})"
    ends = row[f"{name}_difference_low"], row[f"{name}_difference_high"]
    detectable = detectable_within(*ends, int(row["paired_seeds"]))
    p_value = row[f"{name}_holm_p_value"]
    return f"{_gap(row, name)} {word} ({not_found(float('nan') if pd.isna(p_value) else p_value, detectable)})"
