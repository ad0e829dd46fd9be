"""A study with its results folder: what every command starts from. Needs no torch."""

import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq

from studies import benchmarks
from studies.costs import seconds, split_sizes, work_of
from studies.messages import OBJECTIVE
from studies.searched import searched_cells
from studies.settings import CellSettings, StudySettings, load_study, study_path
from studies.store import CellFolder, State, Store


@dataclass(frozen=True)
class Opened:
    """A study and where its results lie.

    Attributes:
        study: The settings.
        store: The results folder.
        arguments: What to type after ``gmixout study run`` to get this study again.
        path: The study's file.
    """

    study: StudySettings
    store: Store
    arguments: str
    path: Path
    _searched: dict[str, CellSettings | None] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def planned(self) -> tuple[CellSettings, ...]:
        """The cells that the study's file names; renders the benchmark, whose manifest is part of their identity."""
        return self.study.cells(benchmarks.load(self.study.benchmark).manifest)

    @property
    def cells(self) -> tuple[CellSettings, ...]:
        """Every cell of the study: those planned, and what its search has come upon so far."""
        return self._with_searched(self.planned)

    @property
    def stored_cells(self) -> tuple[CellSettings, ...]:
        """The cells with the manifest that results already have: quick, for looking at them only."""
        return self._with_searched(self._stored_planned)

    @cached_property
    def _stored_planned(self) -> tuple[CellSettings, ...]:
        for identity in self.store.identities():
            cell = self.store.cell(identity).settings()
            if cell is not None and cell.benchmark == self.study.benchmark:
                return self.study.cells(cell.manifest)
        return self.planned

    def _with_searched(self, planned: tuple[CellSettings, ...]) -> tuple[CellSettings, ...]:
        named = {cell.identity for cell in planned}
        searched = searched_cells(self.study, self.store, self._searched)
        return (*planned, *(cell for cell in searched if cell.identity not in named))

    @cached_property
    def work(self) -> dict[str, float]:
        """Seconds of every cell on one core of a small machine: a measure for progress."""
        sizes = split_sizes(benchmarks.load(self.study.benchmark))
        return {cell.identity: seconds(work_of(cell, sizes), cell.listed_as) for cell in self.planned}

    @cached_property
    def search_sample(self) -> CellSettings:
        """A cell such as the study's search proposes, for what all of them share."""
        assert self.study.search is not None
        manifest = benchmarks.load(self.study.benchmark).manifest
        return self.study.search_cell(manifest, self.study.search.middle)

    @cached_property
    def search_work(self) -> float:
        """Seconds of a search's cell on one core of a small machine: a measure for progress."""
        sizes = split_sizes(benchmarks.load(self.study.benchmark))
        return seconds(work_of(self.search_sample, sizes), self.search_sample.listed_as)

    def folder(self, cell: CellSettings) -> CellFolder:
        """The folder of a cell."""
        return self.store.cell(cell.identity)

    def states(self, cells: Iterable[CellSettings] | None = None) -> dict[str, State]:
        """Where every cell stands, by identity."""
        identities = [cell.identity for cell in (self.cells if cells is None else cells)]
        return {identity: self.store.state(identity) for identity in identities}

    def counts(self) -> Counter[State]:
        """How many cells stand where."""
        return Counter(self.states().values())

    def done_scalars(self) -> dict[str, dict[str, float]]:
        """What the plan mirrors of every finished cell, read from its folder."""
        finished = [cell.identity for cell in self.planned if self.folder(cell).is_done]
        return {identity: _scalars(self.store.cell(identity).path) for identity in finished}


def open_study(study: str, results: Path | None) -> Opened:
    """Reads a study's file and finds its results folder.

    Args:
        study: Name of a preset, or path of a YAML file.
        results: The results folder; by default ``results/<name of the study>``.

    Raises:
        StudyError: If the study's file is missing or wrong.
    """
    settings, path = load_study(study), study_path(study)
    if results is None:
        return Opened(settings, Store(Path("results") / settings.name), shlex.quote(study), path)
    return Opened(settings, Store(results), shlex.join([study, "--results", str(results)]), path)


def _scalars(folder: Path) -> dict[str, float]:
    wanted = [("weights", "=", "reported"), ("split", "=", "id_val"), ("metric", "=", "accuracy_score")]
    values = pq.read_table(folder / "metrics.parquet", columns=["value"], filters=wanted)["value"].to_pylist()
    return {OBJECTIVE: float(values[0])} if values else {}
