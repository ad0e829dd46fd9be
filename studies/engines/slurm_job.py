"""What one job of SLURM's array does: it runs cells of a study until none is left for it, or its time is up."""

import math
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from studies.lease import STALE_AFTER_S
from studies.outcome import Outcome

LEAVE_AFTER_S = STALE_AFTER_S + 15.0
"""A job that finds every cell in others' hands ends after so long: by then a dead one's lease would have been taken."""
END_PATIENCE_S = 60.0
"""How long a job that saved its cell at SLURM's SIGTERM waits to be ended, in seconds."""

_SHIFTS: list["Shift"] = []


@dataclass(frozen=True)
class Errand:
    """A job's work, as it is kept on disk until the job begins; no secret is in it.

    Attributes:
        study: Name of a preset, or absolute path of a file.
        results: The results folder, absolute.
        retry: Kinds of failure to try again besides those that always are.
        save_s: How long the running cell may take to save itself before the time limit, in seconds.
        leave_after_s: Idle time after which the job ends, in seconds.
    """

    study: str
    results: Path
    retry: tuple[str, ...] = ()
    save_s: float = 60.0
    leave_after_s: float = LEAVE_AFTER_S

    def __call__(self) -> dict[str, Any]:
        """Runs cells; returns what came of it."""
        shift = Shift(self)
        _SHIFTS.append(shift)
        # submitit would let it pass: SLURM sends it to a job that it preempts or ends.
        signal.signal(signal.SIGTERM, shift.ask)
        outcome = shift.run()
        if outcome.is_stopped and os.environ.get("SUBMITIT_EXECUTOR") != "local":
            # Preempted or cancelled: what becomes of the job is SLURM's to say, and coming back would call it done.
            time.sleep(END_PATIENCE_S)
        kinds = {identity: failure.kind for identity, failure in outcome.failures.items()}
        return {"finished": outcome.finished, "failures": kinds, "is_stopped": outcome.is_stopped}

    def checkpoint(self) -> Any:
        """Saves the running cell and gives it back; submitit calls this, then queues the job again."""
        from submitit.helpers import DelayedSubmission

        for shift in _SHIFTS:
            shift.ask()
            # One that is still loading has nothing to save; queueing the job again takes time, too.
            shift.wait(self.save_s)
        return DelayedSubmission(self)


class Shift:
    """A worker at work, in a thread of its own: the main thread is left to signals.

    Args:
        errand: What to do.
    """

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._stop = threading.Event()
        self._is_over = False
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="shift", daemon=True)

    def run(self) -> Outcome:
        """Works until all is done or somebody asks to stop."""
        self._thread.start()
        self.wait()
        if self._outcome is None:
            raise self._error or RuntimeError("the worker ended without a word")
        return self._outcome

    def ask(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Asks the worker to save its cell and stop; may be a signal's handler."""
        self._stop.set()

    def wait(self, patience_s: float = math.inf) -> None:
        """Waits for the end; a signal's handler may do so while the main thread does."""
        until = time.monotonic() + patience_s
        while not self._is_over and time.monotonic() < until:
            time.sleep(0.05)

    def _work(self) -> None:
        # SLURM warns every process of a job: the main thread hears it, and whatever this thread starts does not.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        try:
            self._outcome = self._cells()
        except BaseException as error:
            self._error = error
        finally:
            self._is_over = True

    def _cells(self) -> Outcome:
        from studies.commands.run import Choices, work
        from studies.opened import open_study
        from studies.storage import storage_url

        opened = open_study(self._errand.study, self._errand.results)
        choices = Choices(1, self._errand.retry, storage=storage_url(None), engine="slurm")
        console = Console(width=int(os.environ.get("COLUMNS", "120")))
        return work(opened, choices, console, self._stop, self._errand.leave_after_s)
