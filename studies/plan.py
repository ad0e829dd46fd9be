"""The plan of a study in Optuna: cells wait in its queue, and small scalars of finished cells are mirrored there.

The cells' folders are the truth. Whatever the plan has lost or got wrong is put right from them when it is opened.
"""

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
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
        self._trials: dict[str, optuna.Trial] = {}
        design = hashlib.sha256(json.dumps(sorted(self._parameters)).encode()).hexdigest()[:8]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = _open(folder / JOURNAL, f"{name}-{design}")
        self._mirror(done, set(waiting), set(running))
        known = {trial.user_attrs.get("cell") for trial in self._in_state(TrialState.WAITING)}
        for identity in waiting:
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
            if identity not in self._parameters:
                # Another process emptied the queue in between, and Optuna made a trial up.
                self._study.tell(trial, state=TrialState.FAIL)
                continue
            for name in self._parameters[identity]:
                trial.suggest_categorical(name, self._choices[name])
            self._trials[identity] = trial
            return str(identity)
        return None

    def finish(self, identity: str, scalars: Mapping[str, float]) -> None:
        """Mirrors the scalars of a cell that is done; ``OBJECTIVE`` is the trial's value."""
        trial = self._trials.pop(identity, None)
        if trial is not None:
            for name, value in scalars.items():
                trial.set_user_attr(name, value)
            self._study.tell(trial, scalars[OBJECTIVE])

    def fail(self, identity: str, kind: str) -> None:
        """Notes that a cell failed, with the failure's kind, or was given back."""
        trial = self._trials.pop(identity, None)
        if trial is not None:
            trial.set_user_attr("failure", kind)
            self._study.tell(trial, state=TrialState.FAIL)

    def _in_state(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states)

    def _mirror(self, done: Mapping[str, Mapping[str, float]], waiting: set[str], running: set[str]) -> None:
        complete = {trial.user_attrs.get("cell") for trial in self._in_state(TrialState.COMPLETE)}
        for trial in self._in_state(TrialState.RUNNING, TrialState.WAITING):
            identity = trial.user_attrs.get("cell")
            is_abandoned = trial.state == TrialState.RUNNING and identity not in running
            if is_abandoned or (trial.state == TrialState.WAITING and identity not in waiting):
                if trial.state == TrialState.WAITING:
                    self._study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
                self._study.tell(trial.number, state=TrialState.FAIL)
        for identity, scalars in done.items():
            if identity not in complete and math.isfinite(scalars.get(OBJECTIVE, math.nan)):
                names = self._parameters[identity]
                self._study.add_trial(
                    optuna.trial.create_trial(
                        params=dict(names),
                        distributions={
                            name: optuna.distributions.CategoricalDistribution(self._choices[name]) for name in names
                        },
                        value=scalars[OBJECTIVE],
                        user_attrs={"cell": identity, **scalars},
                    )
                )


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
