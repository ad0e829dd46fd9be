"""A worker process: it takes cells from the parent over a pipe, runs them one after another, and reports."""

import multiprocessing
import os
import pkgutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from studies.engine import Engine
from studies.failures import OUT_OF_MEMORY, Failure, Stopped, is_disk_full, sort_failure
from studies.forking import one_thread_a_core
from studies.lease import Lease, Leased, LostLease
from studies.logs import begin, divert, note, tail
from studies.messages import STOP, Failed, Finished, Moving, Released, Task, Validated, Verdict
from studies.meter import Listener
from studies.settings import CellSettings
from studies.store import CellFolder

REPORT_EVERY_S = 0.2
PATIENCE_S = 6.0
"""How long a worker that was asked to end may take to save its cell, in seconds."""


class Line:
    """The worker's end of the pipe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reported_at = -float("inf")
        self._phase = ""
        self.is_stopping = False
        self.is_waiting = False
        self._is_judged = False

    def should_stop(self) -> bool:
        """Whether the parent asked to stop, or is gone."""
        try:
            while not self.is_stopping and self._connection.poll():
                self.is_stopping = self._connection.recv() == STOP
        except (EOFError, OSError):
            self.is_stopping = True
        return self.is_stopping

    def move(self, moving: Moving) -> None:
        """Reports progress, but not more often than anyone can read."""
        now = time.monotonic()
        if moving.phase != self._phase or now - self._reported_at >= REPORT_EVERY_S:
            self._reported_at, self._phase = now, moving.phase
            self.send(moving)

    def judge(self, step: int, score: float) -> bool:
        """Whether the parent ends the cell here; a parent that is gone ends nothing."""
        if not self._is_judged:
            return False
        self.send(Validated(step, score))
        try:
            # Waited for even while stopping, so that a search that goes on later has lost no verdict.
            while not isinstance(message := self._connection.recv(), Verdict):
                self.is_stopping = self.is_stopping or message == STOP
        except (EOFError, OSError):
            self.is_stopping = True
            return False
        return message.is_pruned

    def send(self, message: object) -> None:
        """Sends a message; a parent that is gone is not told."""
        try:
            self._connection.send(message)
        except (BrokenPipeError, OSError):
            self.is_stopping = True

    def receive(self) -> Task | None:
        """Waits for the next task; None to end."""
        if self.is_stopping:
            return None
        self.is_waiting = True
        try:
            message = self._connection.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return None
        finally:
            self.is_waiting = False
        if not isinstance(message, Task):
            return None
        self._is_judged = message.is_judged
        return message


class Holder:
    """Follows a running cell for the parent, and stops it once another process has taken it over.

    Args:
        line: The way to the parent.
        lease: The cell's lease.
    """

    def __init__(self, line: Listener, lease: Lease) -> None:
        self._line, self._lease = line, lease
        self.move, self.judge = line.move, line.judge

    def should_stop(self) -> bool:
        """Whether the parent asked to stop.

        Raises:
            LostLease: If the cell is another process's by now.
        """
        if self._lease.is_lost:
            self._lease.check()
        return self._line.should_stop()


def work(
    connection: Connection,
    log: Path | None = None,
    gpu: str | None = None,
    threads: int = 1,
    environment: Mapping[str, str] | None = None,
) -> None:
    """The worker's whole life. Ctrl-C reaches the parent alone, which then asks to stop; SIGTERM is such a request.

    Args:
        connection: The pipe to the parent.
        log: Where this process's output goes.
        gpu: The only GPU that it may see.
        threads: Cores that it has.
        environment: The parent's, where this process was started with another.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    if log is not None:
        divert(log)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ.update(one_thread_a_core(threads))
    line = Line(connection)

    def end(number: int, frame: FrameType | None) -> None:
        if line.is_waiting:
            sys.exit(0)
        _end_soon(line)

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=_outlive_nobody, args=(line,), name="parent-watch", daemon=True).start()
    while (task := line.receive()) is not None:
        line.send(attempt(task, line, log))


def _outlive_nobody(line: Line) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _end_soon(line)


def _end_soon(line: Line) -> None:
    """The running cell saves itself at its next step; what takes longer than anyone waits is cut off, as by a kill."""
    line.is_stopping = True
    timer = threading.Timer(PATIENCE_S, os._exit, (128 + signal.SIGTERM,))
    timer.daemon = True
    timer.start()


def attempt(task: Task, line: Listener, log: Path | None = None) -> Finished | Failed | Released:
    """Runs one cell under its lease, and sorts whatever goes wrong.

    Args:
        task: The cell, and how to run it.
        line: Hears of progress, and can ask to stop.
        log: This process's log, for the last lines of a cell that fails.
    """
    folder = CellFolder(task.folder)
    try:
        with folder.lease(task.stale_after_s, task.silent) as lease:
            if folder.is_done:
                return Released(is_held_elsewhere=True)
            earlier = folder.failure()
            cell = CellSettings.from_canonical(task.canonical)
            begin(cell.identity, cell.label)
            try:
                # Only here does a worker need torch: a task that is already done costs nothing.
                from studies.settings.folders import add_folders
                from studies.settings.plugins import load_plugins

                run_cell = pkgutil.resolve_name(task.job)
                load_plugins(task.plugins)
                add_folders(task.folders)
                holder = Holder(line, lease)
                how = (task.checkpoint_every_s, task.device, task.reading, task.engine)
                found = run_cell(cell, folder, lease, holder, *how, **_ranks(task))
                note(f"done {cell.identity}")
                return Finished(found)
            except (Stopped, LostLease):
                raise
            except Exception as error:
                # Whoever took the cell over also clears its folder: what went wrong then is no fault of the cell's.
                lease.check()
                failure = sort_failure(error, attempts=1 + (earlier.attempts if earlier else 0))
                note(f"{failure.kind} {cell.identity}\n{failure.traceback}")
                failure = replace(failure, log=tail(log, cell.identity)) if log else failure
                _keep(cell, folder, failure, task)
                return Failed(failure, _smaller(cell, failure, task))
    except Stopped as stopped:
        note(str(stopped))
        return Released(is_held_elsewhere=False)
    except (Leased, LostLease) as taken:
        note(str(taken))
        return Released(is_held_elsewhere=True)
    except OSError as error:
        return Failed(sort_failure(error))


def _ranks(task: Task) -> dict[str, Any]:
    if task.engine.processes == 1:
        return {}
    from studies.crew import crew

    return {"ranks": partial(crew, task)}


def _smaller(cell: CellSettings, failure: Failure, task: Task) -> Engine | None:
    if failure.kind != OUT_OF_MEMORY or not task.may_shrink:
        return None
    from studies.smaller import after_out_of_memory

    return after_out_of_memory(cell, task.engine)


def _keep(cell: CellSettings, folder: CellFolder, failure: Failure, task: Task) -> None:
    from studies.frames import write_failure

    try:
        write_failure(cell, folder, failure, task.device, task.engine)
    except OSError as error:
        if not is_disk_full(error):
            raise
