"""Frontiers: curves against brute force, known numbers at matched ID, honest holes, nothing that depends on order."""

import numpy as np
import pandas as pd
import pytest

from analysis.figures import FIGURES, NothingToDraw
from analysis.frontier import frontier, on_frontier, ood_at_matched_id, ood_on_curve
from analysis.records import Records, cells_frame, concatenate
from analysis.selection import select
from analysis.shifts import shift_scores
from tests.analysis.synthetic import fabricate
from tests.analysis.test_selection import permuted

RATES = (3e-4, 1e-3, 3e-3)
# ID and OOD of each method at each rate in run 0; run 1 has 0.02 more ID. ID validation equals ID test.
SCORES = {
    "zero_shot": ((0.40, 0.90),),
    "linear_probe": ((0.42, 0.88), (0.45, 0.86), (0.48, 0.82)),
    "full": ((0.50, 0.80), (0.60, 0.70), (0.70, 0.60)),
    "random_mask": ((0.60, 0.80), (0.80, 0.70), (0.64, 0.50)),
    "mixout": ((0.55, 0.80), (0.65, 0.75), (0.75, 0.60)),
    "gmixout": ((0.30, 0.90), (0.40, 0.85), (0.62, 0.80)),
}
KEYS = ["method", "setting", "learning_rate"]


@pytest.fixture(scope="module")
def known() -> Records:
    whole = fabricate(learning_rates=RATES, anchors=("ema",), periods=(10.0,), sparsities=(0.5,))
    cells = whole.cells.set_index("cell")
    values = whole.metrics["value"].to_numpy(copy=True)
    rows = zip(whole.metrics["cell"], whole.metrics["split"], whole.metrics["weights"], whole.metrics["metric"])
    for position, (name, split, weights, metric) in enumerate(rows):
        cell = cells.loc[name]
        rate = 0 if cell["method"] == "zero_shot" else RATES.index(cell["learning_rate"])
        id_score, ood_score = SCORES[cell["method"]][rate]
        if weights == "reported" and metric == "accuracy_score" and split and not split.startswith("corruption"):
            values[position] = ood_score if split.startswith("ood/") else id_score + 0.02 * cell["seed"]
    return Records(whole.cells, whole.metrics.assign(value=values), whole.examples, whole.curves)


def with_status(whole: Records, chosen: pd.Series, status: str) -> Records:
    rows = whole.cells.to_dict("records")
    cells = [row | {"status": status} if is_it else row for row, is_it in zip(rows, chosen.fillna(False), strict=True)]
    return Records(cells_frame(cells), whole.metrics, whole.examples, whole.curves)


def test_crossings_agree_with_brute_force() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        x, y = rng.random((2, rng.integers(2, 6)))
        wanted = rng.random()
        steps = np.linspace(0.0, len(x) - 1.0, 4001 * (len(x) - 1))
        fine_x, fine_y = (np.interp(steps, np.arange(len(x)), values) for values in (x, y))
        crosses = np.flatnonzero(np.diff(np.sign(fine_x - wanted)))
        got = ood_on_curve(x, y, wanted)
        if len(crosses):
            assert got == pytest.approx(fine_y[crosses].max(), abs=1e-3)
        else:
            assert np.isnan(got)


def test_a_rising_curve_is_plain_interpolation() -> None:
    x, y = np.array([0.2, 0.5, 0.7]), np.array([0.9, 0.6, 0.65])
    for wanted in (0.2, 0.31, 0.5, 0.62, 0.7):
        assert ood_on_curve(x, y, wanted) == pytest.approx(np.interp(wanted, x, y), abs=1e-12)
        assert ood_on_curve(x[::-1], y[::-1], wanted) == pytest.approx(np.interp(wanted, x, y), abs=1e-12)
    assert np.isnan([ood_on_curve(x, y, wanted) for wanted in (0.19, 0.71)]).all()


def test_the_best_crossing_holes_and_odd_pieces() -> None:
    assert ood_on_curve([0.5, 0.7, 0.5], [0.9, 0.8, 0.2], 0.6) == pytest.approx(0.85)
    assert ood_on_curve([0.5, 0.7, 0.5], [0.2, 0.8, 0.9], 0.6) == pytest.approx(0.85)
    assert ood_on_curve([0.6, 0.6], [0.3, 0.4], 0.6) == 0.4
    assert ood_on_curve([0.6], [0.3], 0.6) == 0.3
    for hole in (([0.5, np.nan, 0.7], [0.9, 0.8, 0.7]), ([0.5, 0.6, 0.7], [0.9, np.nan, 0.7])):
        assert np.isnan(ood_on_curve(*hole, 0.6))
        assert ood_on_curve(*hole, 0.5) == 0.9
    assert np.isnan(ood_on_curve([], [], 0.5))
    with pytest.raises(ValueError, match="one ID and one OOD a point"):
        ood_on_curve([0.5, 0.6], [0.5], 0.5)


