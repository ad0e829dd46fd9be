"""What does the runner itself take: between cells, against bare Optuna, over ten thousand cells, with many workers?

overhead    one worker, cells that do nothing but write 100 numbers: what is left is claim, lease, records, marker.
            ``ratio`` is the time from one cell's end to the next one's, over 30 s.
throughput  eight workers on such cells: ``ratio`` is cells per second over bare Optuna's trials per second, eight
            processes that ask and tell on the same kind of journal.
status, records, figures
            a finished study of 10 000 cells, 100 numbers each; a process each, imports not counted; ``first`` is
            the first look at a folder, which leaves an index for the others. ``ratio`` is the time over the bar's.
makespan    cells that sleep 2 s, four a worker: ``ratio`` is the time from the first begin to the last end over the
            ideal's.

``wall_s`` is on the clock, ``cpu_s`` of processors, of which other work on the machine changes little; ``load`` is the
number of processes that wanted a core when it began: above the number of cores, read ``cpu_s``. Everything is of the
CPU; on a GPU there is nothing to measure.

    python benchmarks/runner.py [--quick] [--only CASE …] [--out DIR]
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import optuna
import pandas as pd
import torch
from rich.console import Console

from benchmarks import many_cells, record, stored
from benchmarks.empty_cell import JOB, empty_cell, times_file
from studies.machine import free_memory
from studies.plan import Plan
from studies.pool import local
from studies.progress import display
from studies.runner import Runner
from studies.settings import Execution
from studies.storage import open_storage
from studies.store import Store

QUESTION = "runner"
SECONDS = {"cpu": 300, "cuda": 1, "quick": 60}
CELL_S = 30.0
"""Length of a cell that overhead is told against."""
SLEEP_S = 2.0
WORKER_BYTES = 400 * 2**20
"""What a worker has for itself: it shares what it imported until it counts references to it."""
SIZES: dict[str, Mapping[str, Any]] = {
    "cpu": {
        "overhead": 60,
        "throughput": 240,
        "many": 10_000,
        "workers": (1, 2, 4, 8, 16, 32, 64),
        "a_worker": 4,
        "figures": (),
    },
    "quick": {
        "overhead": 4,
        "throughput": 16,
        "many": 100,
        "workers": (1, 2),
        "a_worker": 2,
        "figures": ("id_ood_plane",),
    },
}
LIMITS_S = {"status": 2.0, "records": 2.0, "figures": 60.0}
CASES = ("overhead", "throughput", "many", "makespan")
Row = dict[str, object]


def main(arguments: Sequence[str] | None = None) -> pathlib.Path:
    """Measures every case and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="nothing is measured on a GPU")
    parser.add_argument("--quick", action="store_true", help="few cells: does the script run?")
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--out", type=pathlib.Path, help="directory of the CSV")
    options = parser.parse_args(arguments)
    out = options.out or (stored.QUICK_RESULTS if options.quick else stored.RESULTS)
    if options.device == "cuda":
        record.say(QUESTION, "is about the CPU: run it with --device cpu")
        return out
    sizes = SIZES["quick" if options.quick else "cpu"]
    measures: dict[str, Callable[[Mapping[str, Any]], Iterator[Row]]] = {
        "overhead": overhead, "throughput": throughput, "many": many, "makespan": makespan,
    }  # fmt: skip
    rows = []
    for case in options.only:
        for row in measures[case](sizes):
            rows.append(row)
            record.say(QUESTION, ", ".join(f"{name} {_short(value)}" for name, value in row.items()))
    torch.set_num_threads(1)
    return record.write(QUESTION, rows, torch.device("cpu"), out)


def overhead(sizes: Mapping[str, Any]) -> Iterator[Row]:
    """Between the cells of one worker."""
    cells, load = sizes["overhead"], _load()
    times, spent = run_cells(cells, workers=1)
    between = np.diff(np.sort(times["end"]))
    cpu_s = (spent + _spent(times)) / (cells - 1)
    yield _row("overhead", 1, cells, load, float(np.median(between)), cpu_s, float(np.median(between)) / CELL_S)


def throughput(sizes: Mapping[str, Any]) -> Iterator[Row]:
    """Cells per second of eight workers, and trials per second of eight processes with Optuna alone."""
    cells, load = sizes["throughput"], _load()
    times, spent = run_cells(cells, workers=8)
    ours = (cells - 8) / (times["end"].max() - np.sort(times["end"])[7])
    bare, bare_cpu = bare_optuna(cells, 8)
    yield _row("bare Optuna", 8, cells, load, 1.0 / bare, bare_cpu / cells, 1.0)
    yield _row("throughput", 8, cells, load, 1.0 / ours, (spent + _spent(times)) / cells, ours / bare)


