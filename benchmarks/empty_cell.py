"""A cell that trains nothing and leaves the records of one that did: what is left is what the runner itself takes."""

import os
import time
from pathlib import Path

from analysis.records import Records, cells_frame, curves_frame, examples_frame, metrics_frame, write
from studies.frames import cell_row
from studies.lease import Lease
from studies.messages import OBJECTIVE
from studies.meter import Listener
from studies.settings import CellSettings
from studies.settings.training import Schedule
from studies.store import TABLES, CellFolder

JOB = "benchmarks.empty_cell:run_cell"
TIMES = "times.txt"
ROWS = 100


def empty_cell(number: int, sleep_s: float = 0.0) -> CellSettings:
    """The settings of one of them.

    Args:
        number: Tells it from others.
        sleep_s: Seconds that it sleeps in place of training.
    """
    return CellSettings(
        benchmark="digits",
        manifest="00",
        backbone="digits-vit",
        pretrain_seed=0,
        method="full",
        seed=number,
        learning_rate=1e-3,
        options={"sleep_s": sleep_s},
        training=Schedule(steps=1, warmup_steps=0),
    )


def run_cell(
    cell: CellSettings, folder: CellFolder, lease: Lease, listener: Listener, *how: object
) -> dict[str, float]:
    """Sleeps, writes ``ROWS`` numbers as records, and notes when that was and what the process has spent so far."""
    began = time.time()
    folder.prepare(cell.canonical)
    time.sleep(cell.options["sleep_s"])
    about = {"cell": cell.identity, "weights": "reported", "split": "id_test", "value": 0.5, "examples": 100}
    numbers = metrics_frame([about | {"metric": f"made_{number}_score"} for number in range(ROWS)])
    tables = (cells_frame([cell_row(cell, "done")]), numbers, examples_frame(), curves_frame())
    lease.check()
    write(Records(*tables), folder.path)
    lease.check()
    folder.finish(TABLES)
    line = f"{os.getpid()} {began} {time.time()} {time.process_time()}\n"
    with open(times_file(folder.path.parent.parent), "a") as file:
        file.write(line)
    return {OBJECTIVE: 0.5}


def times_file(root: Path) -> Path:
    """Where cells of a results folder note their times: a line of process, begin, end and processor seconds each."""
    return root / TIMES
