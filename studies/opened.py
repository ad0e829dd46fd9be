"""A study with its results folder: what every command starts from. Needs no torch."""

import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq

from studies import benchmarks
from studies.costs import seconds, split_sizes, work_of
from studies.messages import OBJECTIVE
from studies.settings import CellSettings, StudySettings, load_study
from studies.store import SETTINGS, CellFolder, State, Store


@dataclass(frozen=True)
class Opened:
    """A study and where its results lie.

    Attributes:
        study: The settings.
        store: The results folder.
        arguments: What to type after ``gmixout study run`` to get this study again.
    """

    study: StudySettings
    store: Store
    arguments: str

    @cached_property
    def cells(self) -> tuple[CellSettings, ...]:
        """Every cell of the study; renders the benchmark, since its manifest is part of their identity."""
        return self.study.cells(benchmarks.load(self.study.benchmark).manifest)

    @cached_property
    def stored_cells(self) -> tuple[CellSettings, ...]:
        """The cells with the manifest that results already have: quick, for looking at them only."""
        for identity in self.store.identities():
            try:
                cell = CellSettings.from_canonical((self.store.cell(identity).path / SETTINGS).read_text())
            except (OSError, ValueError):
                continue
            if cell.benchmark == self.study.benchmark:
                return self.study.cells(cell.manifest)
        return self.cells

    @cached_property
    def work(self) -> dict[str, float]:
        """Seconds of every cell on one core of a small machine: a measure for progress."""
        sizes = split_sizes(benchmarks.load(self.study.benchmark))
        return {cell.identity: seconds(work_of(cell, sizes), cell.listed_as) for cell in self.cells}

    def folder(self, cell: CellSettings) -> CellFolder:
        """The folder of a cell."""
        return self.store.cell(cell.identity)

    def states(self, cells: Iterable[CellSettings] | None = None) -> dict[str, State]:
        """Where every cell stands, by identity."""
        return {cell.identity: self.folder(cell).state() for cell in (self.cells if cells is None else cells)}

    def counts(self) -> Counter[State]:
        """How many cells stand where."""
        return Counter(self.states().values())

    def done_scalars(self) -> dict[str, dict[str, float]]:
        """What the plan mirrors of every finished cell, read from its folder."""
        finished = [cell.identity for cell in self.cells if self.folder(cell).is_done]
        return {identity: _scalars(self.store.cell(identity).path) for identity in finished}


def open_study(study: str, results: Path | None) -> Opened:
    """Reads a study's file and finds its results folder.

    Args:
        study: Name of a preset, or path of a YAML file.
        results: The results folder; by default ``results/<name of the study>``.

    Raises:
        StudyError: If the study's file is missing or wrong.
    """
    settings = load_study(study)
    if results is None:
        return Opened(settings, Store(Path("results") / settings.name), shlex.quote(study))
    return Opened(settings, Store(results), shlex.join([study, "--results", str(results)]))


def _scalars(folder: Path) -> dict[str, float]:
    wanted = [("weights", "=", "reported"), ("split", "=", "id_val"), ("metric", "=", "accuracy_score")]
    values = pq.read_table(folder / "metrics.parquet", columns=["value"], filters=wanted)["value"].to_pylist()
    return {OBJECTIVE: float(values[0])} if values else {}
