"""Tables as the scripts write them, with numbers made by hand."""

import pandas as pd

from benchmarks import stored

LABELS = {
    "full": "full fine-tuning",
    "floor": "no weight gradients (floor)",
    "lora_16": "LoRA r16 (peft)",
    "mixout": "Mixout p .9, ours",
    "element_10": "element 10 %",
    "row_10": "row 10 %",
    "column_10": "column 10 %",
    "column16_10": "16 columns 10 %",
}
_ALWAYS = {"device": "a device", "torch": "2.15.0+cu132", "triton": "3.9.0", "date": "2026-11-24"}


def table(question, rows):
    """A table with a question's columns; what a row leaves out is empty, and quartiles are 1 % off."""
    filled = []
    for row in rows:
        row = dict.fromkeys(stored.COLUMNS[question]) | _ALWAYS | row
        for name in ("ratio", "to_floor", "to_lora", "share", "peak_share"):
            if row.get(name) is not None:
                row |= {f"{name}_q25": 0.99 * row[name], f"{name}_q75": 1.01 * row[name]}
        filled.append(row)
    return pd.DataFrame(filled, columns=list(stored.COLUMNS[question]))


def step_time(ratios, backbone="vit-b16", batch=64, mode="eager"):
    case = {"backbone": backbone, "batch": batch, "mode": mode, "step_ms": 10.0, "rounds": 5}
    rows = [
        {**case, "rival": rival, "label": LABELS[rival], "ratio": ratio, "to_floor": ratio / 0.75}
        for rival, ratio in ratios.items()
    ]
    return table("step_time", rows)


def memory(ratios, backbone="vit-b16", batch=128):
    case = {"backbone": backbone, "batch": batch, "model_mb": 10.0}
    rows = []
    for rival, numbers in ratios.items():
        sizes = {f"{word}_ratio": number for word, number in zip(("state", "saved", "peak"), numbers, strict=True)}
        sizes |= {f"{word}_mb": 40.0 * number for word, number in zip(("state", "saved", "peak"), numbers, strict=True)}
        rows.append({**case, "rival": rival, "label": LABELS[rival], **sizes})
    return table("memory", rows)


def redraw(shares):
    case = {"backbone": "vit-b16", "batch": 64, "redraw_ms": 1.0, "step_ms": 10.0, "host_syncs": 0}
    return table("redraw", [{**case, "rival": rival, "k": k, "share": share} for (rival, k), share in shares.items()])


def kernels(shares):
    case = {"bound": "memory", "bytes": 1e6, "flops": 0.0, "time_ms": 1.0, "floor_ms": 0.8, "gb_per_s": 1.0}
    rows = [
        {**case, "kernel": kernel, "implementation": implementation, "work": work, "peak_share": share}
        for (kernel, implementation, work), share in shares.items()
    ]
    return table("kernels", rows)


def scaling(values):
    place = {"width": 64, "depth": 2, "batch": 4, "density": 0.1, "step_ms": 10.0, "rounds": 5}
    rows = [
        {**place, "axis": axis, "value": value, "rival": rival, "label": LABELS.get(rival, rival), "ratio": ratio}
        for axis, numbers in values.items()
        for value, ratios in numbers.items()
        for rival, ratio in ratios.items()
    ]
    return table("scaling", rows)