def many(sizes: Mapping[str, Any]) -> Iterator[Row]:
    """Looks at a finished study of many cells."""
    with tempfile.TemporaryDirectory() as folder:
        cells = many_cells.write_study(pathlib.Path(folder), sizes["many"])
        for case in ("records, first", "status", "records", "figures"):
            load, look = _load(), case.split(",")[0]
            code = [sys.executable, "-m", "benchmarks.many_cells", look, folder, *sizes["figures"]]
            environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).resolve().parents[1])}
            said = subprocess.run(code, check=True, capture_output=True, text=True, env=environment).stdout
            found = json.loads(said)
            if look != "figures" and found["count"] != cells:
                raise RuntimeError(f"{look} found {found['count']} of {cells} cells")
            ratio = found["wall_s"] / LIMITS_S[look]
            yield _row(case, 1, cells, load, found["wall_s"], found["cpu_s"], ratio, found["peak_mb"])


def makespan(sizes: Mapping[str, Any]) -> Iterator[Row]:
    """Sleeping cells on more and more workers, as many as there is memory for."""
    for workers in sizes["workers"]:
        if workers * WORKER_BYTES > free_memory():
            record.say(
                QUESTION, f"without {workers} workers: they need {workers * WORKER_BYTES / 2**30:.0f} GB of memory"
            )
            break
        cells, load = sizes["a_worker"] * workers, _load()
        times, spent = run_cells(cells, workers, SLEEP_S)
        took, ideal = times["end"].max() - times["begin"].min(), cells / workers * SLEEP_S
        yield _row("makespan", workers, cells, load, took, spent + _spent(times), took / ideal)


def run_cells(cells: int, workers: int, sleep_s: float = 0.0) -> tuple[pd.DataFrame, float]:
    """Runs empty cells as `gmixout study run` does.

    Returns:
        A row a cell: ``pid``, ``begin``, ``end``, ``cpu`` of its process so far; and processor seconds of this one.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = Store(pathlib.Path(folder))
        settings = [empty_cell(number, sleep_s) for number in range(cells)]
        names = [cell.identity for cell in settings]
        store.open(names)
        plan = Plan(store.root, "empty", settings, {}, names, storage=open_storage(None, store.root, workers))
        quiet = display(Console(file=StringIO()))
        work = dict.fromkeys(names, 1.0)
        runner = Runner(store, plan, settings, work, Execution(), quiet, workers, hire=local(job=JOB), job=JOB)
        spent = time.process_time()
        outcome = runner.run(names)
        spent = time.process_time() - spent
        if len(outcome.finished) != cells:
            raise RuntimeError(f"{len(outcome.finished)} of {cells} cells are done: {outcome.failures}")
        text = times_file(store.root).read_text()
    return pd.read_csv(StringIO(text), sep=" ", names=["pid", "begin", "end", "cpu"]), spent


def bare_optuna(trials: int, processes: int) -> tuple[float, float]:
    """Trials per second, and processor seconds in all, of processes that ask and tell on one journal."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        optuna.create_study(study_name="bare", storage=open_storage(None, pathlib.Path(folder), processes).optuna)
        start, results = context.Barrier(processes), context.SimpleQueue()
        about = (folder, trials // processes, start, results)
        started = [context.Process(target=ask_and_tell, args=about) for _ in range(processes)]
        for process in started:
            process.start()
        found = [results.get() for _ in started]
        for process in started:
            process.join()
    begins, ends, spent = zip(*found)
    return trials // processes * processes / (max(ends) - min(begins)), sum(spent)


def ask_and_tell(folder: str, trials: int, start, results) -> None:
    """One of the processes of `bare_optuna`."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(
        study_name="bare",
        storage=open_storage(None, pathlib.Path(folder), 8).optuna,
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    start.wait()
    began, spent = time.time(), time.process_time()
    for _ in range(trials):
        study.tell(study.ask({"x": optuna.distributions.FloatDistribution(0.0, 1.0)}), 0.5)
    results.put((began, time.time(), time.process_time() - spent))


def _row(
    case: str, workers: int, cells: int, load: float, wall_s: float, cpu_s: float, ratio: float, peak_mb: float = np.nan
) -> Row:
    return {
        "case": case, "workers": workers, "cells": cells, "cores": os.cpu_count(), "load": load,
        "wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": peak_mb, "ratio": ratio,
    }  # fmt: skip


def _spent(times: pd.DataFrame) -> float:
    """Processor seconds of the workers after their first cell, which still imports."""
    by_process = times.groupby("pid")["cpu"]
    return float((by_process.max() - by_process.min()).sum())


def _load() -> float:
    with contextlib.suppress(OSError):
        return os.getloadavg()[0]
    return float("nan")


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
