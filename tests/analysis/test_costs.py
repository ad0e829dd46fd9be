"""Costs at the chosen settings: means, ratios, what is not known; and their printed form."""

import numpy as np
import pytest

from analysis import printing
from analysis.records import Records, cells_frame
from analysis.selection import select
from analysis.tables import COSTS, costs
from tests.analysis.rivals import RIVALS


def test_costs_are_the_means_of_the_chosen_cells(rivals) -> None:
    frame = costs(rivals).set_index("method")
    assert set(frame.index) == set(RIVALS)
    cells = rivals.cells.set_index("cell")
    for row in select(rivals).to_dict("records"):
        ours = cells.loc[list(row["cells"])]
        shown = frame.loc[row["method"]]
        for name in COSTS:
            assert shown[name] == pytest.approx(float(ours[name].astype(float).mean()))
        assert (shown["cells"], shown["candidates"], shown["seeds"]) == (row["cells"], row["candidates"], row["seeds"])
        assert shown["training_flops_ratio"] == pytest.approx(RIVALS[row["method"]][2])
        assert shown["inference_passes"] == RIVALS[row["method"]][3]
    assert frame.loc["full", [f"{name}_ratio" for name in COSTS]].eq(1.0).all()
    assert frame.loc["lora", "candidates"] == 2
    assert frame.loc["uniform_soup", "candidates"] == 1
    assert frame.loc["ensemble", "inference_passes_ratio"] == 5.0


def test_seeds_that_cost_differently_are_averaged(rivals) -> None:
    rows = rivals.cells.to_dict("records")
    times = {0: 2.0, 1: 3.0, 2: 7.0}
    rows = [row | {"train_time_s": times[row["seed"]] * (1 + (row["method"] == "swad"))} for row in rows]
    frame = costs(Records(cells_frame(rows), rivals.metrics, rivals.examples, rivals.curves)).set_index("method")
    assert frame.loc["full", "train_time_s"] == 4.0
    assert frame.loc["swad", "train_time_s_ratio"] == 2.0


def test_what_is_not_known_stays_unknown(rivals) -> None:
    rows = rivals.cells.to_dict("records")
    rows = [row | ({"training_flops": None} if row["method"] == "lora" else {}) for row in rows]
    frame = costs(Records(cells_frame(rows), rivals.metrics, rivals.examples, rivals.curves)).set_index("method")
    assert np.isnan(frame.loc["lora", ["training_flops", "training_flops_ratio"]].astype(float)).all()
    assert frame.loc["lora", "training_steps"] > 0
    alone = rivals.keep(rivals.cells.query("method != 'full'")["cell"])
    assert costs(alone)[[f"{name}_ratio" for name in COSTS]].isna().all(axis=None)
    free = costs(rivals, reference="zero_shot")
    assert free["training_flops_ratio"].isna().all()
    assert free["total_parameters_ratio"].eq(1.0).all()
    assert len(costs(Records.empty())) == 0


def test_printed_costs(rivals) -> None:
    text = printing.printed_costs(costs(rivals)).set_index("method")
    assert text.loc["Uniform soup", "full = 1"] == "5.00"
    assert text.loc["Full fine-tuning", "training operations"] == "9e+13"
    assert text.loc["Ensemble (short)", "forward passes"] == "5"
    assert text.loc["GMixout", "numbers stored"] == "1,200,000"
    assert len(printing.printed_costs(costs(Records.empty()))) == 0
