"""A worker process: it takes cells from the parent over a pipe, runs them one after another, and reports."""

import os
import signal
import time
from multiprocessing.connection import Connection

from studies.failures import Failure, Stopped, is_disk_full, sort_failure
from studies.lease import Leased, LostLease
from studies.messages import STOP, Failed, Finished, Moving, Released, Task
from studies.settings import CellSettings
from studies.store import CellFolder

REPORT_EVERY_S = 0.2


class Line:
    """The worker's end of the pipe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reported_at = -float("inf")
        self._phase = ""
        self.is_stopping = False

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
        try:
            message = self._connection.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return None
        return message if isinstance(message, Task) else None


def work(connection: Connection) -> None:
    """The worker's whole life. Ctrl-C reaches the parent alone, which then asks to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One thread a worker, also in libraries that read this only when they are first imported.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    line = Line(connection)
    while (task := line.receive()) is not None:
        line.send(attempt(task, line))


def attempt(task: Task, line: Line) -> Finished | Failed | Released:
    """Runs one cell under its lease, and sorts whatever goes wrong."""
    folder = CellFolder(task.folder)
    try:
        with folder.lease(task.stale_after_s) as lease:
            if folder.is_done:
                return Released(is_held_elsewhere=True)
            earlier = folder.failure()
            cell = CellSettings.from_canonical(task.canonical)
            try:
                # Only here does a worker need torch: a task that is already done costs nothing.
                from studies.cell import run_cell
                from studies.settings.folders import add_folders
                from studies.settings.plugins import load_plugins

                load_plugins(task.plugins)
                add_folders(task.folders)
                how = (task.checkpoint_every_s, task.device, task.reading, task.engine)
                return Finished(run_cell(cell, folder, lease, line, *how))
            except (Stopped, LostLease):
                raise
            except Exception as error:
                failure = sort_failure(error, attempts=1 + (earlier.attempts if earlier else 0))
                _keep(cell, folder, failure, task.device)
                return Failed(failure)
    except Stopped:
        return Released(is_held_elsewhere=False)
    except (Leased, LostLease):
        return Released(is_held_elsewhere=True)
    except OSError as error:
        return Failed(sort_failure(error))


def _keep(cell: CellSettings, folder: CellFolder, failure: Failure, device: str) -> None:
    from studies.frames import write_failure

    try:
        write_failure(cell, folder, failure, device)
    except OSError as error:
        if not is_disk_full(error):
            raise
