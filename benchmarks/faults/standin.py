"""A stand-in for a training cell: a chain of hashes with checkpoints, so that a lost or doubled step shows in its end.

It needs no torch, hence a worker starts in a fraction of a second and a thousand kills take minutes.
"""

import ctypes
import hashlib
import json
import time

from studies.atomic import write_text
from studies.failures import BadData, Diverged, Stopped
from studies.lease import Lease
from studies.messages import OBJECTIVE, Moving
from studies.meter import Listener
from studies.settings import CellSettings
from studies.settings.training import Schedule
from studies.store import CHECKPOINT, CellFolder

RESULT = "result.txt"
FINISHED = "finished.log"
JOB = "benchmarks.faults.standin:run_cell"


def standin(number: int, steps: int = 20, step_s: float = 0.01, fault: str = "") -> CellSettings:
    """The settings of a stand-in.

    Args:
        number: Tells it from others.
        steps: Links of its chain.
        step_s: Seconds it sleeps for each.
        fault: ``diverged``, ``bad_data``, ``code_error``, ``out_of_memory``, ``crash`` or ``stuck``; half-way through.

    Example:
        >>> standin(3).label
        'full lr=0.001 seed=3'
    """
    return CellSettings(
        benchmark="digits",
        manifest="00",
        backbone="digits-vit",
        pretrain_seed=0,
        method="full",
        seed=number,
        learning_rate=1e-3,
        options={"step_s": step_s, "fault": fault},
        training=Schedule(steps=steps, warmup_steps=0),
    )


def undisturbed(cell: CellSettings) -> str:
    """What a stand-in comes to."""
    digest = cell.identity
    for step in range(cell.steps):
        digest = _link(digest, step)
    return digest


def run_cell(
    cell: CellSettings,
    folder: CellFolder,
    lease: Lease,
    listener: Listener,
    checkpoint_every_s: float = 10.0,
    *how: object,
) -> dict[str, float]:
    """Runs a stand-in, or the rest of it; takes what `studies.cell.run_cell` takes, and heeds no more than it names."""
    folder.prepare(cell.canonical)
    path = folder.path / CHECKPOINT
    state = json.loads(path.read_text()) if path.exists() else {"step": 0, "digest": cell.identity}
    saved_at = time.monotonic()
    while state["step"] < cell.steps:
        time.sleep(cell.options["step_s"])
        state = {"step": state["step"] + 1, "digest": _link(state["digest"], state["step"])}
        listener.move(Moving("training", state["step"], cell.steps, state["step"] / cell.steps))
        stops = listener.should_stop()
        if stops or time.monotonic() - saved_at >= checkpoint_every_s:
            write_text(path, json.dumps(state))
            saved_at = time.monotonic()
        if stops:
            raise Stopped(f"stopped after step {state['step']} of {cell.steps}")
        if state["step"] >= cell.steps // 2:
            _suffer(cell.options["fault"])
    lease.check()
    write_text(folder.path / RESULT, state["digest"] + "\n")
    lease.check()
    with open(folder.path.parent.parent / FINISHED, "a") as file:
        file.write(f"{cell.identity}\n")
    folder.finish([RESULT])
    return {OBJECTIVE: state["step"] / cell.steps}


def _link(digest: str, step: int) -> str:
    return hashlib.sha256(f"{digest} {step}".encode()).hexdigest()


def _suffer(fault: str) -> None:
    if fault == "diverged":
        raise Diverged("the loss is nan")
    if fault == "bad_data":
        raise BadData("a picture is torn")
    if fault == "code_error":
        print("what the code printed before it failed")
        raise ZeroDivisionError("division by zero")
    if fault == "out_of_memory":
        raise MemoryError("no room for another tensor")
    if fault == "crash":
        ctypes.string_at(0)
    if fault == "stuck":
        time.sleep(3600)
