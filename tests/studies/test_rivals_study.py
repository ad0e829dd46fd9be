"""Every method in one study on the real benchmark: undisturbed and with workers killed; what pools and costs are."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from filelock import FileLock

from analysis.accuracy import accuracy_score
from analysis.records import read
from studies import benchmarks
from studies.lease import holder
from studies.settings import load_study
from studies.settings.traits import TRAITS
from studies.store import State, Store
from tests.studies.running import gmixout, killed_at_last, start, wait_for, write_study

# Minutes of real runs.
pytestmark = pytest.mark.slow

NO_CORRUPTIONS = {"corruptions": False, "attack": {"epsilon": 0.03, "steps": 2, "examples": 20}}


def plan_of(folder: Path):
    return load_study(str(folder / "rivals-smoke.yaml")).cells(benchmarks.load("digits").manifest)


@pytest.fixture(scope="session")
def whole(cache, tmp_path_factory):
    """The folder of a study of all methods, run to its end once for all of pytest's workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "rivals"
    with FileLock(shared / "rivals.lock"):
        if not folder.exists():
            folder.mkdir()
            path = write_study(folder, "rivals-smoke", evaluation=NO_CORRUPTIONS)
            ended = gmixout("study", "run", str(path), "--workers", "2", "--no-figures", cwd=folder, timeout_s=300)
            assert ended.returncode == 0, ended.stdout + ended.stderr
            (folder / "said.txt").write_text(ended.stdout)
    return folder


@pytest.fixture(scope="session")
def stored(whole):
    """Its records, and its store."""
    root = whole / "results" / "rivals-smoke"
    return read(root / "records"), Store(root)


def row_of(records, method):
    return records.cells[records.cells["method"].eq(method)].iloc[0]


def test_every_method_is_in_the_records_and_ingredients_are_not(whole, stored):
    records, _ = stored
    assert set(records.cells["status"]) == {"done"}
    expected = set(TRAITS) - {"flyp"} | {"gmixout+crop+randaugment"}
    assert set(records.cells["method"]) == expected
    assert len(records.cells) == sum(not cell.is_ingredient for cell in plan_of(whole))
    said = (whole / "said.txt").read_text()
    assert "flyp is left out for digits-vit-tiny" in said
    for word in ("SWAD", "LoRA", "Greedy soup", "Ensemble"):
        assert word in said


def test_costs_add_up(whole, stored):
    records, store = stored
    full, soup, ensemble = (row_of(records, name) for name in ("full", "uniform_soup", "ensemble"))
    sources = json.loads(ensemble["settings"])["sources"]
    runs = [read(store.cell(identity).path).cells.iloc[0] for identity in sources]
    assert len(runs) == 3
    for built in (soup, ensemble):
        assert built["training_steps"] == 3 * full["training_steps"] == 36
        assert built["training_flops"] == sum(run["training_flops"] for run in runs) > 0
        assert built["train_time_s"] == pytest.approx(sum(run["train_time_s"] for run in runs))
        assert built["member_kind"] == "runs"
    assert (full["inference_passes"], soup["inference_passes"], ensemble["inference_passes"]) == (1, 1, 3)
    total = full["total_parameters"]
    assert full["stored_floats"] == 3 * total
    assert row_of(records, "ema")["stored_floats"] == 4 * total
    assert row_of(records, "l2_sp")["stored_floats"] == 4 * total
    assert total < row_of(records, "lora")["stored_floats"] < 1.5 * total
    gmixout = records.cells[records.cells["method"].eq("gmixout")].iloc[0]
    assert total < gmixout["stored_floats"] < full["stored_floats"]
    # The probe never runs backwards through the features; the attack's own passes are not training's.
    assert row_of(records, "linear_probe")["training_flops"] < full["training_flops"] / 2
    assert row_of(records, "zero_shot")["training_flops"] == 0


