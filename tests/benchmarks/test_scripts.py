"""Every script runs, on tiny networks, and what it writes adds up."""

import pandas as pd
import pytest
import torch

from benchmarks import diversity, input_pipeline, kernels, memory, record, redraw, runner, scaling, step_time, stored
from benchmarks.__main__ import QUESTIONS
from benchmarks.rivals import RIVALS, available

AVAILABLE = available(list(RIVALS), say=lambda text: None)


@pytest.fixture
def quick(tmp_path):
    """Runs a script and reads its table, as it lies on disk."""

    def run(script, *arguments):
        path = script.main(["--device", "cpu", "--quick", "--out", str(tmp_path), *arguments])
        table = stored.read(script.QUESTION, tmp_path)["cpu"]
        assert path == tmp_path / f"{script.QUESTION}-cpu.csv"
        assert (table["torch"] == torch.__version__).all()
        return table

    return run


def test_step_time(quick):
    table = quick(step_time).set_index("rival")
    assert list(table.index) == AVAILABLE
    for reference, ratio in {"full": "ratio", "floor": "to_floor", "lora_16": "to_lora"}.items():
        if reference in table.index:
            assert table.loc[reference, ratio] == 1.0
            assert (table[f"{ratio}_q25"] <= table[ratio]).all()
            assert (table[ratio] <= table[f"{ratio}_q75"]).all()


def test_step_time_of_some_rivals(quick):
    table = quick(step_time, "--rivals", "row_10", "--rounds", "3")
    assert table["rival"].tolist() == ["full", "row_10"]
    assert table["rounds"].tolist() == [3, 3]
    assert table["to_floor"].isna().all()


def test_step_time_when_time_runs_out(quick):
    assert quick(step_time, "--seconds", "0.001")["rival"].tolist() == ["full"]


def test_an_unknown_rival(quick):
    with pytest.raises(ValueError, match="unknown rivals nobody; choose from full"):
        quick(step_time, "--rivals", "nobody")


def test_memory(quick):
    table = quick(memory, "--rivals", *AVAILABLE).set_index("rival")
    full = table.loc["full"]
    # Weights, gradients and two moments; a step count for each tensor comes on top.
    assert full["state_mb"] == pytest.approx(4 * full["model_mb"], rel=0.01)
    for word in ("state", "saved", "peak"):
        expected = table[f"{word}_mb"] / full[f"{word}_mb"]
        pd.testing.assert_series_equal(table[f"{word}_ratio"], expected, check_names=False, rtol=1e-3)
    assert (table["peak_mb"] > table["model_mb"]).all()
    assert table.loc["element_10", "state_ratio"] < 0.42
    assert table.loc["column_10", "saved_ratio"] < 0.8
    assert table.loc["row_10", "saved_ratio"] == pytest.approx(1.0, abs=0.01)


def test_redraw(quick):
    table = quick(redraw, "--rivals", "element_10", "mixout").set_index(["rival", "k"])
    assert table.index.tolist() == [("element_10", 1), ("element_10", 10), ("element_10", 100), ("mixout", 1)]
    assert table.loc["element_10", "share"].is_monotonic_decreasing
    assert (table["share_q25"] <= table["share_q75"]).all()
    spent, step = table.loc[("element_10", 10), ["redraw_ms", "step_ms"]]
    assert table.loc[("element_10", 10), "share"] == pytest.approx(
        max(0, spent) / (max(0, spent) + 10 * step), rel=1e-3
    )


def test_scaling(quick):
    table = quick(scaling)
    assert table.groupby("axis", sort=False)["value"].nunique().to_dict() == {
        "width": 2, "depth": 2, "batch": 2, "density": 2
    }  # fmt: skip
    assert (table.loc[table["rival"] == "full", "ratio"] == 1.0).all()
    assert (table.apply(lambda row: row[row["axis"]] == row["value"], axis=1)).all()


def test_scaling_when_time_runs_out(quick):
    # The first point lies on every axis, and costs nothing there.
    assert set(quick(scaling, "--seconds", "0.001", "--rivals", "row")["ratio"]) >= {1.0}


def test_kernels(quick, monkeypatch):
    monkeypatch.setattr(kernels, "INTERPRETED", False)
    table = quick(kernels)
    assert set(table["implementation"]) == {"torch"}
    assert (table.loc[table["kernel"].str.startswith("peak"), "peak_share"] <= 1.0).all()
    assert (table["floor_ms"] / table["time_ms"]).tolist() == pytest.approx(table["peak_share"].tolist(), rel=1e-3)
    products = table[table["kernel"] == "product"]
    assert (products["flops"] / products["time_ms"] / 1e9).tolist() == pytest.approx(
        products["tflop_per_s"].tolist(), rel=1e-3
    )


def test_kernels_that_deviate_are_an_error_after_writing(tmp_path, monkeypatch):
    case = next(iter(kernels.cases(kernels.PLANS["quick"], torch.device("cpu"))))
    wrong = kernels.dataclasses.replace(case, error=lambda: 1e6)
    monkeypatch.setattr(kernels, "cases", lambda plan, device: iter([wrong]))
    with pytest.raises(RuntimeError, match=f"deviate.*{case.kernel}"):
        kernels.main(["--device", "cpu", "--quick", "--out", str(tmp_path)])
    assert (tmp_path / "kernels-cpu.csv").exists()


def test_results_have_the_columns_that_readers_expect(tmp_path):
    with pytest.raises(ValueError, match="surplus"):
        record.write("step_time", [{"surplus": 1}], torch.device("cpu"), tmp_path)
    (tmp_path / "redraw-cpu.csv").write_text("backbone,batch\n")
    with pytest.raises(ValueError, match="measure again"):
        stored.read("redraw", tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_gpu_scripts_say_what_to_do():
    with pytest.raises(SystemExit, match="no GPU"):
        step_time.main(["--device", "cuda"])


def test_input_pipeline(quick):
    table = quick(input_pipeline)
    assert {1, 2, 4} <= set(table["readers"])
    assert set(table["rival"]) == set(input_pipeline.METHODS)
    for row in table.to_dict("records"):
        assert row["cost"] == pytest.approx(row["step_images_per_s"] / row["fed_images_per_s"] - 1, rel=1e-3, abs=1e-3)
        assert row["feed_images_per_s"] > 0


def test_everything_fits_the_time_it_is_given():
    total = {plan: sum(script.SECONDS[plan] for script in QUESTIONS.values()) for plan in ("cpu", "cuda")}
    assert total["cpu"] <= 20 * 60
    assert total["cuda"] <= 7.75 * 60


def test_runner(quick):
    table = quick(runner).set_index("case")
    assert list(table.index) == [
        "overhead", "bare Optuna", "throughput", "records, first", "status", "records", "figures", *["makespan"] * 2,
    ]  # fmt: skip
    assert (table[["wall_s", "cpu_s", "ratio"]] > 0).all(axis=None)
    assert table.loc["overhead", "ratio"] == pytest.approx(table.loc["overhead", "wall_s"] / 30, rel=1e-3)
    assert (table.loc["makespan", "ratio"] >= 1).all()
    assert table.loc[["status", "records", "figures"], "peak_mb"].gt(0).all()


def test_diversity(tmp_path):
    table = pd.read_csv(diversity.main(["--quick", "--out", str(tmp_path)]))
    assert table["case"].tolist() == list(diversity.CASES)
    assert (table[["wall_s", "cpu_s", "peak_mb", "arrays_mb"]] > 0).all(axis=None)
