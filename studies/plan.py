"""The plan of a study in Optuna: cells wait in its queue, and small scalars of finished cells are mirrored there.

The cells' folders are the truth. Whatever the plan has lost or got wrong is put right from them when it is opened. Only
where results lie on several machines, each with folders of its own, does it tell one machine what the others have done.
"""

import hashlib
import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from studies.failures import PREEMPTED, RESUMED, is_disk_full
from studies.messages import OBJECTIVE
from studies.outbox import Outbox
from studies.pulse import Pulse
from studies.settings import CellSettings
from studies.storage import JOURNAL, Storage, open_storage

GIVEN_BACK = "given back"
DONE_ELSEWHERE = "done elsewhere"
LOOK_EVERY_S = 1.0
"""How often an idle run looks whether others have put something into a database's queue."""

_AGAIN = (GIVEN_BACK, DONE_ELSEWHERE, *RESUMED)
"""Ends of a trial after which any machine may try the cell."""

logger = logging.getLogger(__name__)


class Plan:
    """The queue of one study.

    Args:
        folder: The results folder, where the journal lies.
        name: Name of the study.
        cells: Every cell of the design.
        done: Scalars of the cells whose folders say that they are done, by identity; each has ``OBJECTIVE``.
        waiting: Identities of the cells to run, in order.
        running: Identities that another process works on now, as far as the folders know.
        storage: Where the plan is kept; by default a journal file in the folder.
        shelf: Tells this results folder from other machines'; needed with a database only.
        retry: Kinds of failure after which another machine's cell is tried here, besides those that always are.

    Raises:
        ResultsError: If the storage cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        cells: Sequence[CellSettings],
        done: Mapping[str, Mapping[str, float]],
        waiting: Iterable[str],
        running: Iterable[str] = (),
        storage: Storage | None = None,
        shelf: str = "",
        retry: Collection[str] = (),
    ) -> None:
        self._parameters = {cell.identity: _parameters(cell) for cell in cells}
        self._choices = _choices(self._parameters.values())
        self._wanted = dict.fromkeys(waiting)
        self._shelf, self._retry = shelf, retry
        self._trials: dict[str, int] = {}
        self._queue: list[tuple[int, str]] = []
        self._looked_at = -math.inf
        design = hashlib.sha256(json.dumps(sorted(self._parameters)).encode()).hexdigest()[:8]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._name = f"{name}-{design}"
        self._storage = storage or open_storage(None, folder)
        self._outbox = Outbox(self._storage.told)
        self._pulse: Pulse | None = None
        with self._turn():
            self._study = _open(self._storage, folder / JOURNAL, self._name)
            self._mirror(done, set(running))
            self._fill(list(self._wanted), is_opening=True)
        if self._storage.database is not None:
            self._pulse = Pulse(self._storage.database, self._study._study_id, self._abandon)

    @property
    def is_shared(self) -> bool:
        """Whether the plan is kept in a database, which other machines use, too."""
        return self._storage.database is not None

    @property
    def trouble(self) -> str:
        """Why the database cannot be reached, in words; empty where it can."""
        return self._outbox.trouble

    @property
    def silent_s(self) -> float:
        """How long the database has not been reached, in seconds; 0 where it is."""
        return self._outbox.silent_s

    def enqueue(self, identity: str) -> None:
        """Puts a cell at the end of the queue."""
        self._wanted[identity] = None
        self._outbox.put(lambda: self._refill([identity]))

    def next(self, is_ready: Callable[[str], bool] = lambda identity: True) -> str | None:
        """Takes the first cell of the queue that is ready; None where there is none, or the database does not answer.

        Args:
            is_ready: Whether a cell can be run now; what cannot stays in the queue.
        """
        return self._outbox.ask(lambda: self._next(is_ready), otherwise=None)

    def finish(self, identity: str, scalars: Mapping[str, float]) -> None:
        """Mirrors the scalars of a cell that is done; ``OBJECTIVE`` is the trial's value."""
        trial = self._trials.pop(identity, None)
        self._outbox.put(lambda: self._finish(identity, trial, scalars))

    def fail(self, identity: str, kind: str) -> None:
        """Notes that a cell failed, with the failure's kind, or was given back."""
        trial = self._trials.pop(identity, None)
        if trial is not None:
            self._outbox.put(lambda: self._end(trial, TrialState.FAIL, None, {"failure": kind}))

    def over(self, identities: Iterable[str]) -> dict[str, str]:
        """Which cells other machines have brought to an end, with ``done`` or the kind of their failure.

        Cells that are neither over nor in anybody's hands are put into the queue again. Without a database nothing is
        ever over elsewhere: whoever uses the journal file sees the same folders.

        Args:
            identities: Cells that are of interest.
        """
        if not self.is_shared:
            return {}
        wanted = list(identities)
        return self._outbox.ask(lambda: self._refill(wanted), otherwise={})

    def free(self, kinds: Collection[str]) -> list[str]:
        """Puts cells into a database's queue again that failed in these ways and that nobody has; returns which.

        Args:
            kinds: Kinds of failure.
        """
        if not self.is_shared:
            return []
        with self._turn():
            found = []
            for identity, own in self._by_cell().items():
                last = own[-1]
                is_over = last.state is TrialState.FAIL and not _is_complete(own)
                is_held = any(trial.state in (TrialState.WAITING, TrialState.RUNNING) for trial in own)
                if is_over and not is_held and identity in self._parameters and last.user_attrs.get("failure") in kinds:
                    self._add_waiting(identity, sum(trial.state is TrialState.COMPLETE for trial in own))
                    found.append(identity)
        return found

    def close(self, patience_s: float = 0.0) -> bool:
        """Tells what is still to be told and ends the heartbeats; returns whether all was told.

        Args:
            patience_s: How long to wait for a database that does not answer.
        """
        is_told = self._outbox.flush(patience_s)
        if self._pulse is not None:
            self._pulse.stop()
        self._storage.close()
        return is_told

    def _turn(self) -> AbstractContextManager[None]:
        return self._storage.turns.take(self._name)

    def _next(self, is_ready: Callable[[str], bool]) -> str | None:
        if (identity := self._take(is_ready)) is not None:
            return identity
        now = time.monotonic()
        if self.is_shared and now - self._looked_at < LOOK_EVERY_S:
            return None
        self._looked_at = now
        complete = self._complete() if self.is_shared else ()
        self._queue = []
        for trial in self._in_state(TrialState.WAITING):
            identity = str(trial.user_attrs.get("cell"))
            if identity in complete or (identity not in self._wanted and not self.is_shared):
                # Done meanwhile, or left over from an earlier run.
                self._end(trial._trial_id, TrialState.FAIL, None, {"failure": DONE_ELSEWHERE})
            else:
                self._queue.append((trial._trial_id, identity))
        return self._take(is_ready)

    def _take(self, is_ready: Callable[[str], bool]) -> str | None:
        for place in list(self._queue):
            trial, identity = place
            if identity not in self._wanted or not is_ready(identity):
                continue
            self._queue.remove(place)
            try:
                is_ours = self._storage.optuna.set_trial_state_values(trial, TrialState.RUNNING)
            except UpdateFinishedTrialError:
                continue
            if is_ours:
                self._trials[identity] = trial
                if self._pulse is not None:
                    self._pulse.begin(trial)
                return identity
        return None

    def _finish(self, identity: str, trial: int | None, scalars: Mapping[str, float]) -> None:
        with self._turn():
            if self.is_shared and identity in self._complete():
                # Two machines that could not see each other have both done it: the first one counts.
                if trial is not None:
                    self._end(trial, TrialState.FAIL, None, {"failure": DONE_ELSEWHERE})
                return
            facts = {**scalars, "shelf": self._shelf}
            if trial is None or not self._end(trial, TrialState.COMPLETE, scalars[OBJECTIVE], facts):
                self._add(identity, scalars)

    def _end(self, trial: int, state: TrialState, value: float | None, facts: Mapping[str, Any]) -> bool:
        """Ends a trial; False where another process has done so."""
        if self._pulse is not None:
            self._pulse.end(trial)
        try:
            for name, fact in facts.items():
                self._storage.optuna.set_trial_user_attr(trial, name, fact)
            self._storage.optuna.set_trial_state_values(trial, state, None if value is None else [value])
        except UpdateFinishedTrialError:
            # It was taken for abandoned; all the same the lease keeps the cell from running twice.
            return False
        return True

    def _abandon(self, trial: int) -> None:
        """Ends a trial whose process is gone, and gives its cell to whoever comes next."""
        with self._turn():
            identity = str(self._storage.optuna.get_trial(trial).user_attrs.get("cell"))
            if self._end(trial, TrialState.FAIL, None, {"failure": PREEMPTED}) and identity in self._parameters:
                self._fill([identity])

    def _refill(self, identities: Sequence[str]) -> dict[str, str]:
        with self._turn():
            return self._fill(identities)

    def _fill(self, identities: Sequence[str], is_opening: bool = False) -> dict[str, str]:
        """Enqueues those cells that nobody has and nobody has done; returns the ends of the others. Call in turn."""
        trials = self._by_cell()
        over: dict[str, str] = {}
        for identity in identities:
            own = trials[identity]
            if any(trial.state is TrialState.WAITING for trial in own):
                continue
            if not self.is_shared:
                self._add_waiting(identity, 0)
                continue
            if any(trial.state is TrialState.RUNNING for trial in own):
                continue
            complete = [trial for trial in own if trial.state is TrialState.COMPLETE]
            if _is_complete(own):
                if not (is_opening and complete[-1].user_attrs.get("shelf") == self._shelf):
                    over[identity] = "done"
                    continue
                # This very folder had its result and has it no longer.
            elif own and (kind := own[-1].user_attrs.get("failure", GIVEN_BACK)) not in (*_AGAIN, *self._retry):
                over[identity] = kind
                continue
            self._add_waiting(identity, len(complete))
        return over

    def _add_waiting(self, identity: str, again: int) -> None:
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.WAITING,
                params=dict(self._parameters[identity]),
                distributions=self._distributions(identity),
                user_attrs={"cell": identity, **({"again": again} if again else {})},
            )
        )

    def _add(self, identity: str, scalars: Mapping[str, float]) -> None:
        self._study.add_trial(
            optuna.trial.create_trial(
                params=dict(self._parameters[identity]),
                distributions=self._distributions(identity),
                value=scalars[OBJECTIVE],
                user_attrs={"cell": identity, **scalars, "shelf": self._shelf},
            )
        )

    def _distributions(self, identity: str) -> dict[str, BaseDistribution]:
        return {name: CategoricalDistribution(self._choices[name]) for name in self._parameters[identity]}

    def _in_state(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states)

    def _complete(self) -> set[str]:
        return {identity for identity, own in self._by_cell().items() if _is_complete(own)}

    def _by_cell(self) -> dict[str, list[FrozenTrial]]:
        trials: dict[str, list[FrozenTrial]] = defaultdict(list)
        for trial in self._study.get_trials(deepcopy=False):
            trials[str(trial.user_attrs.get("cell"))].append(trial)
        return trials

    def _mirror(self, done: Mapping[str, Mapping[str, float]], running: set[str]) -> None:
        if not self.is_shared:
            for trial in self._in_state(TrialState.RUNNING):
                if trial.user_attrs.get("cell") not in running:
                    self._end(trial._trial_id, TrialState.FAIL, None, {"failure": PREEMPTED})
        complete = self._complete()
        for identity, scalars in done.items():
            if identity not in complete and math.isfinite(scalars.get(OBJECTIVE, math.nan)):
                self._add(identity, scalars)


