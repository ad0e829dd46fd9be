"""Implicit ensembles: members and their ensembles against the records, differences within runs, costs side by side."""

import numpy as np
import pytest

from analysis import latex, printing
from analysis.intervals import t_interval
from analysis.records import Records
from analysis.selection import select
from analysis.tables import implicit_ensembles
from tests.analysis.rivals import MASKED, POOLED
from tests.analysis.synthetic import DOMAINS


@pytest.fixture(scope="module")
def frame(rivals):
    return implicit_ensembles(rivals)


def numbers(whole: Records, cell: str, weights: str, metric: str = "accuracy_score") -> dict[str, float]:
    """ID and OOD of one kind of weights of a cell, members averaged, by plain loops."""
    rows = whole.metrics.query("cell == @cell and weights == @weights and metric == @metric")
    by_split = {split: group["value"].to_list() for split, group in rows.groupby("split")}
    domains = [np.mean(by_split[f"ood/{domain}"]) for domain in DOMAINS]
    return {"id_score": float(np.mean(by_split["id_test"])), "ood_score": float(np.mean(domains))}


def test_only_methods_with_members_are_listed(frame) -> None:
    assert set(frame["method"]) == {*POOLED, *MASKED}
    kinds = frame.groupby("method")["weights"].apply(list)
    assert kinds["gmixout"] == ["reported", "member", "ensemble", "fresh_member", "fresh_ensemble"]
    assert kinds["ensemble"] == ["reported", "member", "ensemble"]
    assert frame.query("method == 'ensemble'")["member_kind"].eq("runs").all()


def test_scores_are_those_of_the_records(rivals, frame) -> None:
    chosen = select(rivals).set_index("method")["cells"]
    for method in ("gmixout+mixup", "diwa"):
        rows = frame[frame["method"].eq(method)].set_index("weights")
        for weights in set(rows.index) - {"fresh_member"}:
            found = [numbers(rivals, cell, weights) for cell in chosen[method]]
            for score in ("id_score", "ood_score"):
                interval = t_interval([one[score] for one in found])
                ends = rows.loc[weights, [score, f"{score}_low", f"{score}_high"]].astype(float)
                assert ends.tolist() == pytest.approx([interval.estimate, interval.low, interval.high])
        assert rows.loc["ensemble", "cells"] == chosen[method]
    rows = frame[frame["method"].eq("gmixout")].set_index("weights")
    for weights, pairs in (("ensemble", "members"), ("fresh_ensemble", "fresh_members")):
        found = [numbers(rivals, cell, pairs, "label_disagreement_score") for cell in chosen["gmixout"]]
        assert rows.loc[weights, "diversity_score"] == pytest.approx(np.mean([one["ood_score"] for one in found]))
        assert rows.loc[weights, "id_diversity_score"] == pytest.approx(np.mean([one["id_score"] for one in found]))


def test_fresh_members_are_their_ensemble_less_its_gain(frame) -> None:
    rows = frame[frame["method"].eq("mixout")].set_index("weights")
    for score in ("id_score", "ood_score"):
        assert rows.loc["fresh_member", score] == pytest.approx(rows.loc["fresh_ensemble", score] - 0.04)


def test_differences_are_within_runs(frame) -> None:
    # The fabricated members lie 0.01 below the reported weights in every run, their ensemble 0.02 above.
    for weights, gap in (("member", -0.01), ("ensemble", 0.02), ("fresh_ensemble", -0.01), ("fresh_member", -0.05)):
        rows = frame[frame["weights"].eq(weights)]
        for name in ("id_difference", "ood_difference"):
            for end in ("", "_low", "_high"):
                assert rows[f"{name}{end}"].to_numpy() == pytest.approx(gap, abs=1e-9)
    reported = frame[frame["weights"].eq("reported")]
    assert reported[["id_difference", "ood_difference_low"]].isna().all(axis=None)


def test_costs_stand_beside_each_other(frame) -> None:
    passes = frame.set_index(["method", "weights"])["inference_passes"]
    steps = frame.set_index(["method", "weights"])["training_steps"]
    assert (passes["gmixout", "reported"], passes["gmixout", "member"], passes["gmixout", "ensemble"]) == (1, 1, 3)
    assert (passes["gmixout", "fresh_member"], passes["gmixout", "fresh_ensemble"]) == (1, 6)
    assert (passes["ensemble", "reported"], passes["uniform_soup", "reported"]) == (5, 1)
    assert steps["gmixout", "fresh_ensemble"] == steps["gmixout", "member"] == round(900 * 0.92)
    assert (steps["ensemble", "reported"], steps["ensemble/short", "reported"]) == (4500, 900)
    # What one of several runs cost is not in the records.
    assert np.isnan(steps["ensemble", "member"])


def test_an_unknown_number_of_fresh_members_stays_unknown(rivals) -> None:
    metrics = rivals.metrics[rivals.metrics["metric"].ne("members")]
    rows = implicit_ensembles(Records(rivals.cells, metrics, rivals.examples, rivals.curves))
    fresh = rows[rows["weights"].isin(["fresh_member", "fresh_ensemble"])]
    assert len(fresh)
    assert fresh["inference_passes"].isna().all()


def test_a_missing_domain_makes_the_mean_nan(rivals) -> None:
    lost = rivals.metrics["split"].eq("ood/real") & rivals.metrics["weights"].eq("member")
    rows = implicit_ensembles(Records(rivals.cells, rivals.metrics[~lost], rivals.examples, rivals.curves))
    members = rows[rows["weights"].eq("member")]
    assert members["ood_score"].isna().all()
    assert members["id_score"].notna().all()
    assert members["seeds"].eq(0).all()


def test_records_without_members_give_no_rows(rivals) -> None:
    assert len(implicit_ensembles(Records.empty())) == 0
    alone = rivals.keep(rivals.cells.query("method in ('full', 'zero_shot')")["cell"])
    assert len(implicit_ensembles(alone)) == 0
    assert len(printing.printed_implicit_ensembles(implicit_ensembles(alone))) == 0


def test_printed_form(frame) -> None:
    text = printing.printed_implicit_ensembles(frame)
    assert len(text) == len(frame)
    row = text[text["method"].eq("GMixout") & text["weights"].eq("ensemble of fresh members")].iloc[0]
    assert row["forward passes"] == "6"
    assert row["OOD − reported (points)"] == "-1.0 [-1.0, -1.0]"
    assert latex.to_latex(text).isascii()