def test_ensemble_and_soup_are_their_runs(whole, stored):
    records, store = stored
    ensemble, soup = (row_of(records, name) for name in ("ensemble", "uniform_soup"))
    labels = benchmarks.load("digits").load("id_test").labels
    folders = [store.cell(identity).path for identity in json.loads(ensemble["settings"])["sources"]]
    logits = [safetensors.numpy.load_file(path / "logits.safetensors")["logits/id_test"] for path in folders]
    exact = np.exp(np.stack(logits).astype(np.float64))
    exact = (exact / exact.sum(axis=2, keepdims=True)).mean(axis=0)
    metrics = records.metrics.query("split == 'id_test' and metric == 'accuracy_score'").set_index(["cell", "weights"])
    assert metrics.loc[(ensemble["cell"], "reported"), "value"] == accuracy_score(np.log(exact), labels)
    assert metrics.loc[(ensemble["cell"], "ensemble"), "value"] == accuracy_score(np.log(exact), labels)
    kept = [safetensors.torch.load_file(path / "weights.safetensors") for path in folders]
    from gmixout.accounting import fingerprint

    mean = {name: torch.stack([one[name] for one in kept]).mean(dim=0) for name in kept[0]}
    stored_hash = (store.cell(soup["cell"]).path / "weights.sha256").read_text().strip()
    assert stored_hash == fingerprint(mean)
    size = records.metrics.query("metric == 'soup_size'").set_index("cell")["value"]
    assert size[soup["cell"]] == 3
    assert 1 <= size[row_of(records, "greedy_soup")["cell"]] <= size[row_of(records, "diwa")["cell"]] <= 3


def test_fresh_members_and_robust_accuracy_are_measured(stored):
    records, _ = stored
    metrics = records.metrics
    masked = records.cells.loc[records.cells["sparsity"].notna(), "cell"]
    fresh = metrics[metrics["weights"].eq("fresh_ensemble")]
    assert set(fresh["cell"]) == set(masked)
    robust = metrics[metrics["metric"].eq("robust_accuracy_score")]
    assert set(robust["cell"]) == set(records.cells.loc[records.cells["method"].ne("ensemble"), "cell"])
    assert robust["value"].between(0, 1).all()
    names = {"cross_entropy_error", "brier_error", "calibration_error", "classwise_calibration_error",
             "adaptive_calibration_error"}  # fmt: skip
    assert names <= set(metrics["metric"])


@pytest.mark.slow
def test_killed_workers_change_nothing(whole, cache, tmp_path):
    """Workers die again and again, whatever they run; every cell ends bit-equal to the undisturbed study's."""
    path = write_study(tmp_path, "rivals-smoke", evaluation=NO_CORRUPTIONS)
    process = start("study", "run", str(path), "--workers", "2", "--no-figures", cwd=tmp_path)
    store = Store(tmp_path / "results" / "rivals-smoke")

    def victim():
        for identity in store.identities():
            if store.cell(identity).state() is State.RUNNING and identity not in struck:
                claim = holder(store.cell(identity).path)
                if claim and claim.get("pid") != process.pid:
                    return identity, int(claim["pid"])
        return process.poll() is not None

    struck: set[str] = set()
    with killed_at_last(process):
        while len(struck) < 8 and (found := wait_for(victim)) is not True:
            identity, pid = found
            # A moment into the cell, so that training, evaluation and building are all hit in the course of the study.
            time.sleep(0.15 * (len(struck) % 4))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            struck.add(identity)
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert len(struck) >= 4, said
    one, two = (Store(folder / "results" / "rivals-smoke") for folder in (whole, tmp_path))
    assert one.identities() == two.identities()
    for identity in one.identities():
        folders = [found.cell(identity).path for found in (one, two)]
        for name in ("weights.sha256", "logits.safetensors", "members.safetensors"):
            contents = {(folder / name).read_bytes() if (folder / name).exists() else b"" for folder in folders}
            assert len(contents) == 1, (identity, name)