def _is_complete(trials: Sequence[FrozenTrial]) -> bool:
    """Whether a cell's trials say that it is done: more often than results of it are known to be lost."""
    complete = sum(trial.state is TrialState.COMPLETE for trial in trials)
    return complete > max((trial.user_attrs.get("again", 0) for trial in trials), default=0)


def _parameters(cell: CellSettings) -> dict[str, Any]:
    facts = {
        "method": cell.method,
        "backbone": cell.backbone,
        "pretrain_seed": cell.pretrain_seed,
        "seed": cell.seed,
        "learning_rate": cell.learning_rate,
        **cell.levers,
    }
    return {name: "inf" if value == math.inf else value for name, value in facts.items()}


def _choices(parameters: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, dict[str, Any]] = {}
    for facts in parameters:
        for name, value in facts.items():
            found.setdefault(name, {})[json.dumps(value)] = value
    return {name: [values[key] for key in sorted(values)] for name, values in found.items()}


def _open(storage: Storage, journal: Path, name: str) -> optuna.Study:
    try:
        return _load(storage, name)
    except Exception as error:
        if storage.database is not None or is_disk_full(error) or isinstance(error, PermissionError):
            raise
        # The journal only mirrors the cells' folders, so a damaged one is set aside and written anew.
        aside = journal.with_suffix(f".damaged-{len(list(journal.parent.glob('*.damaged-*'))) + 1}")
        journal.rename(aside)
        logger.warning("the plan %s could not be read (%s); it is now %s and is made anew", journal, error, aside.name)
        return _load(storage, name)


def _load(storage: Storage, name: str) -> optuna.Study:
    # The queue alone decides what runs; the sampler has nothing to choose.
    return optuna.create_study(
        study_name=name,
        storage=storage.optuna,
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
