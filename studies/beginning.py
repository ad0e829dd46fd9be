"""What a search knows before its first trial: records of another study, and cells of its own that are done."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from analysis.records import read
from studies.objectives import values_of
from studies.samplers import distribution
from studies.searched import searched_cells
from studies.settings import CellSettings, StudySettings
from studies.store import ResultsError, State, Store


class Beginning:
    """Fills a search's history.

    Args:
        settings: The study, with a search.
        manifest: The benchmark's manifest.
        study: Optuna's, which keeps the history.
    """

    def __init__(self, settings: StudySettings, manifest: str, study: optuna.Study) -> None:
        assert settings.search is not None
        self._settings, self._search, self._manifest = settings, settings.search, manifest
        self._study = study

    def warm(self, folder: Path) -> str:
        """Adds the settings of another study's records, each with its mean over seeds; returns how many, in words.

        Args:
            folder: The records.

        Raises:
            ResultsError: If there are none.
        """
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
            self._add(point, means, {"warm": str(folder)})
        return f"begun from {folder}: {len(points)} settings, means over seeds; {others} other cells left out"

    def remember(self, store: Store, known: Collection[str | None]) -> None:
        """Adds what finished before the history was lost, or before other machines were told of.

        Args:
            store: The results folder.
            known: Identities of cells that the history has.
        """
        for cell in searched_cells(self._settings, store, {}):
            if cell.identity in known:
                continue
            folder, point = store.cell(cell.identity), self._search.values(cell)
            if folder.is_done:
                values = values_of(read(folder.path), self._search.objectives)
                if all(map(math.isfinite, values)):
                    self._add(point, values, facts(cell))
            elif folder.state() is State.PRUNED:
                self._add(point, None, facts(cell), TrialState.PRUNED)

    def _repeated(self, stored: str) -> CellSettings | None:
        """The search's own cell where a stored one differs from it only in what is no setting; else None."""
        earlier = CellSettings.from_canonical(stored)
        try:
            own = self._settings.search_cell(self._manifest, self._search.values(earlier))
        except ValueError:
            return None
        same = {name: getattr(own, name) for name in ("seed", "pretrain_seed", "variant", "evaluation")}
        return own if earlier.model_copy(update=same).identity == own.identity else None

    def _add(
        self,
        point: Mapping[str, Any],
        values: list[float] | None,
        about: Mapping[str, Any],
        state: TrialState = TrialState.COMPLETE,
    ) -> None:
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state,
                params=dict(point),
                distributions={name: distribution(values) for name, values in self._search.space.items()},
                values=values,
                user_attrs={"cell": "", "label": "", **about},
            )
        )


def facts(cell: CellSettings) -> dict[str, str]:
    """What a trial keeps of its cell."""
    return {"cell": cell.identity, "label": cell.label}
