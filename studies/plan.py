"""The plan of a study in Optuna: cells wait in its queue, and small scalars of finished cells are mirrored there.

The cells' folders are the truth. Whatever the plan has lost or got wrong is put right from them when it is opened.
"""

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from studies.failures import is_disk_full
from studies.messages import OBJECTIVE
from studies.settings import CellSettings

JOURNAL = "plan.journal"

logger = logging.getLogger(__name__)


class Plan:
    """The queue of one study.

    Args:
        folder: The results folder, where the journal lies.
        name: Name of the study.
        cells: Every cell of the design.
        done: Scalars of the cells whose folders say that they are done, by identity; each has ``OBJECTIVE``.
        waiting: Identities of the cells to run, in order.
        running: Identities that another process works on now.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        cells: Sequence[CellSettings],
        done: Mapping[str, Mapping[str, float]],
        waiting: Iterable[str],
        running: Iterable[str] = (),
    ) -> None:
        self._parameters = {cell.identity: _parameters(cell) for cell in cells}
        self._choices = _choices(self._parameters.values())
        self._wanted = list(waiting)
        self._trials: dict[str, optuna.Trial] = {}
        design = hashlib.sha256(json.dumps(sorted(self._parameters)).encode()).hexdigest()[:8]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = _open(folder / JOURNAL, f"{name}-{design}")
        self._mirror(done, set(running))
        known = {trial.user_attrs.get("cell") for trial in self._in_state(TrialState.WAITING)}
        for identity in self._wanted:
            if identity not in known:
                self.enqueue(identity)

    def enqueue(self, identity: str) -> None:
        """Puts a cell at the end of the queue."""
        self._study.enqueue_trial(self._parameters[identity], user_attrs={"cell": identity})

    def next(self) -> str | None:
        """Takes the next cell from the queue; None where it is empty."""
        while self._in_state(TrialState.WAITING):
            trial = self._study.ask()
            identity = trial.user_attrs.get("cell")
            if identity not in self._wanted:
                # Left over from an earlier run, or made up by Optuna since another run emptied the queue in between.
                self._discard(trial.number)
                continue
            try:
                for name in self._parameters[identity]:
                    trial.suggest_categorical(name, self._choices[name])
            except optuna.exceptions.UpdateFinishedTrialError:
                # Another run opened the plan just now and took the trial, not yet leased, for abandoned. The cell is
                # run all the same: `finish` adds a trial of its own, and the lease keeps it from running twice.
                return str(identity)
            self._trials[identity] = trial
            return str(identity)
        return None

    def finish(self, identity: str, scalars: Mapping[str, float]) -> None:
        """Mirrors the scalars of a cell that is done; ``OBJECTIVE`` is the trial's value."""
        trial = self._trials.pop(identity, None)
        if trial is None or not self._close(trial, scalars, scalars[OBJECTIVE], TrialState.COMPLETE):
            self._add(identity, scalars)

    def fail(self, identity: str, kind: str) -> None:
        """Notes that a cell failed, with the failure's kind, or was given back."""
        trial = self._trials.pop(identity, None)
        if trial is not None:
            self._close(trial, {"failure": kind}, None, TrialState.FAIL)

    def _close(self, trial: optuna.Trial, facts: Mapping[str, Any], value: float | None, state: TrialState) -> bool:
        try:
            for name, fact in facts.items():
                trial.set_user_attr(name, fact)
            self._study.tell(trial, value, state)
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError):
            # Another run of the study took it for abandoned; all the same the lease keeps the cell from running twice.
            return False
        return True

    def _add(self, identity: str, scalars: Mapping[str, float]) -> None:
        names = self._parameters[identity]
        choices: dict[str, optuna.distributions.BaseDistribution] = {
            name: optuna.distributions.CategoricalDistribution(self._choices[name]) for name in names
        }
        self._study.add_trial(
            optuna.trial.create_trial(
                params=dict(names),
                distributions=choices,
                value=scalars[OBJECTIVE],
                user_attrs={"cell": identity, **scalars},
            )
        )

    def _discard(self, number: int) -> None:
        # Another run of the study may finish it between Optuna's look at its state and the change of it.
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def _in_state(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states)

    def _mirror(self, done: Mapping[str, Mapping[str, float]], running: set[str]) -> None:
        complete = {trial.user_attrs.get("cell") for trial in self._in_state(TrialState.COMPLETE)}
        for trial in self._in_state(TrialState.RUNNING):
            if trial.user_attrs.get("cell") not in running:
                self._discard(trial.number)
        for identity, scalars in done.items():
            if identity not in complete and math.isfinite(scalars.get(OBJECTIVE, math.nan)):
                self._add(identity, scalars)


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


def _open(journal: Path, name: str) -> optuna.Study:
    try:
        return _load(journal, name)
    except Exception as error:
        if is_disk_full(error) or isinstance(error, PermissionError):
            raise
        # The journal only mirrors the cells' folders, so a damaged one is set aside and written anew.
        aside = journal.with_suffix(f".damaged-{len(list(journal.parent.glob('*.damaged-*'))) + 1}")
        journal.rename(aside)
        logger.warning("the plan %s could not be read (%s); it is now %s and is made anew", journal, error, aside.name)
        return _load(journal, name)


def _load(journal: Path, name: str) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(journal)))
    # The queue alone decides what runs; the sampler has nothing to choose.
    return optuna.create_study(
        study_name=name,
        storage=storage,
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
