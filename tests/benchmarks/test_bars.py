"""Which bars are met, on tables made by hand."""

import pandas as pd
import pytest

from benchmarks import bars
from tests.benchmarks import made


def write(folder, **tables):
    for name, table in tables.items():
        question, slug = name.split("__")
        table.to_csv(folder / f"{question}-{slug}.csv", index=False)


def verdicts(folder, device="a device"):
    found = bars.judged(folder)
    return found[found["device"] == device].set_index("bar")["verdict"].to_dict()


def test_nothing_measured(tmp_path):
    found = bars.judged(tmp_path)
    assert set(found["verdict"]) == {"unmeasured"}
    assert len(found) == sum(len(group) for group in bars.BARS.values())
    assert set(found["device"]) == {"a CPU", "an H200"}


def test_a_cpu(tmp_path):
    ratios = {"full": 1.0, "row_10": 0.80, "column_10": 0.9, "column16_10": 0.84, "element_10": 1.04}
    write(tmp_path, step_time__cpu=made.step_time(ratios), memory__cpu=made.memory({"element_10": (0.4, 1.0, 0.9)}))
    found = verdicts(tmp_path)
    assert found["step / full fine-tuning, row 10 %"] == "met"
    assert found["step / full fine-tuning, column 10 % (groups of 16 allowed)"] == "met"
    assert found["step / full fine-tuning, element 10 %"] == "missed"
    assert found["step / full fine-tuning, fused Mixout"] == "unmeasured"
    assert found["state bytes / full fine-tuning, element 10 %"] == "met"
    assert found["peak memory / full fine-tuning, column 10 %"] == "unmeasured"
    table = bars.judged(tmp_path).set_index("bar")
    assert table.loc["step / full fine-tuning, column 10 % (groups of 16 allowed)", "at"].endswith("column16_10")


def test_the_worst_case_decides_and_is_named(tmp_path):
    good, bad = {"column_10": 0.7}, {"column_10": 0.83}
    small = made.step_time({"column_10": 2.0}, batch=8)
    cases = [made.step_time(good), made.step_time(bad, batch=128), made.step_time(good, mode="compiled"), small]
    write(tmp_path, **{"step_time__nvidia-h200": pd.concat(cases)})
    row = bars.judged(tmp_path).set_index("bar").loc["step / full fine-tuning, column 10 %, batch ≥ 64"]
    assert (row["verdict"], row["value"], row["at"]) == ("missed", 0.83, "vit-b16, batch 128, eager")
    assert (row["q25"], row["q75"]) == pytest.approx((0.8217, 0.8383))


def test_without_lora_its_bar_is_unmeasured(tmp_path):
    write(tmp_path, **{"step_time__nvidia-h200": made.step_time({"column_10": 0.7})})
    assert verdicts(tmp_path)["step / LoRA r16, column 10 %, batch ≥ 64"] == "unmeasured"


def test_redraws_and_kernels(tmp_path):
    shares = {("element_10", 10): 0.004, ("row_10", 10): 0.006, ("row_10", 1): 0.5, ("mixout", 1): 0.5}
    rates = {
        ("mix", "triton", "8 × 8"): 0.86,
        ("mix", "torch", "all"): 0.1,
        ("adamw", "triton", "element 10 %"): 0.69,
        ("adamw", "triton", "row 10 %"): 0.9,
    }
    tables = {"redraw__nvidia-h200": made.redraw(shares), "kernels__nvidia-h200": made.kernels(rates)}
    write(tmp_path, **tables)
    found = verdicts(tmp_path)
    assert found["redraw, share of all time at k = 10"] == "missed"
    assert found["bandwidth of mix / measured copy rate"] == "met"
    assert found["bandwidth of sparse AdamW / measured copy rate"] == "missed"


def test_a_gpu_and_a_cpu_stand_beside_each_other(tmp_path):
    table = made.step_time({"row_10": 0.7})
    write(tmp_path, step_time__cpu=table, **{"step_time__nvidia-a100": table.assign(device="NVIDIA A100")})
    assert set(bars.judged(tmp_path)["device"]) == {"a device", "NVIDIA A100"}


def test_the_table_is_markdown(tmp_path, capsys):
    write(tmp_path, step_time__cpu=made.step_time({"row_10": 0.7}))
    text = bars.main(["--results", str(tmp_path)]).read_text()
    row = (
        "| a device | step / full fine-tuning, row 10 % | ≤ 0.8 | 0.7 (0.693–0.707) | met | vit-b16, batch 64, eager |"
    )
    assert row in text.splitlines()
    assert len({line.count("|") for line in text.splitlines()}) == 1
    assert "1 met" in capsys.readouterr().out
