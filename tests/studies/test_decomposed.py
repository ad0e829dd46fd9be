"""A study's decomposition: its groups of runs, its splits, its numbers, and the command that writes it."""

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy

from analysis.decomposition import TERMS, decompose
from analysis.records import Records, cells_frame, curves_frame, examples_frame, metrics_frame, write
from studies.decomposed import COLUMNS, OOD, decomposed
from studies.frames import cell_row
from studies.store import LOGITS, MEMBERS, TABLES, Store
from tests.studies.running import gmixout

SPLITS = {"id_test": 12, "ood/real": 8, "ood/clipart": 5}


def kept(store: Store, cell, members: int = 2, classes: int = 4) -> dict[str, np.ndarray]:
    """A finished cell's folder with made-up answers."""
    rng = np.random.default_rng(int(cell.identity, 16))
    labels = {split: np.arange(size) % classes for split, size in SPLITS.items()}
    found = {split: rng.normal(size=(members, size, classes)).astype(np.float16) for split, size in SPLITS.items()}
    folder = store.cell(cell.identity)
    with folder.lease():
        folder.prepare(cell.canonical)
        arrays = {f"labels/{split}": values for split, values in labels.items()}
        safetensors.numpy.save_file(arrays, folder.path / LOGITS)
        if members:
            safetensors.numpy.save_file(
                {f"logits/{split}": part for split, part in found.items()}, folder.path / MEMBERS
            )
        row = cell_row(cell, "done", member_kind="visited")
        write(Records(cells_frame([row]), metrics_frame(), examples_frame(), curves_frame()), folder.path)
        folder.finish([LOGITS, *([MEMBERS] if members else []), *TABLES])
    return found


@pytest.fixture
def grouped(cells, tmp_path):
    store = Store(tmp_path / "results")
    store.open()
    cell = next(one for name, one in cells.items() if name.startswith("gmixout"))
    runs = [cell.model_copy(update={"seed": seed}) for seed in range(3)]
    logits = [kept(store, run) for run in runs]
    alone = cells["full"]
    kept(store, alone, members=0)
    return store, runs, logits, alone


def test_runs_of_a_setting_are_put_together(grouped) -> None:
    store, runs, logits, alone = grouped
    unfinished = runs[0].model_copy(update={"seed": 9})
    table = decomposed(store, [*runs, alone, unfinished])
    assert list(table.columns) == COLUMNS
    assert set(table["cells"]) == {tuple(run.identity for run in runs)}
    assert len(table) == (len(SPLITS) + 1) * 2 * len(TERMS)
    assert (table["sparsity"] == runs[0].levers["sparsity"]).all()
    ours = table[table["split"].eq("id_test") & table["loss"].eq("brier")].set_index("term")["estimate"]
    stacked = np.stack([found["id_test"] for found in logits])
    expected = decompose(stacked, np.arange(12) % 4).set_index("term")["estimate"]
    pd.testing.assert_series_equal(ours, expected)


def test_ood_is_the_mean_over_domains(grouped) -> None:
    store, runs, _, _ = grouped
    wide = decomposed(store, runs).pivot_table(index=["loss", "term"], columns="split", values="estimate")
    assert wide[OOD].to_numpy() == pytest.approx(((wide["ood/real"] + wide["ood/clipart"]) / 2).to_numpy())


def test_runs_with_other_numbers_of_members_are_left_out(grouped) -> None:
    store, runs, _, _ = grouped
    odd = runs[0].model_copy(update={"seed": 7})
    kept(store, odd, members=3)
    table = decomposed(store, [odd, *runs])
    assert table["members"].unique().tolist() == [2]
    assert table["runs"].unique().tolist() == [3]


def test_nothing_in_nothing_out(tmp_path) -> None:
    assert decomposed(Store(tmp_path), []).empty


def test_the_command_writes_it_without_torch(finished, tmp_path) -> None:
    folder, _ = finished
    out = tmp_path / "decomposition.csv"
    ended = gmixout("study", "decompose", "smoke", "--out", str(out), cwd=folder, has_torch=False)
    assert ended.returncode == 0, ended.stderr
    table = pd.read_csv(out, comment="#")
    assert set(table["loss"]) == {"brier", "cross_entropy"}
    assert {"id_test", OOD} <= set(table["split"])
    assert table.loc[table["term"].eq("gain"), "estimate"].notna().all()
    refused = gmixout("study", "decompose", "smoke", "--over", "members", cwd=folder, has_torch=False)
    assert refused.returncode != 0
    assert "--over must be one of" in refused.stderr
