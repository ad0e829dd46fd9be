"""A search in Optuna: which settings are tried next, and which runs end early, in the light of all before them.

Its history is a journal of its own in the results folder, or lies in the plan's database, where many machines share it.
The cells' folders are the truth: a trial that was running goes on where its cell stands, and a journal that is lost is
written anew from the finished cells. With one worker the same search gives the same trials, however often it is killed.
"""

import hashlib
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from analysis.records import read
from studies.beginning import Beginning, facts
from studies.failures import PREEMPTED
from studies.objectives import values_of
from studies.outbox import Outbox
from studies.pulse import Pulse
from studies.samplers import pruner, sampler, suggested
from studies.settings import OBJECTIVES, CellSettings, StudySettings
from studies.storage import Storage
from studies.store import State, Store

JOURNAL = "search.journal"
LOOK_EVERY_S = 2.0
"""How often an idle run asks a database what other machines do, in seconds."""


@dataclass(frozen=True)
class Found:
    """A trial of a search that came to its end with a number.

    Attributes:
        cell: The cell's identity.
        label: The cell in words.
        point: Its place in the space.
        values: Its objectives, by name.
    """

    cell: str
    label: str
    point: Mapping[str, Any]
    values: Mapping[str, float]


class Searching:
    """The trials of one search; a `studies.further.Further`.

    Args:
        study: The study, with a search.
        manifest: The benchmark's manifest.
        store: The results folder.
        cell_work: Work of a cell, in the runner's unit.
        storage: A database that other machines use, too; None: a journal in the results folder.

    Raises:
        ResultsError: If records to start from cannot be had.
    """

    def __init__(
        self,
        study: StudySettings,
        manifest: str,
        store: Store,
        cell_work: float = 1.0,
        storage: Storage | None = None,
    ) -> None:
        assert study.search is not None
        self._study, self._search, self._manifest, self._store = study, study.search, manifest, store
        self.cell_work = cell_work
        self.notes: list[str] = []
        said = self._search.model_dump_json(exclude={"trials", "warm_start"}) + manifest
        self._name = f"{study.name}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
        self._shared = storage if storage is not None and storage.database is not None else None
        self._outbox = Outbox(self._shared.told if self._shared is not None else str)
        self._lock = FileLock((store.root / JOURNAL).with_suffix(".lock"))
        self._held: dict[str, list[optuna.Trial]] = {}
        self._set_aside: list[optuna.Trial] = []
        self._twins: list[tuple[optuna.Trial, CellSettings]] = []
        self._reported: set[tuple[str, int]] = set()
        self._again: list[FrozenTrial] = []
        self._left = self._waiting = self._elsewhere = 0
        self._looked_at = -math.inf
        with self._turn():
            self._trials = self._open()
            if self._shared is None:
                self._again = self._in_state(TrialState.RUNNING)
            self._look()
        database = self._shared.database if self._shared is not None else None
        self._pulse = Pulse(database, self._trials._study_id, self._abandon) if database is not None else None

    @property
    def left(self) -> int:
        """How many cells are still to come, those that other machines have in hand included."""
        if self._shared is not None and time.monotonic() - self._looked_at > LOOK_EVERY_S:
            self._outbox.ask(self._look, otherwise=None)
        return max(0, self._left) + self._waiting + self._elsewhere + len(self._twins) + len(self._again)

    def next(self) -> CellSettings | None:
        """The next cell that is not done yet; None where none can be had now."""
        return self._outbox.ask(self._next, otherwise=None)

    def judge(self, identity: str, step: int, score: float) -> bool:
        """Whether a running cell ends here; where a database does not answer, it does not."""
        if self._search.pruner is None or identity not in self._held:
            return False
        return self._outbox.ask(lambda: self._judge(identity, step, score), otherwise=False)

    def settle(self, identity: str) -> None:
        """Tells the trials of a cell what its folder says."""
        trials = self._held.pop(identity, [])
        if self._store.cell(identity).may_run():
            # Preempted for good in this run, or the disk was full: the next run goes on with it.
            self._set_aside += trials
            return
        for trial in trials:
            self._outbox.put(partial(self._tell, trial, identity))

    def close(self, patience_s: float = 0.0) -> None:
        """Gives back to other machines what this one has in hand; a journal needs no closing.

        Args:
            patience_s: How long to wait for a database that does not answer, in seconds.
        """
        if self._shared is None or self._pulse is None:
            return
        held = [trial for trials in self._held.values() for trial in trials]
        for trial in (*held, *self._set_aside, *(trial for trial, _ in self._twins)):
            self._outbox.put(partial(self._abandon, trial._trial_id))
        self._outbox.flush(patience_s)
        self._pulse.stop()
        self._shared.close()

    def found(self) -> list[Found]:
        """The best trial; of several objectives, those of which none is better in all."""
        return [
            Found(
                trial.user_attrs["cell"],
                trial.user_attrs["label"],
                trial.params,
                dict(zip(self._search.objectives, trial.values, strict=True)),
            )
            for trial in self._trials_of(self._best)
        ]

    def counts(self) -> dict[str, int]:
        """How many trials of its own are complete, pruned, failed and running."""
        states = [trial.state.name.lower() for trial in self._trials_of(self._own)]
        return {state: states.count(state) for state in ("complete", "pruned", "fail", "running")}

    def elsewhere(self) -> dict[str, str]:
        """Which of its cells ended on machines with results folders of their own: ``done``, or the kind of failure."""
        ends = {TrialState.COMPLETE: "done", TrialState.PRUNED: "done"}
        return {
            identity: ends.get(trial.state) or trial.user_attrs.get("failure", "")
            for trial in self._trials_of(self._own)
            if trial.state.is_finished() and (identity := trial.user_attrs.get("cell"))
            if self._store.cell(identity).state() is State.MISSING
        }

    def _trials_of(self, question: Callable[[], list[FrozenTrial]]) -> list[FrozenTrial]:
        nothing: list[FrozenTrial] = []
        return self._outbox.ask(question, otherwise=nothing)

    def _turn(self) -> AbstractContextManager[object]:
        return self._lock if self._shared is None else self._shared.turns.take(self._name)

    def _best(self) -> list[FrozenTrial]:
        with self._turn():
            return self._trials.best_trials

    def _all(self) -> list[FrozenTrial]:
        return self._trials.get_trials(deepcopy=False)

    def _in_state(self, *states: TrialState) -> list[FrozenTrial]:
        return self._trials.get_trials(deepcopy=False, states=states)

    def _own(self) -> list[FrozenTrial]:
        return [trial for trial in self._all() if "warm" not in trial.user_attrs and not _is_given_back(trial)]

    def _look(self) -> None:
        """Counts what is still to come."""
        own = self._own()
        self._left = self._search.trials - len(own)
        if self._shared is not None:
            mine = {trial._trial_id for trials in self._held.values() for trial in trials}
            mine |= {trial._trial_id for trial in (*self._set_aside, *(trial for trial, _ in self._twins))}
            self._waiting = sum(trial.state is TrialState.WAITING for trial in own)
            self._elsewhere = sum(trial.state is TrialState.RUNNING and trial._trial_id not in mine for trial in own)
        self._looked_at = time.monotonic()

    def _next(self) -> CellSettings | None:
        with self._turn():
            for _ in range(len(self._twins)):
                twin, known = self._twins.pop(0)
                if not self._is_elsewhere(twin, known):
                    self._held.setdefault(known.identity, []).append(twin)
                    return known
            while (trial := self._trial()) is not None:
                cell = self._cell(trial)
                if cell is None:
                    continue
                is_held = cell.identity in self._held
                if not is_held and self._is_elsewhere(trial, cell):
                    continue
                self._held.setdefault(cell.identity, []).append(trial)
                folder = self._store.cell(cell.identity)
                if folder.state() in (State.DONE, State.FAILED, State.PRUNED) and not folder.may_run():
                    self.settle(cell.identity)
                elif not is_held:
                    # A twin of a running cell waits for that one's result.
                    return cell
        return None

    def _is_elsewhere(self, trial: optuna.Trial, cell: CellSettings) -> bool:
        """Whether a trial has its end from another machine's trial of the same cell, or is to wait for that one."""
        if self._shared is None:
            return False
        first = [
            other
            for other in self._own()
            if other.number < trial.number and other.user_attrs.get("cell") == cell.identity
        ]
        if over := next((other for other in first if other.state.is_finished()), None):
            self._end(trial, over.state, over.values, over.user_attrs.get("failure"))
            return True
        if any(other.state is TrialState.RUNNING for other in first):
            self._twins.append((trial, cell))
            return True
        return False

    def _judge(self, identity: str, step: int, score: float) -> bool:
        trial = self._held[identity][0]
        with suppress(UpdateFinishedTrialError):
            # A cell that went on from an older checkpoint sees the same validation again.
            if (identity, step) not in self._reported:
                trial.report(score, step)
                self._reported.add((identity, step))
            return trial.should_prune()
        # Taken for abandoned, and told of already.
        return False

    def _trial(self) -> optuna.Trial | None:
        while self._again:
            frozen = self._again.pop(0)
            identity = frozen.user_attrs.get("cell")
            if identity is None or self._store.cell(identity).state() is not State.RUNNING:
                self._reported |= {(str(identity), step) for step in frozen.intermediate_values}
                # What it was given is stored; nothing more is drawn for it unless it was cut off in between.
                is_whole = identity is not None
                self._trials.sampler = (
                    optuna.samplers.RandomSampler(0) if is_whole else sampler(self._search.sampler, frozen.number)
                )
                return optuna.Trial(self._trials, frozen._trial_id)
        self._look()
        if self._left <= 0 and not self._waiting:
            return None
        # One seed a trial, so that a search that was stopped draws what it would have drawn.
        self._trials.sampler = sampler(self._search.sampler, len(self._all()))
        with warnings.catch_warnings():
            # Optuna would beat in `optimize`; here `Pulse` does.
            warnings.filterwarnings("ignore", message="Heartbeat of storage", category=UserWarning)
            trial = self._trials.ask()
        if self._waiting:
            # One that another machine gave back comes first, with what was known of it.
            self._waiting -= 1
            known = self._trials._storage.get_trial(trial._trial_id)
            self._reported |= {(known.user_attrs["again"], step) for step in known.intermediate_values}
        else:
            self._left -= 1
        return trial

    def _cell(self, trial: optuna.Trial) -> CellSettings | None:
        point = {name: suggested(trial, name, values) for name, values in self._search.space.items()}
        try:
            cell = self._study.search_cell(self._manifest, point)
        except ValueError as impossible:
            self._end(trial, TrialState.FAIL, None, f"impossible: {impossible}")
            return None
        for name, fact in facts(cell).items():
            trial.set_user_attr(name, fact)
        if self._pulse is not None:
            self._pulse.begin(trial._trial_id)
        return cell

    def _tell(self, trial: optuna.Trial, identity: str) -> None:
        folder = self._store.cell(identity)
        failure = folder.failure()
        values = values_of(read(folder.path), self._search.objectives) if folder.is_done else []
        if values and all(map(math.isfinite, values)):
            self._end(trial, TrialState.COMPLETE, values)
        elif folder.state() is State.PRUNED:
            self._end(trial, TrialState.PRUNED)
        else:
            why = failure.kind if failure is not None else f"no number of {', '.join(self._search.objectives)}"
            self._end(trial, TrialState.FAIL, None, why)

    def _end(
        self, trial: optuna.Trial, state: TrialState, values: Sequence[float] | None = None, failure: str | None = None
    ) -> None:
        if self._pulse is not None:
            self._pulse.end(trial._trial_id)
        # One that another machine took for abandoned is over.
        with suppress(UpdateFinishedTrialError):
            if failure is not None:
                trial.set_user_attr("failure", failure)
            self._trials.tell(
                trial, values if state is TrialState.COMPLETE else None, state=state, skip_if_finished=True
            )

    def _abandon(self, trial: int) -> None:
        """Gives a trial whose process is gone, or wants it no more, to whichever machine comes next."""
        storage = self._trials._storage
        with self._turn(), suppress(UpdateFinishedTrialError):
            frozen = storage.get_trial(trial)
            storage.set_trial_user_attr(trial, "failure", PREEMPTED)
            storage.set_trial_state_values(trial, TrialState.FAIL)
            identity = frozen.user_attrs.get("cell")
            if identity is not None:
                self._trials.add_trial(
                    optuna.trial.create_trial(
                        state=TrialState.WAITING,
                        system_attrs={"fixed_params": frozen.params},
                        user_attrs={"again": identity},
                        intermediate_values=frozen.intermediate_values,
                    )
                )
        if self._pulse is not None:
            self._pulse.end(trial)

    def _open(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        journal = str(self._store.root / JOURNAL)
        study = optuna.create_study(
            study_name=self._name,
            storage=self._shared.optuna
            if self._shared is not None
            else JournalStorage(JournalFileBackend(journal, JournalFileOpenLock(journal))),
            directions=[OBJECTIVES[name].direction for name in self._search.objectives],
            sampler=sampler(self._search.sampler, 0),
            pruner=pruner(self._search.pruner, self._study.schedule_of(self._search.method).steps),
            load_if_exists=True,
        )
        trials = study.get_trials(deepcopy=False)
        begin = Beginning(self._study, self._manifest, study)
        if not trials:
            self.notes += [begin.warm(folder) for folder in self._search.warm_start]
        if not trials or self._shared is not None:
            begin.remember(self._store, {trial.user_attrs.get("cell") for trial in trials})
        return study


def _is_given_back(trial: FrozenTrial) -> bool:
    """Whether a trial is over only because another stands for it."""
    return trial.state is TrialState.FAIL and trial.user_attrs.get("failure") == PREEMPTED