def test_frontier_holds_the_means_over_runs(records) -> None:
    rows = frontier(records)
    assert len(rows) == 2 * (4 + 48)
    assert "zero_shot" not in set(rows["method"])
    scores = shift_scores(records.metrics, weights=("reported",)).set_index("cell")
    for row in rows.iloc[::7].to_dict("records"):
        ours = scores.loc[list(row["cells"])]
        assert (row["runs"], row["missing"], row["diverged"]) == (2, 0, 0)
        assert row["id_score"] == pytest.approx(ours["id_score"].mean())
        assert (row["ood_lowest"], row["ood_highest"]) == (ours["ood_score"].min(), ours["ood_score"].max())
    alone = frontier(fabricate(learning_rates=(1e-3,)))
    assert len(alone) == 0


def test_diverged_runs_stay_in_sight(known) -> None:
    is_last = known.cells["method"].eq("mixout") & known.cells["learning_rate"].eq(3e-3)
    rows = frontier(with_status(known, is_last, "diverged")).query("method == 'mixout'")
    assert rows["diverged"].tolist() == [0, 0, 2]
    assert np.isnan(rows["ood_score"].iloc[2])
    one = with_status(known, is_last & known.cells["seed"].eq(1), "failed")
    last = frontier(one).query("method == 'mixout'").iloc[2]
    assert (last["runs"], last["missing"], last["diverged"], last["id_score"]) == (1, 1, 0, 0.75)


def test_known_numbers_at_the_id_of_full_fine_tuning(known) -> None:
    # Full fine-tuning is chosen at 3e-3: ID 0.70 and 0.72, OOD 0.60.
    rows = ood_at_matched_id(known).set_index("method")
    assert rows.index.tolist() == ["linear_probe", "full", "random_mask", "mixout", "gmixout"]
    assert rows["matched_id_score"].to_numpy() == pytest.approx(0.71)
    assert rows["is_selected"].all()
    mixout = rows.loc["mixout"]
    assert (mixout["runs"], mixout["reached"], mixout["rates"]) == (2, 2, 3)
    assert mixout["ood_score"] == pytest.approx(0.675)
    assert mixout["ood_difference"] == pytest.approx(0.075)
    assert mixout["ood_difference_low"] == pytest.approx(mixout["ood_difference_t_high"]) == pytest.approx(0.075)
    assert mixout["lowest_id_score"] == pytest.approx(0.56)
    # Random masking has this ID on the way up (0.75) and on the way down: the better one counts.
    assert rows.loc["random_mask", "ood_score"] == pytest.approx(0.75)
    for name in ("linear_probe", "gmixout"):
        assert rows.loc[name, "reached"] == 0
        assert np.isnan(rows.loc[name, ["ood_score", "ood_difference", "ood_difference_low"]].astype(float)).all()
    assert rows.loc["full", "ood_score"] == pytest.approx(0.6)
    assert np.isnan(rows.loc["full", "ood_difference"])


def test_known_numbers_at_each_method_s_own_id(known) -> None:
    rows = ood_at_matched_id(known, at="method").set_index("method")
    # GMixout is chosen at ID 0.62, OOD 0.80; full fine-tuning has OOD 0.68 there.
    assert rows.loc["gmixout", "matched_id_score"] == pytest.approx(0.63)
    assert rows.loc["gmixout", "ood_score"] == pytest.approx(0.80)
    assert rows.loc["gmixout", "ood_difference"] == pytest.approx(0.12)
    assert (rows.loc["linear_probe", "reached"], rows.loc["mixout", "reached"]) == (0, 0)
    swapped = ood_at_matched_id(known, reference="gmixout").set_index("method")
    assert swapped.loc["full", "ood_difference"] == pytest.approx(-0.12)


def test_pairs_are_of_one_run(records) -> None:
    scores = shift_scores(records.metrics, weights=("reported",)).set_index("cell")
    cells = records.cells.set_index("cell")
    full = select(records).set_index("method").loc["full", "cells"]
    gaps = []
    for name in full:
        ours = cells[cells["method"].eq("mixout") & cells["seed"].eq(cells.loc[name, "seed"])]
        curve = scores.loc[ours.sort_values("learning_rate").index]
        found = ood_on_curve(curve["id_score"], curve["ood_score"], scores.loc[name, "id_score"])
        gaps.append(found - scores.loc[name, "ood_score"])
    row = ood_at_matched_id(records).set_index("method").loc["mixout"]
    assert row["reached"] == np.isfinite(gaps).sum()
    assert row["ood_difference"] == pytest.approx(np.nanmean(gaps) if np.isfinite(gaps).any() else np.nan, nan_ok=True)


def test_a_hole_is_not_bridged_and_a_lost_run_is_not_reached(known) -> None:
    lost = known.cells["method"].eq("mixout") & known.cells["learning_rate"].eq(3e-3) & known.cells["seed"].eq(1)
    row = ood_at_matched_id(with_status(known, lost, "diverged")).set_index("method").loc["mixout"]
    assert (row["runs"], row["reached"], row["diverged"]) == (2, 1, 1)
    assert row["ood_difference"] == pytest.approx(0.075)
    assert np.isnan(row["ood_difference_t_low"])
    middle = known.cells["method"].eq("random_mask") & known.cells["learning_rate"].eq(1e-3)
    row = ood_at_matched_id(with_status(known, middle, "diverged")).set_index("method").loc["random_mask"]
    assert (row["reached"], row["diverged"]) == (0, 2)


