"""What a study found, in plain sentences, each with the test that it rests on."""

from dataclasses import replace
from typing import Any

import numpy as np

from analysis import theme
from analysis.comparisons import compare
from analysis.correlation import rank_correlation
from analysis.equivalence import equivalence
from analysis.figures.diversity_vs_ood_gain import table as diversity_table
from analysis.figures.figure import NothingToDraw
from analysis.figures.words import counted, listed, percent, with_interval
from analysis.finding import SIGNIFICANCE, Finding, p_text
from analysis.lever_findings import lever_findings
from analysis.metric import ACCURACY, PRINTED, main_metric
from analysis.outcomes import outcomes
from analysis.pairing import repeated, rows_of
from analysis.question_findings import ensemble_findings, granularity_findings
from analysis.records import Records
from analysis.selection import select
from analysis.tables import implicit_ensembles, summary

MARGIN = 0.01
_SCORES = {"id_score": "ID", "ood_score": "OOD"}

_GAINS = {"ensemble_gain_score": "the gain of averaging them", "gain_over_full_score": "OOD against full fine-tuning"}


def findings(records: Records) -> list[Finding]:
    """All findings that one benchmark's and backbone's records have data for, the most general first.

    Every choice behind them was made on ID validation. They describe these records: one benchmark, and as many
    pretrained models as there are.

    Args:
        records: Records of one benchmark and backbone.

    Raises:
        ValueError: If the records hold several benchmarks or backbones.
    """
    if len(records.cells[["benchmark", "backbone"]].drop_duplicates()) > 1:
        raise ValueError("findings are of one benchmark and backbone; cut the records down with Records.where")
    if not records.cells["status"].eq("done").any():
        return []
    found = [
        *_tradeoff(records),
        *_against_full(records),
        *_no_loss(records),
        *lever_findings(records),
        *_diversity(records),
        *granularity_findings(records),
        *(ensemble_findings(records) or _members(records)),
        *_lost(records),
    ]
    plain, metric = PRINTED[ACCURACY], PRINTED[main_metric(records)]
    return [replace(one, text=one.text.replace(plain, metric)) for one in found]


def _tradeoff(records: Records) -> list[Finding]:
    methods = summary(records)
    methods = methods[methods["weights"].eq("reported")].dropna(subset=["id_score", "ood_score"])
    if len(methods) < 2:
        return []
    best = {score: methods.nlargest(1, score).to_dict("records")[0] for score in ("id_score", "ood_score")}
    parts = [
        f"the most {_SCORES[score]} has {theme.look(str(row['method'])).label}, "
        f"{with_interval(row, score, f'{score}_low', f'{score}_high')} %"
        for score, row in best.items()
    ]
    zero, full = (methods[methods["method"].eq(name)] for name in ("zero_shot", "full"))
    text = f"Of {counted(len(methods), 'method')}, {listed(parts)}."
    if len(zero) and len(full):
        gaps = [percent(full[score].iloc[0] - zero[score].iloc[0], signed=True) for score in ("id_score", "ood_score")]
        text += f" From zero-shot to full fine-tuning, ID moves by {gaps[0]} points and OOD by {gaps[1]}."
    return [
        Finding("Methods", text, "95 % bootstrap intervals over seeds and test images; which is best is not tested.")
    ]


def _against_full(records: Records) -> list[Finding]:
    gaps = compare(records, references=("full",), scores=("id_score", "ood_score"))
    ours = gaps[gaps["method"].isin(["gmixout", "mixout"])]
    found = []
    for method, rows in ours.groupby("method", sort=False):
        parts, is_any = [], False
        for row in rows.to_dict("records"):
            ends = with_interval(row, "difference", "difference_low", "difference_high", signed=True)
            p = row["holm_p_value"]
            parts.append(f"{ends} points {_SCORES[row['score']]} ({p_text(p)} after Holm)")
            is_any |= bool(row["is_significant"])
        name = theme.look(str(method)).label
        verdict = "differs from" if is_any else "cannot be told from"
        pairs = counted(int(rows["paired_seeds"].max()), "seed")
        found.append(Finding(
            f"{name} against full fine-tuning",
            f"{name} {verdict} full fine-tuning: {listed(parts)}.",
            f"Paired t-test over {pairs}, Holm's correction over {counted(len(gaps), 'test')} (all methods, ID "
            "and OOD); intervals: bootstrap over seeds and test images, not corrected. Both at the choice of ID "
            "validation.",
            is_any,
        ))  # fmt: skip
    return found


