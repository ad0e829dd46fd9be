"""One cell as a task of a Ray cluster: what runs on the node."""

import os
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

from studies.failures import PREEMPTED, Failure
from studies.logs import divert
from studies.messages import Begun, Failed, Finished, Moving, Released, Task, Validated
from studies.worker import attempt

WORD_EVERY_S = 1.0
"""How often a running cell tells how far it is and asks whether to stop, in seconds."""


@dataclass(frozen=True)
class Errand:
    """What a task is told besides its cell. No secret is in it: Ray shows and keeps what tasks are given.

    Attributes:
        attempt: Which try at the cell this is.
        log: Where its output goes.
        beacon: A file of the results folder that every node must see.
        threads: Cores that it has.
        environment: Variables of the run that workers need.
    """

    attempt: str
    log: Path
    beacon: Path
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)


class FarLine:
    """A task's way to the run: a thread that leaves word once a second, so that no step waits for the network.

    Args:
        post: The actor; see `studies.engines.ray_post`.
        errand: The task's.
        is_judged: Whether the run decides after every look at ID validation if the cell goes on.
    """

    def __init__(self, post: Any, errand: Errand, is_judged: bool) -> None:
        self._post, self._attempt, self._is_judged = post, errand.attempt, is_judged
        self._moving: Moving | None = None
        self._is_over = threading.Event()
        self.is_stopping = False
        self._leave_word(Begun())
        self._thread = threading.Thread(target=self._run, name="word", daemon=True)
        self._thread.start()

    def should_stop(self) -> bool:
        """Whether the run asked to stop, or is gone."""
        return self.is_stopping

    def move(self, moving: Moving) -> None:
        """Is told with the next word."""
        self._moving = moving

    def judge(self, step: int, score: float) -> bool:
        """Whether the run ends the cell here; a run that is gone ends nothing."""
        if not self._is_judged:
            return False
        try:
            return bool(ray.get(self._post.judge.remote(self._attempt, Validated(step, score))))
        except ray.exceptions.RayError:
            self.is_stopping = True
            return False

    def close(self) -> None:
        """No word from now on."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(WORD_EVERY_S):
            moving, self._moving = self._moving, None
            self._leave_word(moving)

    def _leave_word(self, message: object) -> None:
        try:
            self.is_stopping = bool(ray.get(self._post.tell.remote(self._attempt, message))) or self.is_stopping
        except ray.exceptions.RayError:
            self.is_stopping = True


def run_task(task: Task, post: Any, errand: Errand) -> Finished | Failed | Released:
    """Runs one cell as a worker of this machine would."""
    if not errand.beacon.exists():
        # A node that came later, and lacks the folder: others may have it.
        where = f"{errand.beacon.parent} is not the run's results folder on {socket.gethostname()}"
        return Failed(Failure(PREEMPTED, f"{where}: mount it there, or give a folder that all nodes share"))
    divert(errand.log)
    os.environ.update(errand.environment)
    _use_threads(errand.threads)
    line = FarLine(post, errand, task.is_judged)
    try:
        return Released(is_held_elsewhere=False) if line.is_stopping else attempt(task, line, errand.log)
    finally:
        line.close()


def look(beacon: Path, answer: Path) -> str:
    """Writes beside the run's file what is read in it, for the run to see; returns the package's version here."""
    # Where it cannot, the run sees that nothing came.
    with suppress(OSError):
        answer.write_text(beacon.read_text())
    return version()


def version() -> str:
    """The package's version here."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("gmixout")
    except PackageNotFoundError:
        return "unknown"


def _use_threads(threads: int) -> None:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)
    if "torch" in sys.modules:
        # A process that has run a cell before.
        sys.modules["torch"].set_num_threads(threads)
