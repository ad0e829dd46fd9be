"""`gmixout study plan` and `status`: what a study consists of, how far it is, how long the rest takes."""

import io
import json
import shutil
import time
from collections import Counter, defaultdict
from dataclasses import asdict
from importlib.util import find_spec

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from studies.benchmarks import load
from studies.commands.failed import failures, print_failures
from studies.commands.levels import by_level, levels_table
from studies.commands.searches import oracle_warning, search_words
from studies.lease import STALE_AFTER_S, holder, silence_s
from studies.machine import spoken_bytes
from studies.makespan import by_workers, makespan
from studies.opened import Opened
from studies.processes import described
from studies.progress import spoken
from studies.settings import CellSettings
from studies.store import State


def plan(opened: Opened, workers: int, console: Console, is_json: bool, has_forecast: bool) -> None:
    """Prints cells per method, what is done, and how long the rest takes on this machine."""
    states = opened.states()
    left = [cell for cell in opened.cells if opened.folder(cell).may_run()]
    # A search's cells are not known beforehand; one from the middle of the space stands for each.
    search = opened.study.search
    tried = len(opened.cells) - len(opened.planned)
    coming = [opened.search_sample] * max(0, search.trials - tried) if search is not None else []
    found = None
    if has_forecast and (left or coming) and find_spec("torch") is not None:
        from studies.forecast import forecast
        from studies.readiness import wrong_device
        from studies.sizes import sizes_of

        study = opened.study
        device = "cpu" if wrong_device(study.execution) else study.execution.device
        found = forecast([*left, *coming], workers, sizes_of(load(study.benchmark)), device, study.execution.engine())
        durations = [found.seconds[cell.identity] for cell in (*left, *coming)]
        stored = sum(found.disk_bytes[cell.identity] for cell in (*left, *coming))
    facts = {
        "study": opened.study.name,
        "results": str(opened.store.root),
        "cells": len(opened.cells),
        "done": sum(state is State.DONE for state in states.values()),
        "to_run": len(left),
        "workers": workers,
        "search": None if search is None else {"trials": search.trials, "cells_so_far": tried},
        "forecast_s": None if found is None else round(makespan(durations, workers), 1),
        "forecast_bytes": None if found is None else stored,
        "forecast_by_workers_s": None
        if found is None
        else {str(n): round(s, 1) for n, s in by_workers(durations).items()},
        "methods": _by_method(opened, states, found.seconds if found else {}),
    }
    if is_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    table = Table(title=f"study {opened.study.name}: {len(opened.cells)} cells in {opened.store.root}")
    for name in ("method", "cells", "done", "left", "time on one core"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in facts["methods"]:  # type: ignore[attr-defined]
        duration = "" if row["forecast_s"] is None else spoken(row["forecast_s"])
        table.add_row(row["method"], str(row["cells"]), str(row["done"]), str(row["left"]), duration)
    console.print(table)
    for line in (*opened.study.skipped(), *search_words(opened.study), *oracle_warning(opened.study)):
        console.print(line, highlight=False, soft_wrap=True)
    if found is not None:
        free = shutil.disk_usage(next(path for path in opened.store.root.absolute().parents if path.exists())).free
        console.print(
            f"forecast: {spoken(makespan(durations, workers))} on {workers} workers ({found.device}), pretraining not "
            f"counted; {spoken_bytes(stored)} on disk, {spoken_bytes(free)} are free",
            highlight=False,
            soft_wrap=True,
        )
        times = ", ".join(f"{number}: {spoken(duration)}" for number, duration in by_workers(durations).items())
        console.print(f"by number of workers, a core each: {times}", highlight=False, soft_wrap=True)
    elif has_forecast and (left or coming):
        console.print("no forecast: it needs torch, to time a few steps", highlight=False)
    console.print(f"run it: gmixout study run {opened.arguments}", highlight=False)


def status(opened: Opened, console: Console, is_json: bool) -> None:
    """Prints how many cells are done, running, failed (by kind), started and missing."""
    cells = opened.stored_cells
    states = opened.states(cells)
    counts = Counter(states.values())
    search = opened.study.search
    failed = failures(opened, cells, states)
    running = [cell for cell in cells if states[cell.identity] is State.RUNNING]
    if is_json:
        facts = {
            "study": opened.study.name,
            "results": str(opened.store.root),
            "cells": len(cells),
            **{state.value: counts[state] for state in State},
            "failures": Counter(failure.kind for failure in failed.values()),
            "failed_cells": {identity: asdict(failure) for identity, failure in failed.items()},
            "search": None if search is None else {"trials": search.trials, "oracle": search.oracle},
            "levers": {
                name: {
                    level: {state.value: number for state, number in found.items()} for level, found in levels.items()
                }
                for name, levels in by_level(cells, states).items()
            },
            "running_cells": [cell.identity for cell in running],
        }
        typer.echo(json.dumps(facts, indent=1))
        return
    console.print(f"study {opened.study.name} in {opened.store.root}", highlight=False, soft_wrap=True)
    for line in (*search_words(opened.study), *oracle_warning(opened.study)):
        console.print(line, highlight=False, soft_wrap=True)
    for state in State:
        console.print(f"  {state.value:<8} {counts[state]:>5}", highlight=False)
    print_failures(failed, cells, opened.arguments, console)
    for cell in running:
        path = opened.folder(cell).path
        silent_s = silence_s(path)
        heard = f", last heard of {spoken(silent_s)} ago" if silent_s > STALE_AFTER_S else ""
        line = f"  running {cell.identity} {cell.label}: {described(holder(path))}{heard}"
        console.print(line, highlight=False, soft_wrap=True)

    found = by_level(cells, states)
    if found:
        console.print(levels_table(found))


def watch(opened: Opened, console: Console, every_s: float) -> None:
    """Shows the status again and again until every cell is over, or Ctrl-C."""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            # Printed to a string first, so that what a pass shows is of one moment.
            page = Console(file=io.StringIO(), width=console.width, force_terminal=console.is_terminal)
            status(opened, page, is_json=False)
            live.update(Text.from_ansi(page.file.getvalue()), refresh=True)  # type: ignore[attr-defined]
            states = opened.states(opened.stored_cells).values()
            if all(state in (State.DONE, State.FAILED, State.PRUNED) for state in states):
                return
            time.sleep(every_s)


def _by_method(opened: Opened, states: dict[str, State], seconds: dict[str, float] | object) -> list[dict[str, object]]:
    durations = seconds if isinstance(seconds, dict) else {}
    groups: dict[str, list[CellSettings]] = defaultdict(list)
    for cell in opened.cells:
        groups[f"{cell.listed_as} (for pools)" if cell.is_ingredient else cell.listed_as].append(cell)
    return [
        {
            "method": method,
            "cells": len(cells),
            "done": sum(states[cell.identity] is State.DONE for cell in cells),
            "left": sum(opened.folder(cell).may_run() for cell in cells),
            "forecast_s": sum(durations.get(cell.identity, 0.0) for cell in cells) if durations else None,
        }
        for method, cells in groups.items()
    ]
