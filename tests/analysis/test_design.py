"""Settings, runs, levels, and runs that several anchors share."""

import numpy as np
import pytest

from analysis.design import (
    comparable,
    core,
    grid,
    level_label,
    ordered_levels,
    other_levers,
    varying_levers,
    with_setting,
    with_shared_runs,
)
from analysis.levers import lever_cells, lever_effects
from analysis.records import Records, cells_frame
from tests.analysis.synthetic import fabricate


def test_settings_group_repetitions(records) -> None:
    cells = with_setting(records.cells)
    groups = cells[cells["method"].eq("gmixout")].groupby(["setting", "learning_rate"])
    assert groups.ngroups == 96
    assert groups["run"].nunique().eq(2).all()


def test_the_same_repetition_twice_is_refused(small) -> None:
    row = small.cells.iloc[[0]].assign(cell="copy")
    cells = cells_frame([*small.cells.to_dict("records"), *cells_frame(row).to_dict("records")])
    with pytest.raises(ValueError, match="each repetition of a setting once"):
        with_setting(cells)


def test_options_and_recipe_belong_to_the_setting(small) -> None:
    row = small.where(method="full", seed=0).cells.to_dict("records")[0]
    others = [{"options": '{"rank":4}'}, {"options": '{"rank":8}'}, {"recipe": '{"mixup":0.2}'}]
    cells = cells_frame([row, *(row | other | {"cell": str(number)} for number, other in enumerate(others))])
    settings = with_setting(cells)["setting"].tolist()
    assert len(set(settings)) == 4
    assert settings[1] == settings[0] + ' options={"rank":4}'
    assert settings[3] == settings[0] + ' recipe={"mixup":0.2}'


def test_levels_are_ordered_and_named() -> None:
    assert ordered_levels("anchor", ["latest", None, "ema", "pretrained", "ema"]) == ["pretrained", "ema", "latest"]
    assert ordered_levels("resample_every", [np.inf, 10.0, 1.0]) == [1.0, 10.0, np.inf]
    assert [level_label(value) for value in (True, 0.98, np.inf, float("nan"))] == ["yes", "0.98", "∞", ""]


def test_varying_levers(records) -> None:
    assert varying_levers(records.cells) == ["anchor", "resample_every", "sparsity"]
    assert varying_levers(Records.empty().cells) == []


def test_core_leaves_side_arms_out(small) -> None:
    rows = small.where(method="gmixout").cells.to_dict("records")
    rows = [row | {"granularity": "element"} for row in rows]
    side = [row | {"granularity": "row", "cell": f"{row['cell']}-row"} for row in rows if row["sparsity"] == 0.9][:2]
    cells = cells_frame([*rows, *side])
    assert varying_levers(cells) == ["anchor", "resample_every", "sparsity", "granularity"]
    assert len(core(cells)) == len(rows)
    assert len(comparable(cells, "granularity")) == len(rows) + 2


def test_finer_levels_around_a_middle_are_no_part_of_the_grid(small) -> None:
    rows = small.where(method="gmixout").cells.to_dict("records")
    middle = [row for row in rows if (row["anchor"], row["resample_every"]) == ("ema", 10.0)]
    finer = [row | {"sparsity": 0.7, "cell": f"{row['cell']}-finer"} for row in middle if row["sparsity"] == 0.9]
    finer += [row | {"anchor": "average", "cell": f"{row['cell']}-average"} for row in middle]
    cells = cells_frame([*rows, *finer])
    assert set(grid(cells)["cell"]) == {row["cell"] for row in rows}
    # Along one lever at a time there is no grid: all of it counts.
    star = cells_frame([row for row in rows if row["anchor"] == "ema" and row["sparsity"] == 0.9]
                       + [row for row in rows if row["anchor"] == "ema" and row["resample_every"] == 1.0
                          and row["sparsity"] == 0.5])  # fmt: skip
    assert len(grid(star)) == len(star)


def test_an_endless_mask_is_listed_under_every_anchor() -> None:
    stored = fabricate(shared=True)
    cells = lever_cells(stored, rates="common")
    assert len(cells) == 48 * 2 * 2
    assert cells["is_shared"].sum() == 2 * 4 * 2 * 2
    endless = cells[np.isinf(cells["resample_every"])]
    assert endless.groupby(["sparsity", "learning_rate", "run"])["cell"].nunique().eq(1).all()
    assert np.isfinite(comparable(cells, "anchor")["resample_every"]).all()
    assert len(comparable(cells, "resample_every")) == len(cells)
    assert not comparable(cells, "sparsity")["is_shared"].any()
    assert other_levers(cells, "resample_every") == ["sparsity", "learning_rate"]
    assert other_levers(cells, "sparsity") == ["anchor", "resample_every", "learning_rate"]


def test_a_shared_run_counts_once() -> None:
    effects = lever_effects(fabricate(shared=True), draws=200)
    pairs = effects[effects["response"].eq("ood_score")].groupby("lever")["pairs"].max()
    runs = 2 * 2  # Seeds times learning rates.
    expected = {"anchor": 3 * 4 * runs, "resample_every": 4 * runs, "sparsity": (3 * 3 + 1) * runs}
    assert pairs.to_dict() == {**expected, "learning_rate": (3 * 3 + 1) * 4 * 2}
    assert effects["partial_eta_squared"].notna().all()


def test_nothing_is_shared_where_each_anchor_has_its_run(records) -> None:
    cells = lever_cells(records)
    assert not cells["is_shared"].any()
    reported = cells.assign(report="anchor").astype({"report": "string"})
    assert not with_shared_runs(reported.query("anchor == 'pretrained' or resample_every < 100"))["is_shared"].any()
