"""A search in Optuna: which settings are tried next, and which runs end early, in the light of all before them.

Its history is a journal of its own in the results folder. The cells' folders are the truth: a trial that was running
goes on where its cell stands, and a journal that is lost is written anew from the finished cells. With one worker the
same search gives the same trials, however often it is killed.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from analysis.records import read
from studies.objectives import values_of
from studies.samplers import distribution, pruner, sampler, suggested
from studies.searched import searched_cells
from studies.settings import OBJECTIVES, CellSettings, StudySettings
from studies.store import ResultsError, State, Store

JOURNAL = "search.journal"


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

    Raises:
        ResultsError: If records to start from cannot be had.
    """

    def __init__(self, study: StudySettings, manifest: str, store: Store, cell_work: float = 1.0) -> None:
        assert study.search is not None
        self._study, self._search, self._manifest, self._store = study, study.search, manifest, store
        self.cell_work = cell_work
        self.notes: list[str] = []
        self._held: dict[str, list[optuna.Trial]] = {}
        self._reported: set[tuple[str, int]] = set()
        journal = store.root / JOURNAL
        self._lock = FileLock(journal.with_suffix(".lock"))
        with self._lock:
            self._trials = self._open(journal)
            self._again = [trial for trial in self._all() if trial.state is TrialState.RUNNING]
        self._left = self._search.trials - len(self._own())

    @property
    def left(self) -> int:
        """How many cells are still to come."""
        return max(0, self._left) + len(self._again)

    def next(self) -> CellSettings | None:
        """The next cell that is not done yet; None where none can be had now."""
        with self._lock:
            while (trial := self._trial()) is not None:
                cell = self._cell(trial)
                if cell is None:
                    continue
                is_held = cell.identity in self._held
                self._held.setdefault(cell.identity, []).append(trial)
                folder = self._store.cell(cell.identity)
                if folder.state() in (State.DONE, State.FAILED, State.PRUNED) and not folder.may_run():
                    self.settle(cell.identity)
                elif not is_held:
                    # A twin of a running cell waits for that one's result.
                    return cell
        return None

    def judge(self, identity: str, step: int, score: float) -> bool:
        """Whether a running cell ends here."""
        if self._search.pruner is None or identity not in self._held:
            return False
        trial = self._held[identity][0]
        # A cell that went on from an older checkpoint sees the same validation again.
        if (identity, step) not in self._reported:
            self._reported.add((identity, step))
            trial.report(score, step)
        return trial.should_prune()

    def settle(self, identity: str) -> None:
        """Tells the trials of a cell what its folder says."""
        trials = self._held.pop(identity, [])
        if self._store.cell(identity).may_run():
            # Preempted for good in this run, or the disk was full: the next run goes on with it.
            return
        for trial in trials:
            self._tell(trial, identity)

    def found(self) -> list[Found]:
        """The best trial; of several objectives, those of which none is better in all."""
        with self._lock:
            best = self._trials.best_trials
        return [
            Found(
                trial.user_attrs["cell"],
                trial.user_attrs["label"],
                trial.params,
                dict(zip(self._search.objectives, trial.values, strict=True)),
            )
            for trial in best
        ]

    def counts(self) -> dict[str, int]:
        """How many trials of its own are complete, pruned, failed and running."""
        states = [trial.state.name.lower() for trial in self._own()]
        return {state: states.count(state) for state in ("complete", "pruned", "fail", "running")}

    def _all(self) -> list[FrozenTrial]:
        return self._trials.get_trials(deepcopy=False)

    def _own(self) -> list[FrozenTrial]:
        return [trial for trial in self._all() if "warm" not in trial.user_attrs]

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
        self._left = self._search.trials - len(self._own())
        if self._left <= 0:
            return None
        # One seed a trial, so that a search that was stopped draws what it would have drawn.
        self._trials.sampler = sampler(self._search.sampler, len(self._all()))
        trial = self._trials.ask()
        self._left -= 1
        return trial

    def _cell(self, trial: optuna.Trial) -> CellSettings | None:
        point = {name: suggested(trial, name, values) for name, values in self._search.space.items()}
        try:
            cell = self._study.search_cell(self._manifest, point)
        except ValueError as impossible:
            trial.set_user_attr("failure", f"impossible: {impossible}")
            self._trials.tell(trial, state=TrialState.FAIL)
            return None
        for name, fact in _facts(cell).items():
            trial.set_user_attr(name, fact)
        return cell

    def _tell(self, trial: optuna.Trial, identity: str) -> None:
        folder = self._store.cell(identity)
        failure = folder.failure()
        values = values_of(read(folder.path), self._search.objectives) if folder.is_done else []
        if values and all(map(math.isfinite, values)):
            self._trials.tell(trial, values, skip_if_finished=True)
            return
        state = folder.state()
        why = failure.kind if failure is not None else f"no number of {', '.join(self._search.objectives)}"
        if state is not State.PRUNED:
            trial.set_user_attr("failure", why)
        told = TrialState.PRUNED if state is State.PRUNED else TrialState.FAIL
        self._trials.tell(trial, state=told, skip_if_finished=True)

    def _open(self, journal: Path) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        lock = JournalFileOpenLock(str(journal))
        said = self._search.model_dump_json(exclude={"trials", "warm_start"}) + self._manifest
        study = optuna.create_study(
            study_name=f"{self._study.name}-{hashlib.sha256(said.encode()).hexdigest()[:8]}",
            storage=JournalStorage(JournalFileBackend(str(journal), lock)),
            directions=[OBJECTIVES[name].direction for name in self._search.objectives],
            sampler=sampler(self._search.sampler, 0),
            pruner=pruner(self._search.pruner, self._study.schedule_of(self._search.method).steps),
            load_if_exists=True,
        )
        if not study.get_trials(deepcopy=False):
            for folder in self._search.warm_start:
                self._warm(study, folder)
            self._remember(study)
        return study

    def _warm(self, study: optuna.Study, folder: Path) -> None:
        try:
            records = read(folder)
        except ValueError as error:
            raise ResultsError(f"search.warm_start: {error}") from error
        points: dict[str, tuple[dict[str, Any], list[list[float]]]] = {}
        others = 0
        for identity, stored in zip(records.cells["cell"], records.cells["settings"]):
            cell = self._repeated(stored)
            values = values_of(records.keep([identity]), self._search.objectives) if cell is not None else []
            if cell is None or not all(map(math.isfinite, values)):
                others += 1
                continue
            points.setdefault(cell.identity, (self._search.values(cell), []))[1].append(values)
        for point, found in points.values():
            means = [sum(column) / len(found) for column in zip(*found, strict=True)]
            self._add(study, point, means, {"warm": str(folder)})
        self.notes.append(
            f"begun from {folder}: {len(points)} settings, means over seeds; {others} other cells left out"
        )

    def _repeated(self, stored: str) -> CellSettings | None:
        """The search's own cell where a stored one differs from it only in what is no setting; else None."""
        earlier = CellSettings.from_canonical(stored)
        try:
            own = self._study.search_cell(self._manifest, self._search.values(earlier))
        except ValueError:
            return None
        same = {name: getattr(own, name) for name in ("seed", "pretrain_seed", "variant", "evaluation")}
        return own if earlier.model_copy(update=same).identity == own.identity else None

    def _remember(self, study: optuna.Study) -> None:
        """Adds what finished before the journal was lost."""
        for cell in searched_cells(self._study, self._store, {}):
            folder, point = self._store.cell(cell.identity), self._search.values(cell)
            if folder.is_done:
                values = values_of(read(folder.path), self._search.objectives)
                if all(map(math.isfinite, values)):
                    self._add(study, point, values, _facts(cell))
            elif folder.state() is State.PRUNED:
                self._add(study, point, None, _facts(cell), TrialState.PRUNED)

    def _add(
        self,
        study: optuna.Study,
        point: Mapping[str, Any],
        values: list[float] | None,
        facts: Mapping[str, Any],
        state: TrialState = TrialState.COMPLETE,
    ) -> None:
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                params=dict(point),
                distributions={name: distribution(values) for name, values in self._search.space.items()},
                values=values,
                user_attrs={"cell": "", "label": "", **facts},
            )
        )


def _facts(cell: CellSettings) -> dict[str, str]:
    return {"cell": cell.identity, "label": cell.label}
