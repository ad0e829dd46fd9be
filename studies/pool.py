"""Worker processes, each behind a pipe of its own: whatever befalls one of them leaves the others alone."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from studies.engines.hands import STOP_PATIENCE_S, Hire
from studies.failures import CODE_ERROR, PREEMPTED
from studies.forking import worker_context
from studies.messages import JOB, STOP, Task, Verdict
from studies.worker import work

OWN_FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT)
"""Signals that a process brings upon itself."""


class Died(Exception):
    """The worker's process has ended without saying so.

    Args:
        how: In words.
        kind: The kind of failure that this is.
        is_orderly: Whether it left on request.
        is_far: Whether it may have run on another machine.
    """

    def __init__(self, how: str = "", kind: str = PREEMPTED, is_orderly: bool = False, is_far: bool = False) -> None:
        super().__init__(how)
        self.kind, self.is_orderly, self.is_far = kind, is_orderly, is_far


@dataclass
class Slot:
    """A place for one worker, refilled with a new process when the old one dies.

    Attributes:
        number: Which place.
        process: The worker.
        connection: Our end of its pipe.
        log: Where its output goes.
    """

    number: int
    process: BaseProcess
    connection: Connection
    log: Path


def preload(job: str = JOB) -> tuple[str, ...]:
    """The modules that workers find imported.

    Args:
        job: What runs a cell, as ``module:function``.
    """
    return ("studies.worker", "studies.warm" if job == JOB else job.partition(":")[0])


class Pool:
    """So many worker processes; `studies.engines.hands.Hands`.

    Args:
        workers: How many, at least 1.
        logs: Folder of their logs.
        gpus: What each may use, as the driver counts or names GPUs; empty: whatever there is.
        threads: Cores of each.
        job: What runs a cell, as ``module:function``.
    """

    has_queue = False
    patience_s = STOP_PATIENCE_S

    def __init__(self, workers: int, logs: Path, gpus: Sequence[str] = (), threads: int = 1, job: str = JOB) -> None:
        self._logs, self._gpus, self._threads, self._job = logs, gpus, threads, job
        # A pipe each, not a shared queue: a process killed while it holds a queue's lock blocks all the others.
        self.slots = [self._start(number) for number in range(workers)]

    def send(self, slot: Slot, message: Task | Verdict) -> None:
        """Gives a worker a task, or the verdict that it waits for.

        Raises:
            Died: If the process is gone.
        """
        try:
            slot.connection.send(message)
        except (BrokenPipeError, OSError) as error:
            raise Died from error

    def receive(self, timeout_s: float) -> Iterator[tuple[Slot, object]]:
        """Messages that have come, after waiting for the first; a dead worker's last message is ``Died``."""
        waiting: dict[object, Slot] = {slot.connection: slot for slot in self.slots if not slot.connection.closed}
        for ready in connection.wait(list(waiting), timeout_s):  # type: ignore[arg-type]
            slot = waiting[ready]
            try:
                yield slot, slot.connection.recv()
            except (EOFError, OSError):
                slot.process.join()
                yield slot, _death(slot.process.exitcode)

    def replace(self, slot: Slot) -> None:
        """Starts a new process where one has died."""
        slot.connection.close()
        fresh = self._start(slot.number)
        slot.process, slot.connection = fresh.process, fresh.connection

    def retire(self, slot: Slot) -> None:
        """Leaves the place of a dead worker empty."""
        slot.connection.close()

    def stop(self) -> None:
        """Asks every worker to save its cell and stop."""
        for slot in self.slots:
            try:
                slot.connection.send(STOP)
            except (BrokenPipeError, OSError):
                continue

    def close(self, patience_s: float) -> None:
        """Ends the workers: an idle one at once, a busy one by force once ``patience_s`` are over for all of them."""
        until = time.monotonic() + patience_s
        for slot in self.slots:
            slot.connection.close()
        for slot in self.slots:
            slot.process.join(max(0.0, until - time.monotonic()))
            if slot.process.is_alive():
                slot.process.kill()
                slot.process.join()

    def _start(self, number: int) -> Slot:
        context = worker_context(preload(self._job), self._threads)
        ours, theirs = context.Pipe()
        log = self._logs / f"worker-{number}.log"
        gpu = self._gpus[number] if self._gpus else None
        about = (theirs, log, gpu, self._threads, dict(os.environ))
        process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=work, args=about, name=f"worker-{number}", daemon=True
        )
        process.start()
        theirs.close()
        return Slot(number, process, ours, log)


def local(gpus: Sequence[str] = (), threads: int = 1, job: str = JOB) -> Hire:
    """Worker processes of this machine.

    Args:
        gpus: What each may use, as the driver counts or names GPUs; empty: whatever there is.
        threads: Cores of each.
        job: What runs a cell, as ``module:function``.
    """
    return lambda workers, logs: Pool(workers, logs, gpus, threads, job)


def _death(exit_code: int | None) -> Died:
    if exit_code is not None and exit_code < 0:
        number = signal.Signals(-exit_code)
        hint = "; the system may have run out of memory" if number == signal.SIGKILL else ""
        return Died(f"its process was ended by {number.name}{hint}", CODE_ERROR if number in OWN_FAULTS else PREEMPTED)
    if exit_code == 0:
        return Died("its process ended on request", is_orderly=True)
    # Above 128, a signal ended it, as shells tell it.
    kind = PREEMPTED if exit_code is not None and exit_code > 128 else CODE_ERROR
    return Died(f"its process ended with exit code {exit_code}", kind)
