"""A study of stand-ins, run as `gmixout study run` runs one: `python -m benchmarks.faults.study FOLDER --cells 8`."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from benchmarks.faults.standin import FINISHED, JOB, RESULT, standin, undisturbed
from studies.engines.ray_cluster import on_ray
from studies.messages import OBJECTIVE
from studies.plan import Plan
from studies.pool import local
from studies.progress import display
from studies.runner import Runner
from studies.settings import CellSettings, Execution
from studies.storage import open_storage, storage_url
from studies.store import State, Store

FAULTS = ("diverged", "bad_data", "code_error", "out_of_memory", "crash", "stuck")


def study_cells(cells: int, steps: int, step_s: float, faults: Sequence[str] = ()) -> list[CellSettings]:
    """So many stand-ins, and one with each of the faults."""
    sound = [standin(number, steps, step_s) for number in range(cells)]
    return [*sound, *(standin(cells + number, steps, step_s, fault) for number, fault in enumerate(faults))]


def wrong(root: Path, cells: Sequence[CellSettings]) -> list[str]:
    """What is not as an undisturbed run would have left it, in words; empty where all is well.

    Args:
        root: The results folder.
        cells: Stand-ins that should be done.
    """
    store, found = Store(root), []
    times = Counter((root / FINISHED).read_text().split() if (root / FINISHED).exists() else ())
    for cell in cells:
        folder = store.cell(cell.identity)
        if not folder.is_done:
            found.append(f"{cell.label} is {folder.state()}")
            continue
        if (folder.path / RESULT).read_text().strip() != undisturbed(cell):
            found.append(f"{cell.label} has another end")
        if times[cell.identity] != 1:
            found.append(f"{cell.label} was finished {times[cell.identity]} times")
        if left := [
            path.name for path in folder.path.iterdir() if path.name.startswith((".writing-", "lease", "check"))
        ]:
            found.append(f"{cell.label} left {', '.join(left)}")
        if problem := folder.problem():
            found.append(problem)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; 0 where every cell is done, 130 where it was stopped, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--step-s", type=float, default=0.01)
    parser.add_argument("--checkpoint-every-s", type=float, default=0.05)
    parser.add_argument("--stale-after-s", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--storage")
    parser.add_argument("--heartbeat-s", type=float, default=1.0)
    parser.add_argument("--grace-s", type=float, default=3.0)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--address")
    parser.add_argument("--faults", nargs="*", default=[], choices=FAULTS)
    chosen = parser.parse_args(arguments)
    cells = study_cells(chosen.cells, chosen.steps, chosen.step_s, chosen.faults)
    store = Store(chosen.folder)
    store.open([cell.identity for cell in cells])
    states = {cell.identity: store.cell(cell.identity).state() for cell in cells}
    waiting = [identity for identity in states if store.cell(identity).may_run()]
    done = {identity: {OBJECTIVE: 1.0} for identity, state in states.items() if state is State.DONE}
    running = [identity for identity, state in states.items() if state is State.RUNNING]
    url = storage_url(chosen.storage)
    storage = open_storage(url, store.root, chosen.workers, chosen.heartbeat_s, chosen.grace_s)
    plan = Plan(store.root, "faults", cells, done, waiting, running, storage, store.shelf if url else "")
    execution = Execution(checkpoint_every_s=chosen.checkpoint_every_s)
    on_engine = on_ray(chosen.address, execution, store.root) if chosen.engine == "ray" else nullcontext(local(job=JOB))
    with on_engine as hire:
        runner = Runner(
            store,
            plan,
            cells,
            {cell.identity: cell.steps * chosen.step_s for cell in cells},
            execution,
            display(Console()),
            chosen.workers,
            chosen.stale_after_s,
            hire=hire,
            job=JOB,
        )
        outcome = runner.run(waiting)
    failures = {identity: failure.kind for identity, failure in outcome.failures.items()}
    facts = {"finished": len(outcome.finished), "failures": failures, "stopped": outcome.is_stopped}
    print(json.dumps(facts | {"elsewhere": len(outcome.elsewhere)}))
    if outcome.is_stopped:
        return 130
    return 0 if all(cell.identity in outcome.elsewhere or store.cell(cell.identity).is_done for cell in cells) else 1


if __name__ == "__main__":
    sys.exit(main())
