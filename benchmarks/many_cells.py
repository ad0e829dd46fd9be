"""A finished study of any number of cells, written without training; and looking at it, in a process of its own.

python -m benchmarks.many_cells status|records|figures FOLDER [FIGURE ...]

prints seconds on the clock, seconds of the processor, and the process's largest memory, imports not counted in time.
"""

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml
from rich.console import Console

from analysis.records import Records, cells_frame, curves_frame, examples_frame, metrics_frame, read, write
from studies.frames import cell_row
from studies.settings import CellSettings, load_study
from studies.store import DONE, SETTINGS, TABLES

STUDY = "many.yaml"
RESULTS = "results"
_DOMAINS = ("clipart", "infograph", "painting", "quickdraw", "real")
_KINDS = (
    "brightness", "contrast", "defocus_blur", "elastic", "fog", "frost", "gaussian_noise", "glass_blur",
    "impulse_noise", "jpeg", "motion_blur", "pixelate", "shot_noise", "snow", "zoom_blur",
)  # fmt: skip
_SHIFTS = ("id_test", *(f"ood/{domain}" for domain in _DOMAINS))
_CORRUPTIONS = tuple(f"corruption/{kind}/{severity}" for kind in _KINDS for severity in range(1, 6))
ROWS = (
    *(("reported", split, "accuracy_score") for split in ("id_val", *_SHIFTS, *_CORRUPTIONS)),
    *(("reported", split, "calibration_error") for split in _SHIFTS),
    *(("members", split, metric) for metric in ("label_disagreement_score", "ensemble_gain_score")
      for split in _SHIFTS),
)  # fmt: skip
"""The numbers of a cell, a hundred: weights, split and metric of each."""


def study_of(cells: int) -> dict[str, Any]:
    """The file of a study of three levers and three reference points, in as many seeds as make so many cells.

    The last block is cut: at least so many cells, and fewer than a hundred more.
    """
    sweep = {"anchor": ["ema", "latest"], "resample_every": [5, 30, 150, 450], "sparsity": [0.5, 0.8, 0.9, 0.95]}
    rates = [3e-4, 1e-3, 3e-3]
    a_seed = 32 * len(rates) + 2 * len(rates) + 1
    return {
        "name": "many",
        "benchmark": "digits",
        "backbones": ["digits-vit"],
        "pretrain_seeds": [0],
        "seeds": list(range(-(-cells // a_seed))),
        "training": {"steps": 900, "batch_size": 16, "warmup_steps": 45, "learning_rates": rates},
        "methods": [
            {"name": "linear_probe", "learning_rates": [1e-3]},
            {"name": "full"},
            {"name": "mixout", "levers": {"sparsity": 0.8}},
            {"name": "gmixout", "levers": {"ema_decay": 0.8}, "sweep": sweep},
        ],
    }


def write_study(folder: Path, cells: int) -> int:
    """Writes the study's file and a results folder in which all of it is done; returns the number of cells."""
    (folder / STUDY).write_text(yaml.safe_dump(study_of(cells)))
    planned = load_study(str(folder / STUDY)).cells("00")
    with tempfile.TemporaryDirectory() as whole:
        write(_records(planned), whole)
        tables = {name: pq.read_table(Path(whole) / name) for name in TABLES}
    position = {identity: place for place, identity in enumerate(tables[TABLES[0]]["cell"].to_pylist())}
    for cell in planned:
        _write_cell(folder / RESULTS / "cells" / cell.identity, cell, position[cell.identity], tables)
    return len(planned)


def _write_cell(path: Path, cell: CellSettings, position: int, tables: dict[str, Any]) -> None:
    path.mkdir(parents=True)
    (path / SETTINGS).write_text(cell.canonical + "\n")
    for name, table in tables.items():
        rows = len(table) // len(tables[TABLES[0]])
        pq.write_table(table.slice(position * rows, rows), path / name, compression="zstd")
    hashes = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in (SETTINGS, *TABLES)}
    (path / DONE).write_text(json.dumps({"files": hashes}, indent=1, sort_keys=True) + "\n")


def _records(cells: tuple[CellSettings, ...]) -> Records:
    rng = np.random.default_rng(0)
    names = [cell.identity for cell in cells]
    facts = {"trained_per_episode": 1000, "touched_over_run": 5000, "total_parameters": 20_000, "subnetworks": 30}
    facts |= {"wall_time_s": 30.0, "train_time_s": 20.0, "training_flops": 1e12, "training_steps": 900}
    rows = [cell_row(cell, "done", member_kind="visited", **facts) for cell in cells]
    weights, splits, metrics = zip(*ROWS)
    # A cell's numbers go together, as those of a run do.
    level = rng.normal(0.6, 0.05, (len(cells), 1))
    values = np.clip(level + rng.normal(0.0, 0.02, (len(cells), len(ROWS))), 0.0, 1.0)
    frame = pd.DataFrame(
        {
            "cell": pd.Series(np.repeat(names, len(ROWS)), dtype="string"),
            "weights": pd.Series(np.tile(weights, len(cells)), dtype="string"),
            "alpha": np.nan,
            "member": -1,
            "split": pd.Series(np.tile(splits, len(cells)), dtype="string"),
            "metric": pd.Series(np.tile(metrics, len(cells)), dtype="string"),
            "value": values.ravel(),
            "examples": 240,
        }
    )
    return Records(cells_frame(rows), metrics_frame(frame), examples_frame(), curves_frame())


def status(folder: Path, *names: str) -> int:
    """Looks at a study's status, as `gmixout study status` does; returns the number of cells done."""
    from studies.commands.state import status as show
    from studies.opened import open_study

    out = StringIO()
    show(open_study(str(folder / STUDY), folder / RESULTS), Console(file=out), is_json=False)
    return next(int(line.split()[1]) for line in out.getvalue().splitlines() if line.strip().startswith("done"))


def records(folder: Path, *names: str) -> int:
    """Reads a results folder's records; returns the number of cells."""
    return len(read(folder / RESULTS).cells)


def figures(folder: Path, *names: str) -> int:
    """Draws every figure from a results folder, or those named; returns how many there are."""
    from analysis.figures.render import draw_all

    with tempfile.TemporaryDirectory() as out:
        return sum(bool(one.files) for one in draw_all(read(folder / RESULTS), out, names or None))


LOOKS: dict[str, Callable[..., int]] = {"status": status, "records": records, "figures": figures}


def main(arguments: list[str]) -> None:
    """Looks once and prints what it took, as JSON."""
    import studies.commands.state  # noqa: F401

    look, folder, *names = arguments
    began, spent = time.perf_counter(), time.process_time()
    count = LOOKS[look](Path(folder), *names)
    took = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - spent}
    print(json.dumps(took | {"count": count, "peak_mb": _peak_mb()}))


def _peak_mb() -> float:
    # Of this program: the system's other count begins with that of the process that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
