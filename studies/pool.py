"""Worker processes, each behind a pipe of its own: whatever befalls one of them leaves the others alone."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from studies.messages import STOP, Task
from studies.worker import work


class Died(Exception):
    """The worker's process has ended without saying so."""


@dataclass
class Slot:
    """A place for one worker, refilled with a new process when the old one dies."""

    number: int
    process: SpawnProcess
    connection: Connection


class Pool:
    """So many worker processes.

    Args:
        workers: How many, at least 1.
    """

    def __init__(self, workers: int) -> None:
        # A pipe each, not a shared queue: a process killed while it holds a queue's lock blocks all the others.
        self.slots = [self._start(number) for number in range(workers)]

    def send(self, slot: Slot, task: Task) -> None:
        """Gives a worker a task.

        Raises:
            Died: If the process is gone.
        """
        try:
            slot.connection.send(task)
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
                yield slot, Died(_death(slot.process.exitcode))

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
        """Ends the workers: an idle one at once, a busy one after ``patience_s`` by force."""
        for slot in self.slots:
            slot.connection.close()
        for slot in self.slots:
            slot.process.join(patience_s)
            if slot.process.is_alive():
                slot.process.kill()
                slot.process.join()

    def _start(self, number: int) -> Slot:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs,), name=f"worker-{number}", daemon=True)
        # Inherited, so that Ctrl-C cannot hit the worker before it has set its own handler.
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            process.start()
            signal.signal(signal.SIGINT, before)
        else:
            process.start()
        theirs.close()
        return Slot(number, process, ours)


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = "; the system may have run out of memory" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with exit code {exit_code}"
