"""The cells that a cell is built from: whether they are finished, and what they left behind."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import safetensors.numpy
import safetensors.torch
from torch import Tensor

from studies.failures import DIVERGED, BadData
from studies.settings import CellSettings
from studies.store import LOGITS, CellFolder

WEIGHTS = "weights.safetensors"
SUMMED = ("training_flops", "training_steps", "train_time_s")


@dataclass(frozen=True)
class Source:
    """A finished cell.

    Attributes:
        identity: The cell.
        logits: What its reported model answered, by split.
        weights: Its reported weights.
        facts: Its costs: those in ``SUMMED`` and ``stored_floats``, ``total_parameters``.
    """

    identity: str
    logits: dict[str, npt.NDArray[np.float16]]
    weights: dict[str, Tensor]
    facts: dict[str, float]


def read_sources(cell: CellSettings, folder: CellFolder) -> list[Source]:
    """The finished sources, in the cell's order; those that diverged are left out, as one would.

    Args:
        cell: Names its sources.
        folder: Its own folder; those of the sources lie beside it.

    Raises:
        BadData: If a source has neither finished nor diverged, or fewer than two have finished.
    """
    found = []
    for identity in cell.sources:
        beside = CellFolder(folder.path.parent / identity)
        failure = beside.failure()
        if not beside.is_done and failure is not None and failure.kind == DIVERGED:
            continue
        if not beside.is_done:
            why = f"it failed ({failure.kind}: {failure.message})" if failure else "it is not finished"
            raise BadData(f"{cell.method} is built from the cell {identity}, but {why}; retry that cell first")
        if problem := beside.problem():
            raise BadData(problem)
        found.append(_read(beside))
    if len(found) < 2:
        raise BadData(f"{cell.method} needs at least two finished runs, but {len(cell.sources) - len(found)} diverged")
    return found


def _read(folder: CellFolder) -> Source:
    arrays = safetensors.numpy.load_file(folder.path / LOGITS)
    row = pq.read_table(folder.path / "cells.parquet").to_pylist()[0]
    return Source(
        folder.identity,
        {name.removeprefix("logits/"): found for name, found in arrays.items() if name.startswith("logits/")},
        safetensors.torch.load_file(folder.path / WEIGHTS),
        {name: row[name] for name in (*SUMMED, "stored_floats", "total_parameters")},
    )
