"""Figures from tables made by hand, and from nothing else."""

import subprocess
import sys

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.figure import Figure

from benchmarks import figures
from tests.benchmarks import made

RATIOS = {"full": 1.0, "floor": 0.75, "lora_16": 1.2, "mixout": 1.02, "element_10": 1.0, "column_10": 0.8}
SHARES = {
    ("peak copy", "torch", "1 GiB"): 1.0,
    ("adamw", "triton", "element 10 %"): 0.7,
    ("adamw", "triton", "element 10 %, hilo"): 0.65,
    ("adamw", "torch", "element 2 %"): 0.2,
    ("mix", "torch", "all"): 0.1,
}


@pytest.fixture
def results(tmp_path):
    steps = [made.step_time(RATIOS, batch=batch) for batch in (8, 64)] + [made.step_time(RATIOS, mode="compiled")]
    sizes = {rival: (ratio, ratio, ratio) for rival, ratio in RATIOS.items()}
    growth = {"width": {64: {"full": 1.0, "row": 0.9}, 128: {"full": 1.0, "row": 0.8}}, "batch": {4: {"row": 0.9}}}
    tables = {
        "step_time-cpu": pd.concat(steps),
        "memory-cpu": made.memory(sizes),
        "kernels-nvidia-h200": made.kernels(SHARES),
        "scaling-cpu": made.scaling(growth),
    }
    for name, table in tables.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def test_every_table_becomes_figures(results):
    paths = figures.main(["--results", str(results), "--out", str(results / "drawn")])
    assert [path.stem for path in paths] == [
        "step_time-cpu-vit-b16-eager",
        "step_time-cpu-vit-b16-compiled",
        "memory-cpu-vit-b16-batch-128",
        "scaling-cpu",
        "kernels-nvidia-h200",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_without_tables_there_are_no_figures(tmp_path, capsys):
    assert figures.main(["--results", str(tmp_path), "--out", str(tmp_path / "drawn")]) == []
    assert not (tmp_path / "drawn").exists()
    assert "run python -m benchmarks first" in capsys.readouterr().out


def test_bars_show_their_values_and_stay_within_the_axis():
    table = made.step_time(RATIOS)
    ax = Figure().subplots()
    figures.draw_bars(ax, table, "ratio", table["label"].tolist(), limit=1.6)
    assert [bar.get_width() for bar in ax.patches] == list(RATIOS.values())
    assert [text.get_text() for text in ax.texts] == ["1.00", "0.75", "1.20", "1.02", "1.00", "0.80"]
    assert ax.get_xlim() == (0.0, 1.6)


def test_a_rival_that_was_not_measured_has_an_empty_place():
    ax = Figure().subplots()
    figures.draw_bars(ax, made.step_time({"full": 1.0}), "ratio", ["full fine-tuning", "row 10 %"], limit=2.0)
    assert len(ax.texts) == 1
    assert len(ax.get_yticks()) == 2


def test_rows_of_kernels():
    rows = figures.kernel_rows(made.kernels(SHARES))
    assert rows["row"].tolist() == ["AdamW (memory)", "AdamW, hilo (memory)", "AdamW (memory)", "mix (memory)"]
    assert rows["kind"].tolist() == ["element", "element", "element", "dense"]
    assert rows["is_few"].tolist() == [False, False, True, False]


def test_no_global_style_is_changed(results):
    before = dict(mpl.rcParams)
    figures.main(["--results", str(results), "--out", str(results / "drawn")])
    assert dict(mpl.rcParams) == before


def test_reading_and_drawing_need_no_torch():
    code = "import sys, benchmarks.bars, benchmarks.figures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
