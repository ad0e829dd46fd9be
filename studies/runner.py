"""Runs a study's cells on worker processes; nothing that befalls one cell stops the others."""

import math
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from studies.engine import Engine
from studies.engines.hands import Hands, Hire, Place
from studies.failures import ATTEMPTS, DISK_FULL, PRUNED, Failure, sort_failure
from studies.further import Further
from studies.lease import STALE_AFTER_S, Leased, silent_beat
from studies.logs import log_folder, tail
from studies.messages import JOB, Begun, Failed, Finished, Moving, Released, Task, Validated, Verdict
from studies.outcome import Outcome
from studies.plan import Plan
from studies.pool import Died, local
from studies.progress import Display, spoken
from studies.settings import CellSettings, Execution
from studies.settings.folders import FolderSettings
from studies.stopping import asked_to_stop
from studies.store import State, Store

LISTEN_S = 0.5
LOOK_EVERY_S = 2.0
"""How often an idle run asks a database what other machines have done, in seconds."""
DATABASE_PATIENCE_S = 1800.0
"""How long a run that has nothing else to do waits for a database that cannot be reached, in seconds."""


class Runner:
    """One run of a study.

    Args:
        store: The results folder.
        plan: The queue of cells.
        cells: Every cell that the plan may name.
        work: Work of each cell in any unit, by identity, for the remaining time.
        execution: Device and checkpoints.
        display: Where progress is shown.
        workers: Number of processes.
        stale_after_s: Silence after which another process's lease may be taken, in seconds.
        plugins: Files with users' own methods.
        folders: Users' own benchmarks, by name.
        hire: Gives the workers; by default processes of this machine.
        job: What runs a cell, as ``module:function``.
        retry: Kinds of failure after which a cell may be run once more, besides those that always are.
        further: Gives more cells once those of the plan are taken.
        stop: Asks to stop, as Ctrl-C does.
        leave_after_s: Idle time after which cells that others hold are left to them, in seconds.
    """

    def __init__(
        self,
        store: Store,
        plan: Plan,
        cells: Sequence[CellSettings],
        work: dict[str, float],
        execution: Execution,
        display: Display,
        workers: int,
        stale_after_s: float = STALE_AFTER_S,
        plugins: tuple[Path, ...] = (),
        folders: Mapping[str, FolderSettings] = MappingProxyType({}),
        hire: Hire | None = None,
        job: str = JOB,
        retry: Sequence[str] = (),
        further: Further | None = None,
        stop: threading.Event | None = None,
        leave_after_s: float = math.inf,
    ) -> None:
        self._store, self._plan, self._display = store, plan, display
        self._cells = {cell.identity: cell for cell in cells}
        self._work = work
        self._execution = execution
        self._workers = workers
        self._stale_after_s = stale_after_s
        self._plugins, self._folders = plugins, dict(folders)
        self._hire, self._job = hire or local(job=job), job
        self._retry = retry
        self._looked_at = -math.inf
        self._further = further
        self._found: set[str] = set()
        self._running: dict[int, str] = {}
        self._fractions: dict[int, float] = {}
        self._attempts: dict[str, int] = {}
        self._engines: dict[str, Engine] = {}
        self._open: dict[str, None] = {}
        self._total_work = 0.0
        self._is_shared = self._is_in_trouble = False
        self._cells_to_run = 0
        self._outcome = Outcome()
        self._stop = stop or threading.Event()
        self._leave_after_s = leave_after_s

    def run(self, waiting: Iterable[str]) -> Outcome:
        """Runs the cells that wait in the plan, until all are over or someone asks to stop.

        Args:
            waiting: Identities of the cells to run, for the count and the remaining time.
        """
        self._open = dict.fromkeys(waiting)
        self._cells_to_run = len(self._open) + self._to_come
        self._total_work = self._open_work()
        self._display.start(self._cells_to_run, self._total_work)
        try:
            with asked_to_stop(self._stop, is_at_once=True):
                # Waits until what workers need is imported.
                pool = self._hire(min(self._workers, max(1, self._cells_to_run)), log_folder(self._store.root))
        except KeyboardInterrupt:
            self._outcome.is_stopped = True
            self._plan.close(0.0)
            self._display.stop()
            return self._outcome
        patience_s = pool.patience_s
        try:
            with asked_to_stop(self._stop):
                self._serve(pool)
            if self._running:
                # They had their time; what they have not saved by now is cut off, as by a kill.
                patience_s = 0.0
        except KeyboardInterrupt:
            self._outcome.is_stopped, patience_s = True, 0.0
        finally:
            pool.close(patience_s)
            if not self._plan.close(0.0 if self._outcome.is_stopped else DATABASE_PATIENCE_S):
                self._display.say("the database could not be told everything; the next run tells it what lies here")
            self._display.stop()
        return self._outcome

    def _serve(self, pool: Hands) -> None:
        is_told, until, busy_at = False, math.inf, time.monotonic()
        while time.monotonic() < until:
            if self._stop.is_set() and not is_told:
                is_told = self._outcome.is_stopped = True
                until = time.monotonic() + pool.patience_s
                self._display.say("stopping: every running cell writes its checkpoint first")
                pool.stop()
            if not is_told:
                self._fill(pool)
            self._tell_trouble()
            if not self._running and (is_told or not (self._open or self._to_come)):
                return
            if self._running or self._plan.trouble:
                busy_at = time.monotonic()
            elif time.monotonic() - busy_at > self._leave_after_s:
                others = len(self._open) + self._to_come
                self._display.say(f"{others} cells are in others' hands and are left to them")
                return
            for slot, message in pool.receive(LISTEN_S):
                self._hear(pool, slot, message)

    def _tell_trouble(self) -> None:
        trouble = self._plan.trouble
        if bool(trouble) != self._is_in_trouble:
            self._is_in_trouble = bool(trouble)
            news = f"cannot be reached ({trouble}): running cells go on, new ones wait" if trouble else "is back"
            self._display.say(f"the database {news}")
        if self._plan.silent_s > DATABASE_PATIENCE_S and not self._running and not self._stop.is_set():
            self._display.say(f"the database has not been reached for {spoken(DATABASE_PATIENCE_S)}")
            self._stop.set()

    def _fill(self, pool: Hands) -> None:
        for slot in pool.slots:
            if slot.number in self._running:
                continue
            identity = self._next()
            if identity is None:
                return
            cell = self._cells[identity]
            folder = self._store.cell(identity)
            task = Task(
                cell.canonical,
                folder.path,
                self._execution.checkpoint_every_s,
                self._execution.device,
                self._stale_after_s,
                self._plugins,
                self._folders,
                self._execution.reading(self._workers),
                self._engines.get(identity, self._execution.engine()),
                self._execution.retry_smaller,
                self._job,
                silent_beat(folder.path, self._stale_after_s),
                is_judged=identity in self._found,
            )
            self._running[slot.number] = identity
            self._fractions[slot.number] = 0.0
            if not pool.has_queue:
                self._display.begin(slot.number, cell.label)
            try:
                pool.send(slot, task)
            except Died:
                # It died idle, before this cell: the pipe's end tells in `_hear`, which tries the cell again.
                continue

    def _next(self) -> str | None:
        identity = self._plan.next(self._may_begin)
        if identity is not None or self._plan.trouble:
            return identity
        if self._plan.is_shared:
            self._look_elsewhere()
        # The queue may have lost a cell to another run of the study that gave it back; the folders know. In a database
        # it loses none, but what is not in the plan is nowhere else.
        known = self._found if self._plan.is_shared else self._open
        ready = next((identity for identity in list(known) if self._may_begin(identity)), None)
        return ready if ready is not None else self._one_more()

    def _may_begin(self, identity: str) -> bool:
        """Whether a cell can be run here and now; one that others have ended is settled on the way."""
        if identity not in self._open or identity in self._running.values():
            return False
        folder = self._store.cell(identity)
        state = folder.state(self._stale_after_s)
        if state is State.DONE or (state in (State.FAILED, State.PRUNED) and not folder.may_run(self._retry)):
            self._settle(identity)
            return False
        return state is not State.RUNNING and self._is_ready(identity)

    def _one_more(self) -> str | None:
        cell = self._further.next() if self._further is not None else None
        if cell is None:
            return None
        assert self._further is not None
        self._cells[cell.identity] = cell
        self._work[cell.identity] = self._further.cell_work
        self._found.add(cell.identity)
        self._open[cell.identity] = None
        return cell.identity

    @property
    def _to_come(self) -> int:
        return self._further.left if self._further is not None else 0

    def _is_ready(self, identity: str) -> bool:
        """Whether nothing that a cell is built from is still to come; what failed for good is the cell's to say."""
        return not any(source in self._open for source in self._cells[identity].sources)

    def _look_elsewhere(self) -> None:
        """Asks a database what other machines have ended, now and then."""
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        running = set(self._running.values()) | self._found
        for identity, end in self._plan.over(one for one in self._open if one not in running).items():
            self._outcome.elsewhere[identity] = end
            self._settle(identity)
        for identity in list(self._open):
            missing = [one for one in self._cells[identity].sources if one in self._outcome.elsewhere]
            if missing and identity not in running:
                self._display.say(
                    f"{identity} {self._cells[identity].label} is left: it is built from {len(missing)} cells that lie "
                    "on other machines; merge their results, then run the study once more"
                )
                self._settle(identity)

    def _settle(self, identity: str) -> None:
        self._open.pop(identity, None)
        if identity in self._found and self._further is not None:
            self._found.discard(identity)
            self._further.settle(identity)

    def _hear(self, pool: Hands, slot: Place, message: object) -> None:
        identity = self._running.get(slot.number)
        if isinstance(message, Died):
            if self._stop.is_set():
                pool.retire(slot)
            else:
                pool.replace(slot)
            if identity is not None:
                # Who left in order had begun nothing that it did not tell of.
                message = Released(False) if message.is_orderly else self._bury(identity, slot, message)
        if identity is None:
            return
        if isinstance(message, Validated):
            is_pruned = self._further is not None and self._further.judge(identity, message.step, message.score)
            with suppress(Died):
                pool.send(slot, Verdict(is_pruned))
            return
        if isinstance(message, Begun):
            self._display.begin(slot.number, self._cells[identity].label)
            return
        if isinstance(message, Moving):
            self._fractions[slot.number] = message.fraction
            self._display.move(slot.number, message, self._done())
            return
        del self._running[slot.number], self._fractions[slot.number]
        if isinstance(message, Finished):
            self._outcome.finished.append(identity)
            self._outcome.failures.pop(identity, None)
            if identity not in self._found:
                self._plan.finish(identity, message.scalars)
            self._settle(identity)
        elif isinstance(message, Failed):
            self._fail(identity, message.failure, message.smaller)
        elif isinstance(message, Released):
            self._release(identity, message)
        self._display.end(slot.number, self._cells_to_run - len(self._open) - self._to_come, self._done())

    def _fail(self, identity: str, failure: Failure, smaller: Engine | None = None) -> None:
        self._plan.fail(identity, failure.kind)
        self._attempts[identity] = self._attempts.get(identity, 0) + 1
        label = self._cells[identity].label
        if failure.kind == DISK_FULL:
            self._outcome.failures[identity] = failure
            self._settle(identity)
            self._stop.set()
        elif failure.kind == PRUNED:
            self._settle(identity)
        elif self._attempts[identity] < ATTEMPTS.get(failure.kind, 1):
            how = ""
            if smaller is not None:
                self._engines[identity] = smaller
                how = f", {smaller.micro_batch} images at once"
            self._display.say(f"{identity} {label}: {failure.kind} ({failure.message}); it is tried again{how}")
            # What is not in the plan is found again among the open cells.
            if identity not in self._found:
                self._plan.enqueue(identity)
        else:
            self._display.say(f"{identity} {label}: {failure.kind} ({failure.message})")
            self._outcome.failures[identity] = failure
            self._settle(identity)

    def _release(self, identity: str, message: Released) -> None:
        self._plan.fail(identity, "given back")
        if not message.is_held_elsewhere:
            return
        if self._store.cell(identity).is_done:
            self._settle(identity)
        elif not self._is_shared:
            self._is_shared = True
            self._display.say("another process works on some of the cells; they are looked at again at the end")

    def _bury(self, identity: str, slot: Place, died: Died) -> Failed | Released:
        # Tables take a second to import, and most runs bury nobody.
        from studies.frames import write_failure

        folder = self._store.cell(identity)
        earlier = folder.failure()
        attempts = 1 + (earlier.attempts if earlier else 0)
        failure = Failure(died.kind, str(died), attempts=attempts, log=tail(slot.log, identity))
        try:
            with folder.lease(self._stale_after_s):
                if folder.is_done:
                    return Released(is_held_elsewhere=True)
                write_failure(self._cells[identity], folder, failure, self._execution.device, self._execution.engine())
        except Leased:
            # On another machine its lease still looks alive: it is taken over once it has been silent for long enough.
            return Failed(failure) if died.is_far else Released(is_held_elsewhere=True)
        except OSError as error:
            return Failed(sort_failure(error))
        return Failed(failure)

    def _done(self) -> float:
        moving = sum(self._work[self._running[slot]] * part for slot, part in self._fractions.items())
        return self._total_work - self._open_work() + moving

    def _open_work(self) -> float:
        coming = self._to_come * self._further.cell_work if self._further is not None else 0.0
        return sum(self._work[identity] for identity in self._open) + coming