def _no_loss(records: Records) -> list[Finding]:
    chosen = select(records)
    if not {"full", "gmixout"} <= set(chosen["method"]):
        return []
    results = outcomes(records, chosen)
    base = rows_of(results, "full")
    ours = repeated(rows_of(results, "gmixout"), base)
    pairs = ours.merge(base, on="run", suffixes=("", "_full")).dropna(subset=["id_score", "id_score_full"])
    tested = equivalence((pairs["id_score"] - pairs["id_score_full"]).to_numpy(), MARGIN, SIGNIFICANCE)
    if np.isnan(tested.p_value):
        return []
    if tested.is_equivalent:
        verdict = "has the same ID accuracy as full fine-tuning to a point"
    elif tested.is_noninferior:
        verdict = "loses less than a point of ID accuracy against full fine-tuning"
    else:
        verdict = "has not been shown to keep full fine-tuning's ID accuracy to a point"
    ends = f"[{percent(tested.interval.low, signed=True)}, {percent(tested.interval.high, signed=True)}]"
    return [Finding(
        "No loss of ID",
        f"GMixout {verdict}: {percent(tested.interval.estimate, signed=True)} {ends}.",
        f"Two one-sided paired t-tests over {counted(tested.pairs, 'seed')} against a margin of one point, "
        f"{p_text(tested.p_above)} against a loss, {p_text(tested.p_below)} against a gain; 90 % interval.",
        tested.is_noninferior,
    )]  # fmt: skip


def _diversity(records: Records) -> list[Finding]:
    try:
        settings = diversity_table(records)
    except NothingToDraw:
        return []
    found = []
    for gain, word in _GAINS.items():
        plain = rank_correlation(settings["diversity_score"], settings[gain])
        partial = rank_correlation(settings["diversity_score"], settings[gain], [settings["distance"]])
        if np.isnan(plain.estimate):
            continue
        direction = "more" if plain.estimate > 0 else "less"
        text = f"Settings whose members disagree more have {direction} of {word}: Spearman {_correlation(plain)}"
        if not plain.excludes_zero:
            text = f"Members' disagreement and {word} do not clearly go together: Spearman {_correlation(plain)}"
        if not np.isnan(partial.estimate):
            kept = "still so" if partial.excludes_zero and partial.estimate * plain.estimate > 0 else "not so"
            text += f"; {kept} at equal distance from the pretrained weights, {_correlation(partial)}"
        found.append(Finding(
            "Diversity", f"{text}.",
            f"Rank correlation over {counted(len(settings), 'setting')}, 95 % bootstrap over settings, which share "
            "levers and are not independent: intervals are somewhat narrow. A correlation, not a cause.",
            plain.excludes_zero,
        ))  # fmt: skip
    return found


def _members(records: Records) -> list[Finding]:
    rows = implicit_ensembles(records)
    ours = rows[rows["method"].eq("gmixout") & rows["weights"].eq("ensemble")]
    found = []
    for row in ours.to_dict("records"):
        gaps = [f"{with_interval(row, name, f'{name}_low', f'{name}_high', signed=True)} {word}"
                for name, word in (("id_difference", "ID"), ("ood_difference", "OOD"))]  # fmt: skip
        low, high = row["ood_difference_low"], row["ood_difference_high"]
        verdict = "is better off ID than" if low > 0 else "is worse off ID than" if high < 0 else "cannot be told from"
        found.append(Finding(
            "Is it an ensemble?",
            f"The mean probability of a GMixout run's visited members {verdict} its reported weights: {listed(gaps)} "
            "points.",
            f"Student's t over {counted(int(row['seeds']), 'seed')}, 95 %, the test images held fixed; not corrected.",
            bool(low > 0 or high < 0),
        ))  # fmt: skip
    return found


def _lost(records: Records) -> list[Finding]:
    status = records.cells["status"]
    lost = {word: int(status.eq(word).sum()) for word in ("diverged", "failed")}
    said = listed(f"{counted(number, 'cell')} {word}" for word, number in lost.items() if number)
    text = f"Of {counted(len(records.cells), 'cell')}, {said or 'none diverged or failed'}."
    return [Finding("Lost runs", text, "Counted. A setting with a diverged run ranks behind all others.")]


def _correlation(found: Any) -> str:
    return f"{found.estimate:+.2f} [{found.low:+.2f}, {found.high:+.2f}]".replace("-", "−")
