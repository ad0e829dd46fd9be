"""One run against many: sides, pairs and families by plain loops over the records."""

import numpy as np
import pytest
from scipy import stats

from analysis.families import holm
from analysis.one_run import COLUMNS, EQUAL, _is_asked, _is_twice, ensembles
from analysis.records import Records
from analysis.selection import select, select_alpha
from tests.analysis.rivals import RIVALS
from tests.analysis.test_implicit_ensembles import numbers

METHODS = ("full", "uniform_soup", "ensemble", "ensemble/short", "mixout", "gmixout")


def test_only_what_is_asked_is_a_side() -> None:
    asked = [name for name in RIVALS if _is_asked(name)]
    assert asked == ["full", "ema", "weight_average", "swad", "uniform_soup", "greedy_soup", "diwa", "ensemble",
                     "ensemble/short", "mixout", "gmixout"]  # fmt: skip
    # An average along a run, and a soup, have their members elsewhere.
    for method in ("ema", "swad", "uniform_soup"):
        assert _is_twice("trajectory", method, "member")
        assert not _is_twice("trajectory", method, "reported")
    assert not _is_twice("trajectory", "full", "ensemble")


@pytest.fixture(scope="module")
def rivals(rivals):
    return rivals.keep(rivals.cells.loc[rivals.cells["method"].isin(METHODS), "cell"])


@pytest.fixture(scope="module")
def frame(rivals):
    return ensembles(rivals)


def by_seed(rivals, method: str, weights: str, metric: str = "accuracy_score") -> dict[int, dict[str, float]]:
    seeds = rivals.cells.set_index("cell")["seed"]
    cells = select(rivals).set_index("method").loc[method, "cells"]
    return {int(seeds[cell]): numbers(rivals, cell, weights, metric) for cell in cells}


def test_sides_are_listed_once(frame) -> None:
    sides = list(zip(frame["method"], frame["weights"]))
    assert len(set(sides)) == len(sides)
    # An ensemble of separate runs is its members' ensemble; soups do not list their pool's runs again.
    assert ("ensemble", "reported") not in sides
    assert {("ensemble", "ensemble"), ("ensemble", "member"), ("uniform_soup", "reported")} <= set(sides)
    assert ("uniform_soup", "ensemble") not in sides
    assert {("gmixout", weights) for weights in ("reported", "member", "ensemble", "fresh_member", "fresh_ensemble",
                                                 "wise")} <= set(sides)  # fmt: skip
    assert list(frame.columns) == COLUMNS
    assert set(zip(frame["reference_method"], frame["reference_weights"])) == {("gmixout", "ensemble")}


@pytest.mark.parametrize(
    "side", [("full", "reported"), ("ensemble/short", "ensemble"), ("mixout", "fresh_ensemble"), ("mixout", "member")]
)
def test_differences_are_paired_by_seed(rivals, frame, side) -> None:
    ours, base = by_seed(rivals, *side), by_seed(rivals, "gmixout", "ensemble")
    row = frame.set_index(["method", "weights"]).loc[side]
    for name in ("id", "ood"):
        gaps = [ours[seed][f"{name}_score"] - base[seed][f"{name}_score"] for seed in ours]
        theirs = stats.ttest_1samp(gaps, 0.0)
        ends = theirs.confidence_interval(0.95)
        found = [row[f"{name}_difference"], row[f"{name}_difference_low"], row[f"{name}_difference_high"]]
        assert found == pytest.approx([np.mean(gaps), ends.low, ends.high])
        assert row[f"{name}_p_value"] == pytest.approx(theirs.pvalue)
        assert row[f"{name}_score"] == pytest.approx(np.mean([one[f"{name}_score"] for one in ours.values()]))
    assert row["paired_seeds"] == 3


def test_gain_and_disagreement_are_of_the_own_members(rivals, frame) -> None:
    row = frame.set_index(["method", "weights"]).loc[("ensemble", "ensemble")]
    whole, member = by_seed(rivals, "ensemble", "ensemble"), by_seed(rivals, "ensemble", "member")
    gains = [whole[seed]["ood_score"] - member[seed]["ood_score"] for seed in whole]
    assert row["ensemble_gain"] == pytest.approx(np.mean(gains))
    # The fabricated gain is the same in every run, and without spread there is no test.
    assert np.ptp(gains) < 1e-12
    assert np.isnan(row["ensemble_gain_p_value"])
    pairs = by_seed(rivals, "ensemble", "members", "label_disagreement_score")
    assert row["diversity_score"] == pytest.approx(np.mean([one["ood_score"] for one in pairs.values()]))
    assert frame.loc[~frame["weights"].str.contains("ensemble"), "ensemble_gain"].isna().all()


def test_wise_weights_are_those_that_id_validation_chose(rivals, frame) -> None:
    alphas = select_alpha(rivals).set_index("method")["alpha"]
    wise = frame[frame["weights"].eq("wise")].set_index("method")["alpha"]
    assert wise.to_dict() == alphas[wise.index].to_dict()


def test_only_equal_training_is_in_the_family(frame) -> None:
    is_equal = (frame["training_ratio"] - 1).abs() <= EQUAL
    assert frame["has_equal_training"].tolist() == is_equal.tolist()
    rows = frame.set_index(["method", "weights"])
    assert rows.loc[("ensemble/short", "ensemble"), "has_equal_training"]
    assert not rows.loc[("ensemble", "ensemble"), "has_equal_training"]
    assert np.isnan(rows.loc[("ensemble/short", "member"), "training_ratio"])
    family = frame[is_equal]
    p_values = np.concatenate([family["id_p_value"], family["ood_p_value"]])
    adjusted = holm(p_values)
    assert np.concatenate([family["id_holm_p_value"], family["ood_holm_p_value"]]) == pytest.approx(
        adjusted, nan_ok=True
    )
    assert frame["family_tests"].eq(np.isfinite(p_values).sum()).all()
    assert frame.loc[~is_equal, ["id_holm_p_value", "ood_holm_p_value"]].isna().all(axis=None)
    assert not frame.loc[~is_equal, ["is_id_significant", "is_ood_significant"]].any(axis=None)


def test_a_lost_seed_is_shown_and_not_paired(rivals) -> None:
    lost = rivals.cells.query("method == 'ensemble/short' and seed == 1")["cell"]
    metrics = rivals.metrics[~rivals.metrics["cell"].isin(lost)]
    holed = ensembles(Records(rivals.cells, metrics, rivals.examples, rivals.curves))
    row = holed.set_index(["method", "weights"]).loc[("ensemble/short", "ensemble")]
    assert (row["seeds"], row["paired_seeds"], row["missing"]) == (2, 2, 1)


def test_another_reference_and_records_without_one(rivals, small) -> None:
    other = ensembles(rivals, reference=("full", "reported")).set_index(["method", "weights"])
    assert np.isnan(other.loc[("full", "reported"), "ood_difference"])
    assert np.isfinite(other.loc[("gmixout", "ensemble"), "ood_difference"])
    assert ensembles(small).empty
    assert ensembles(Records.empty()).empty
