"""What was measured: every question's columns, where its CSVs lie, and how to read them. Needs no torch."""

import pathlib

import pandas as pd

HERE = pathlib.Path(__file__).resolve().parent
RESULTS, FIGURES = HERE / "results", HERE / "figures"
# Short runs never touch the measured results.
QUICK_RESULTS = HERE.parent / "build" / "benchmarks"

_CASE = ("backbone", "batch")
_RATIO = ("ratio", "ratio_q25", "ratio_q75")
_TO_FLOOR = ("to_floor", "to_floor_q25", "to_floor_q75")
_TO_LORA = ("to_lora", "to_lora_q25", "to_lora_q75")
_PROVENANCE = ("device", "torch", "triton", "date")
COLUMNS: dict[str, tuple[str, ...]] = {
    "step_time": (
        *_CASE, "mode", "rival", "label", *_RATIO, *_TO_FLOOR, *_TO_LORA, "step_ms", "rounds", "clocks", *_PROVENANCE
    ),
    "memory": (
        *_CASE, "rival", "label", "state_mb", "saved_mb", "peak_mb", "model_mb",
        "state_ratio", "saved_ratio", "peak_ratio", *_PROVENANCE,
    ),
    "redraw": (
        *_CASE, "rival", "k", "share", "share_q25", "share_q75", "redraw_ms", "step_ms", "host_syncs", *_PROVENANCE
    ),
    "kernels": (
        "kernel", "implementation", "work", "bound", "bytes", "flops", "time_ms", "floor_ms",
        "gb_per_s", "tflop_per_s", "peak_share", "peak_share_q25", "peak_share_q75", "error", *_PROVENANCE,
    ),
    "scaling": (
        "axis", "value", "width", "depth", "batch", "density", "rival", "label", *_RATIO, "step_ms", "rounds",
        *_PROVENANCE,
    ),
    "input_pipeline": (
        *_CASE, "rival", "readers", "cores", "feed_images_per_s", "step_images_per_s", "fed_images_per_s", "cost",
        "rounds", "is_default", *_PROVENANCE,
    ),
    "diversity": (
        "case", "members", "examples", "width", "measures", "threads", "wall_s", "cpu_s", "peak_mb", "arrays_mb",
        "device", "cores", "numpy", "date",
    ),
    "runner": ("case", "workers", "cells", "cores", "load", "wall_s", "cpu_s", "peak_mb", "ratio", *_PROVENANCE),
}  # fmt: skip


def read(question: str, folder: pathlib.Path) -> dict[str, pd.DataFrame]:
    """A question's tables by the device's name for files; empty if nothing was measured.

    Args:
        question: A key of `COLUMNS`.
        folder: Where the CSVs lie.

    Raises:
        ValueError: If a file has other columns than this version writes.
    """
    tables = {}
    for path in sorted(folder.glob(f"{question}-*.csv")):
        table = pd.read_csv(path)
        if tuple(table.columns) != COLUMNS[question]:
            other = ", ".join(sorted(set(table.columns) ^ set(COLUMNS[question]))) or "their order"
            raise ValueError(f"{path} has other columns than this version writes ({other}); measure again")
        tables[path.stem.removeprefix(f"{question}-")] = table
    return tables


def is_cpu(slug: str) -> bool:
    """Whether a device's name for files is a CPU's.

    Example:
        >>> is_cpu("cpu"), is_cpu("nvidia-h200")
        (True, False)
    """
    return slug == "cpu"