def test_one_rate_is_no_frontier_but_keeps_its_row(known) -> None:
    cut = known.keep(
        known.cells.loc[known.cells["method"].ne("gmixout") | known.cells["learning_rate"].eq(3e-3), "cell"]
    )
    assert "gmixout" not in set(on_frontier(cut).cells["method"])
    row = ood_at_matched_id(cut).set_index("method").loc["gmixout"]
    assert (row["rates"], row["reached"]) == (1, 0)
    # At its own ID the full curve moves, so one rate is enough there.
    row = ood_at_matched_id(cut, at="method").set_index("method").loc["gmixout"]
    assert (row["rates"], row["ood_difference"]) == (3, pytest.approx(0.12))


def test_settings_are_chosen_on_id_validation_alone(records) -> None:
    expected = ood_at_matched_id(records)
    chosen = select(records).set_index("method")["setting"]
    assert (expected["setting"] == chosen.loc[expected["method"]].to_numpy()).all()
    other = ood_at_matched_id(permuted(records, 0))
    assert other["setting"].tolist() == expected["setting"].tolist()
    assert not other["matched_id_score"].equals(expected["matched_id_score"])


def test_order_of_rows_does_not_matter(records, known) -> None:
    for whole in (records, known):
        shuffled = Records(*(table.sample(frac=1.0, random_state=3).reset_index(drop=True)
                             for table in (whole.cells, whole.metrics, whole.examples, whole.curves)))  # fmt: skip
        pd.testing.assert_frame_equal(frontier(shuffled), frontier(whole), rtol=1e-12)
        for at in ("reference", "method"):
            pd.testing.assert_frame_equal(
                ood_at_matched_id(shuffled, at=at), ood_at_matched_id(whole, at=at), rtol=1e-12)  # fmt: skip


def test_several_benchmarks_stay_apart(known) -> None:
    tables = [table.assign(cell="x" + table["cell"]) for table in (known.cells, known.metrics, known.examples,
                                                                 known.curves)]  # fmt: skip
    tables[0]["benchmark"] = pd.array(["other"] * len(tables[0]), dtype="string")
    both = ood_at_matched_id(concatenate([known, Records(*tables)]))
    one = ood_at_matched_id(known)
    assert both["benchmark"].tolist() == ["digits"] * 5 + ["other"] * 5
    for _, part in both.groupby("benchmark"):
        columns = ["method", "ood_difference", "ood_difference_low", "reached"]
        pd.testing.assert_frame_equal(part[columns].reset_index(drop=True), one[columns])


def test_empty_records_and_a_wrong_side() -> None:
    assert len(frontier(Records.empty())) == len(ood_at_matched_id(Records.empty())) == 0
    with pytest.raises(ValueError, match="at must be reference or method, got 'full'"):
        ood_at_matched_id(Records.empty(), at="full")


def test_figure_shows_one_curve_a_method_and_long_gmixout_curves(records, known) -> None:
    frame = FIGURES["learning_rate_frontier"].table(known)
    assert frame["kind"].value_counts().to_dict() == {"method": 15, "zero_shot": 1}
    points = frontier(known).set_index(KEYS)
    shown = frame[frame["kind"].eq("method")].set_index(KEYS)
    assert shown["ood_score"].to_dict() == points["ood_score"].to_dict()
    chosen = frame[frame["is_chosen"]].set_index("method")["learning_rate"]
    assert chosen.to_dict() == select(known).set_index("method")["learning_rate"].drop("zero_shot").to_dict()
    # With two rates only the chosen one of 48 settings is drawn; with three, all are.
    two = FIGURES["learning_rate_frontier"].table(records)
    assert two.loc[two["method"].eq("gmixout"), "setting"].nunique() == 1
    long = fabricate(learning_rates=RATES, anchors=("ema", "latest"), periods=(1.0,), sparsities=(0.5, 0.9), seeds=(0,))
    three = FIGURES["learning_rate_frontier"].table(long).query("method == 'gmixout'")
    assert (three["kind"].eq("setting").sum(), three["kind"].eq("method").sum()) == (9, 3)
    assert "GMixout, anchor ema, sparsity 0.9" in set(three["label"])
    grid = fabricate(learning_rates=RATES, anchors=("ema", "latest"), periods=(1.0,), sparsities=(.2, .4, .5, .6, .9),
                     seeds=(0,))  # fmt: skip
    cut = FIGURES["learning_rate_frontier"].table(grid).query("method == 'gmixout'")
    best = select(grid, by="setting").query("method == 'gmixout'").sort_values("id_val_score", ascending=False)
    assert set(cut["setting"]) == set(best["setting"].head(7)), "the preferred one and the next six"
    assert "there may be more than these 6" in FIGURES["learning_rate_frontier"].caption(cut)
    with pytest.raises(NothingToDraw, match="two learning rates"):
        FIGURES["learning_rate_frontier"].table(fabricate(anchors=(), learning_rates=(1e-3,)))
