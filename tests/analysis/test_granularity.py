"""Granularities against plain loops over the records: pairs, tests, families, costs, what is missing."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.families import holm
from analysis.granularity import MARGIN, RESPONSES, granularities
from analysis.records import Records
from analysis.shifts import member_scores, shift_scores


def gaps(records: Records, granularity: str, response: str) -> dict[int, float]:
    """The mean difference to single entries of each seed, by loops."""
    scores = shift_scores(records.metrics, weights=("reported",)).set_index("cell")
    scores = scores.join(member_scores(records.metrics).set_index("cell"))
    cells = records.cells[records.cells["method"].eq("gmixout")].set_index(
        ["seed", "granularity", "sparsity", "learning_rate"]
    )["cell"]
    found: dict[int, list[float]] = {}
    for (seed, level, sparsity, rate), cell in cells.items():
        partner = cells.get((seed, "element", sparsity, rate))
        if level == granularity and partner is not None and cell in scores.index and partner in scores.index:
            found.setdefault(seed, []).append(scores.loc[cell, response] - scores.loc[partner, response])
    return {seed: float(np.mean(values)) for seed, values in found.items()}


def test_differences_and_tests_are_those_of_runs(crossed) -> None:
    frame = granularities(crossed)
    assert frame["granularity"].unique().tolist() == ["element", "row", "column", "block"]
    assert len(frame) == 4 * len(RESPONSES)
    assert frame["method"].unique().tolist() == ["gmixout"]
    for row in frame[frame["granularity"].ne("element")].itertuples():
        ours = list(gaps(crossed, row.granularity, row.response).values())
        theirs = stats.ttest_1samp(ours, 0.0)
        assert row.difference == pytest.approx(np.mean(ours))
        assert row.estimate - row.reference_estimate == pytest.approx(row.difference)
        ends = theirs.confidence_interval(0.95)
        assert (row.difference_low, row.difference_high) == pytest.approx((ends.low, ends.high))
        assert row.p_value == pytest.approx(theirs.pvalue)
        assert row.loss_p_value == pytest.approx(stats.ttest_1samp(ours, -MARGIN, alternative="greater").pvalue)
        assert (row.pairs, row.paired_seeds, row.missing) == (20, 5, 0)
    tested = frame[frame["granularity"].ne("element")]
    assert tested["holm_p_value"].to_numpy() == pytest.approx(holm(tested["p_value"]))
    assert tested["loss_holm_p_value"].to_numpy() == pytest.approx(holm(tested["loss_p_value"]))
    assert frame["family_tests"].eq(9).all()


def test_what_was_planted_is_said(crossed) -> None:
    frame = granularities(crossed).set_index(["granularity", "response"])
    block = frame.loc[("block", "id_score")]
    assert block["is_significant"]
    assert not block["is_kept"]
    assert block["difference"] < -0.05
    assert not frame.loc[("row", "id_score"), "is_significant"]
    assert frame.loc["element", "difference"].isna().all()
    assert not frame.loc["element", "is_kept"].any()
    assert granularities(crossed, margin=0.5)["is_kept"].sum() == 9


def test_costs_are_ratios_to_single_entries(crossed) -> None:
    frame = granularities(crossed).drop_duplicates("granularity").set_index("granularity")
    assert frame.loc["element", "train_time_ratio"] == 1.0
    assert frame.loc["row", "train_time_ratio"] == pytest.approx(np.mean([6.5 / 8, 6.8 / 8]))
    assert frame.loc["row", "trained_fraction"] == pytest.approx(0.35, rel=1e-5)
    assert frame["stored_floats_ratio"].eq(1.0).all()


def test_holes_cost_pairs_and_are_told(crossed) -> None:
    lost = crossed.cells.query("granularity == 'row' and seed == 2")["cell"]
    alone = crossed.cells.query("granularity == 'element' and seed == 3 and sparsity == 0.5")["cell"]
    holed = crossed.keep(set(crossed.cells["cell"]) - {*lost, *alone})
    row = granularities(holed).set_index(["granularity", "response"]).loc[("row", "ood_score")]
    assert row["difference"] == pytest.approx(np.mean(list(gaps(holed, "row", "ood_score").values())))
    assert (row["paired_seeds"], row["missing"], row["pairs"]) == (4, 1, 14)
    assert row["estimate"] - row["reference_estimate"] != pytest.approx(row["difference"], abs=1e-12)


def test_nothing_to_compare_gives_no_rows(small, crossed) -> None:
    assert granularities(small).empty
    assert granularities(Records.empty()).empty
    only = crossed.keep(crossed.cells.query("granularity == 'row'")["cell"])
    assert granularities(only).empty


def test_rows_are_the_same_whatever_the_order_of_the_records(crossed) -> None:
    rng = np.random.default_rng(1)
    shuffled = Records(*(table.iloc[rng.permutation(len(table))].reset_index(drop=True)
                         for table in (crossed.cells, crossed.metrics, crossed.examples, crossed.curves)))  # fmt: skip
    pd.testing.assert_frame_equal(granularities(shuffled), granularities(crossed))
