"""Bias, variance, covariance of every setting of a study, from the kept logits of its runs. Needs no torch."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
from safetensors import safe_open

from analysis import decomposition
from analysis.decomposition import LOSSES, decompose
from analysis.records import LEVERS
from studies.settings import CellSettings
from studies.store import LOGITS, MEMBERS, Store

OOD = "ood"
"""The mean over the OOD domains, each counting alike."""

COLUMNS = ["benchmark", "backbone", "method", "learning_rate", *LEVERS, "member_kind", "split",
           *decomposition.COLUMNS, "cells"]  # fmt: skip


def decomposed(store: Store, cells: Iterable[CellSettings], over: str = "seeds", level: float = 0.95) -> pd.DataFrame:
    """The terms of every setting with members, on each plain split and on the mean of the OOD domains.

    Runs of one setting differ in their seed, or in the pretrained model that they start from. Settings without members,
    and cells that are not finished, are left out; how many runs are behind a row stands in ``runs``.

    Args:
        store: Where the finished cells lie.
        cells: Which may count.
        over: What the intervals are over, see :func:`analysis.decomposition.decompose`.
        level: Nominal coverage.

    Returns:
        A row a (setting, split, loss, term): ``benchmark``, ``backbone``, ``method``, ``learning_rate``, the levers,
        ``member_kind``, ``split``, the columns of ``decompose``, ``cells`` (tuple of identities).
    """
    rows: list[pd.DataFrame] = []
    for group in _groups(store, cells):
        about = pq.read_table(store.cell(group[0].identity).path / "cells.parquet").to_pylist()[0]
        known = {name: about[name] for name in COLUMNS if name in about}
        names = tuple(cell.identity for cell in group)
        for split, (logits, labels, weights) in _splits(store, group).items():
            for loss in LOSSES:
                found = decompose(logits, labels, loss, over, level, weights)  # type: ignore[arg-type]
                rows.append(found.assign(**known, split=split, cells=pd.Series([names] * len(found), dtype=object)))
    return pd.concat(rows, ignore_index=True)[COLUMNS] if rows else pd.DataFrame(columns=COLUMNS)


def _groups(store: Store, cells: Iterable[CellSettings]) -> Iterator[list[CellSettings]]:
    found: dict[str, list[CellSettings]] = {}
    for cell in cells:
        folder = store.cell(cell.identity)
        if folder.is_done and (folder.path / MEMBERS).exists():
            settings = json.loads(cell.canonical)
            kept = {name: value for name, value in settings.items() if name not in ("seed", "pretrain_seed", "sources")}
            found.setdefault(json.dumps(kept, sort_keys=True), []).append(cell)
    for group in found.values():
        by_number: dict[int, list[CellSettings]] = {}
        for cell in group:
            by_number.setdefault(_members(store, cell), []).append(cell)
        # Runs that kept another number of members (a pool of which one diverged) have no places in common.
        yield by_number[max(by_number, key=lambda number: (len(by_number[number]), number))]


def _members(store: Store, cell: CellSettings) -> int:
    with safe_open(store.cell(cell.identity).path / MEMBERS, framework="numpy") as file:
        return int(file.get_slice("logits/id_test").get_shape()[0])


def _splits(
    store: Store, group: list[CellSettings]
) -> dict[str, tuple[list[npt.NDArray[Any]], npt.NDArray[np.int64], npt.NDArray[np.float64] | None]]:
    paths = [store.cell(cell.identity).path for cell in group]
    logits: dict[str, list[npt.NDArray[Any]]] = {}
    for path in paths:
        with safe_open(path / MEMBERS, framework="numpy") as file:
            kept = [name for name in list(file.keys()) if name.startswith("logits/")]
            for name in kept:
                logits.setdefault(name.removeprefix("logits/"), []).append(file.get_tensor(name))
    with safe_open(paths[0] / LOGITS, framework="numpy") as file:
        labels = {split: file.get_tensor(f"labels/{split}") for split in logits}
    found = {split: (runs, labels[split], None) for split, runs in logits.items()}
    domains = [split for split in logits if split.startswith("ood/")]
    # Domains whose answers are of other classes cannot be put one after the other.
    if domains and len({logits[split][0].shape[2] for split in domains}) == 1:
        joined = [np.concatenate(runs, axis=1) for runs in zip(*(logits[split] for split in domains))]
        weights = np.concatenate([np.full(len(labels[split]), 1.0 / len(labels[split])) for split in domains])
        found[OOD] = joined, np.concatenate([labels[split] for split in domains]), weights  # type: ignore[assignment]
    return found  # type: ignore[return-value]
