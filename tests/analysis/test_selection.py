"""Choices depend on ID validation alone, are stable, and put what diverged last, in sight."""

import numpy as np
import pandas as pd
import pytest

from analysis.records import Records, cells_frame
from analysis.selection import candidates, oracle_select, select, select_alpha


def permuted(whole: Records, seed: int) -> Records:
    """The same records with every number outside ``id_val`` handed to another row."""
    rng = np.random.default_rng(seed)
    metrics = whole.metrics.copy()
    others = metrics["split"].ne("id_val").to_numpy(dtype=bool)
    values = metrics["value"].to_numpy(dtype=float).copy()
    values[others] = rng.permutation(values[others])
    examples = whole.examples.copy()
    for split in set(examples["split"]) - {"id_val"}:
        rows = examples["split"].eq(split).to_numpy(dtype=bool)
        packed = examples["correct"].to_numpy().copy()
        packed[rows] = packed[rows][rng.permutation(int(rows.sum()))]
        examples["correct"] = packed
    return Records(whole.cells, metrics.assign(value=values), examples, whole.curves)


@pytest.mark.parametrize("by", ["method", "setting"])
def test_other_splits_cannot_change_a_choice(records, by: str) -> None:
    expected = select(records, by)
    alphas = select_alpha(records, expected)
    for seed in range(3):
        other = permuted(records, seed)
        pd.testing.assert_frame_equal(select(other, by), expected)
        pd.testing.assert_frame_equal(select_alpha(other), select_alpha(records))
    assert len(alphas)
    assert not oracle_select(permuted(records, 0), by=by).equals(oracle_select(records, by=by))


def test_id_validation_does_change_the_choice(records) -> None:
    chosen = select(records).set_index("method").loc["full"]
    metrics = records.metrics.copy()
    is_val = metrics["split"].eq("id_val") & metrics["cell"].isin(chosen["cells"])
    value = metrics["value"].where(~is_val, 0.0)
    other = Records(records.cells, metrics.assign(value=value), records.examples, records.curves)
    assert select(other).set_index("method").loc["full", "learning_rate"] != chosen["learning_rate"]


def test_the_best_mean_over_seeds_wins(records) -> None:
    val = records.metrics.query("split == 'id_val' and metric == 'accuracy_score' and weights == 'reported'")
    cells = records.cells.merge(val[["cell", "value"]], on="cell")
    full = cells[cells["method"].eq("full")].groupby("learning_rate")["value"].mean()
    row = select(records).set_index("method").loc["full"]
    assert row["learning_rate"] == full.idxmax()
    assert row["id_val_score"] == pytest.approx(full.max())
    assert row["seeds"] == row["candidates"] == 2
    gmixout = cells[cells["method"].eq("gmixout")]
    best = gmixout.groupby(["anchor", "resample_every", "sparsity", "learning_rate"])["value"].mean().idxmax()
    row = select(records).set_index("method").loc["gmixout"]
    assert (row["anchor"], row["resample_every"], row["sparsity"], row["learning_rate"]) == best
    assert len(select(records, "setting")) == 5 + 48


def with_status(whole: Records, cell: str, status: str) -> Records:
    rows = whole.cells.to_dict("records")
    cells = cells_frame([row | {"status": status} if row["cell"] == cell else row for row in rows])
    return Records(cells, whole.metrics, whole.examples, whole.curves)


def test_a_diverged_seed_ranks_last_and_is_shown(records) -> None:
    winner = select(records).set_index("method").loc["gmixout"]
    other = with_status(records, winner["cells"][0], "diverged")
    ranked = candidates(other)
    ours = ranked[ranked["method"].eq("gmixout")]
    assert ours["diverged"].iloc[-1] == 1
    assert ours["setting"].iloc[-1] == winner["setting"]
    assert select(other).set_index("method").loc["gmixout", "setting"] != winner["setting"]


def test_a_failed_seed_is_missing_and_ranks_behind_complete_ones(records) -> None:
    winner = select(records).set_index("method").loc["full"]
    other = with_status(records, winner["cells"][0], "failed")
    ranked = candidates(other).query("method == 'full'")
    assert ranked["missing"].tolist() == [0, 1]
    assert ranked["seeds"].tolist() == [2, 1]
    assert ranked["learning_rate"].iloc[-1] == winner["learning_rate"]


def test_ties_go_to_the_smaller_learning_rate_and_alpha(records) -> None:
    level = records.metrics.assign(value=0.5)
    other = Records(records.cells, level, records.examples, records.curves)
    chosen = select(other).set_index("method")
    assert chosen.loc["full", "learning_rate"] == 1e-3
    assert (select_alpha(other)["alpha"] == 0.0).all()


def test_methods_without_a_learning_rate_have_seeds(rivals) -> None:
    ranked = candidates(rivals).set_index("method")
    for method in ("uniform_soup", "ensemble/short"):
        row = ranked.loc[method]
        assert np.isnan(row["learning_rate"])
        assert (row["seeds"], row["missing"], row["rank"]) == (3, 0, 1)
    assert ranked.loc["zero_shot", "seeds"] == 1
    assert ranked.loc[["lora"], "options"].eq('{"rank":4}').all()
    assert ranked.loc[["full+mixup"], "recipe"].eq('{"additions":["mixup"]}').all()
    cell = rivals.cells.query("method == 'uniform_soup'")["cell"].iloc[0]
    for status, column in (("failed", "missing"), ("diverged", "diverged")):
        row = select(with_status(rivals, cell, status)).set_index("method").loc["uniform_soup"]
        assert row[column] == 1
        assert row["seeds"] == (2 if status == "failed" else 3)


def test_two_soups_of_one_name_are_two_settings(rivals) -> None:
    rows = rivals.cells.query("method == 'uniform_soup'").to_dict("records")
    options = ['{"runs":2}', '{"runs":4}', '{"runs":2}']
    cells = [row | {"options": given, "seed": seed} for row, given, seed in zip(rows, options, (0, 0, 1), strict=True)]
    soups = rivals.keep([row["cell"] for row in rows])
    ranked = candidates(Records(cells_frame(cells), soups.metrics, soups.examples, soups.curves))
    assert ranked["options"].tolist() == ['{"runs":2}', '{"runs":4}']
    assert ranked["missing"].tolist() == [0, 1]


def test_nothing_in_nothing_out() -> None:
    empty = Records.empty()
    assert len(candidates(empty)) == len(select(empty)) == len(select_alpha(empty)) == 0


def test_unknown_grouping_is_refused(records) -> None:
    with pytest.raises(ValueError, match="by must be one of method, setting"):
        select(records, by="seed")
