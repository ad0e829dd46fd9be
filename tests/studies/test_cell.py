"""One cell from settings to records, on real handwriting."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.numpy

from analysis.accuracy import accuracy_score
from analysis.records import read
from studies import benchmarks
from studies.engine import Engine
from studies.failures import BadData, Diverged
from studies.messages import Moving
from studies.store import CellFolder, State
from tests.studies.running import Silent


@pytest.fixture(scope="module")
def done(cells, tmp_path_factory):
    """The folder of the finished cell of full fine-tuning, with a WiSE-FT curve and members."""
    from studies.cell import run_cell

    folder = CellFolder(tmp_path_factory.mktemp("cells") / cells["full"].identity)
    with folder.lease() as lease:
        scalars = run_cell(cells["full"], folder, lease, Silent())
    return folder, scalars


def test_files_and_marker(done):
    folder, _ = done
    assert folder.state() is State.DONE
    names = {path.name for path in folder.path.iterdir() if not path.name.startswith(".")}
    assert names == {
        "DONE", "settings.json", "weights.sha256", "logits.safetensors", "members.safetensors",
        "cells.parquet", "metrics.parquet", "examples.parquet", "curves.parquet",
    }  # fmt: skip
    assert folder.problem() is None


def test_records_follow_from_the_stored_logits(done, cells):
    folder, scalars = done
    records = read(folder.path)
    arrays = safetensors.numpy.load_file(folder.path / "logits.safetensors")
    benchmark = benchmarks.load("digits")
    reported = records.metrics.query("weights == 'reported' and metric == 'accuracy_score'").set_index("split")["value"]
    splits = {"id_val", "id_test", *benchmark.ood_splits, *benchmark.corruption_splits}
    assert set(reported.index) == splits
    for split in splits:
        labels = benchmark.load(split).labels
        assert (arrays[f"labels/{split}"] == labels).all()
        assert arrays[f"logits/{split}"].dtype == np.float16
        assert reported[split] == accuracy_score(arrays[f"logits/{split}"], labels)
        right = records.correct(folder.identity, split)
        assert (right is None) == split.startswith("corruption/")
        assert right is None or right.mean() == pytest.approx(reported[split])
    assert scalars["id_val_accuracy_score"] == reported["id_val"]


def test_wise_curve_ends_at_the_pretrained_and_the_reported_model(done, cells, tmp_path, run_cell):
    folder, _ = done
    zero = CellFolder(tmp_path / "zero")
    run_cell(zero, cells["zero_shot"])
    metrics = read(folder.path).metrics.query("metric == 'accuracy_score'")
    pretrained = read(zero.path).metrics.query("weights == 'reported' and metric == 'accuracy_score'")
    wise = metrics[metrics["weights"].eq("wise")]
    assert sorted(wise["alpha"].unique()) == list(cells["full"].evaluation.wise_alphas)
    ends = {0.0: pretrained, 1.0: metrics[metrics["weights"].eq("reported")]}
    for alpha, expected in ends.items():
        found = wise[wise["alpha"].eq(alpha)].set_index("split")["value"]
        assert (found == expected.set_index("split")["value"].loc[found.index]).all()


def test_row_tells_counts_times_and_provenance(done, cells):
    folder, _ = done
    row = read(folder.path).cells.iloc[0]
    assert row["cell"] == cells["full"].identity == json.loads(json.dumps(folder.identity))
    assert row["trained_per_episode"] == row["touched_over_run"] == row["total_parameters"] > 0
    assert row["member_kind"] == "trajectory"
    assert 0 < row["train_time_s"] < row["wall_time_s"]
    assert row["peak_memory_bytes"] > 2**20
    assert row["manifest"] == benchmarks.load("digits").manifest
    assert json.loads(row["library_versions"]).keys() >= {"torch", "numpy", "python"}
    assert row["device"].startswith("cpu")
    engine = json.loads(row["engine"])
    assert engine.pop("device") == "cpu"
    assert Engine.of(engine) == Engine()


def test_row_tells_the_engine_and_the_cell_is_the_same(cells, tmp_path, run_cell):
    """Cut batches and recomputed blocks are told, and no part of the identity."""
    short = cells["full"].model_copy(update={"training": cells["full"].training.model_copy(update={"steps": 2})})
    engine = Engine(micro_batch=4, recomputes=True)
    folder = CellFolder(tmp_path / short.identity)
    run_cell(folder, short, engine=engine)
    row = read(folder.path).cells.iloc[0]
    assert Engine.of(json.loads(row["engine"])) == engine
    assert row["cell"] == short.identity


def test_members_are_kept_and_measured(cells, tmp_path, run_cell):
    folder = CellFolder(tmp_path / "gmixout")
    run_cell(folder, cells["gmixout-latest"])
    records = read(folder.path)
    stored = safetensors.numpy.load_file(folder.path / "members.safetensors")
    labels = benchmarks.load("digits").load("id_test").labels
    each = records.metrics.query("weights == 'member' and metric == 'accuracy_score' and split == 'id_test'")
    assert each["value"].tolist() == [accuracy_score(logits, labels) for logits in stored["logits/id_test"]]
    assert records.cells["member_kind"].item() == "visited"
    assert records.cells["subnetworks"].item() == 4
    names = set(records.metrics.query("weights == 'members'")["metric"])
    assert names >= {"label_disagreement_score", "ratio_error_score", "q_statistic_error", "double_fault_error"}
    assert names >= {"feature_diversity_score", "js_divergence_score", "effective_members_score"}


def test_selection_sees_id_validation_alone(cells, tmp_path, run_cell, monkeypatch):
    """Training, the choice of the checkpoint and the plan's scalars stay the same where all test labels are others."""
    import studies.cell

    cell = cells["full"]
    training = cell.training.model_copy(update={"validate_every": 4, "checkpoint_selection": "best_id_val"})
    cell = cell.model_copy(update={"training": training})
    real, other = CellFolder(tmp_path / "real"), CellFolder(tmp_path / "other")
    one = run_cell(real, cell)
    benchmark = benchmarks.load("digits")

    class Permuted:
        def __getattr__(self, name):
            return getattr(benchmark, name)

        def load(self, split):
            found = benchmark.load(split)
            if split in ("train", "id_val"):
                return found
            return dataclasses.replace(found, images=found.images[::-1].copy(), labels=(found.labels + 1) % 10)

    monkeypatch.setattr(studies.cell, "_benchmark", lambda *about: Permuted())
    two = run_cell(other, cell)
    assert (real.path / "weights.sha256").read_text() == (other.path / "weights.sha256").read_text()
    assert one["id_val_accuracy_score"] == two["id_val_accuracy_score"]
    assert {name.split("_")[0] for name in one} <= {"id", "train", "wall"}
    assert not any("test" in name or "ood" in name for name in one)


def test_progress_rises_from_training_through_evaluation(cells, tmp_path, run_cell):
    heard: list[Moving] = []

    class Hears(Silent):
        def move(self, moving):
            heard.append(moving)

    run_cell(CellFolder(tmp_path / "cell"), cells["random_mask"], Hears())
    fractions = [moving.fraction for moving in heard]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert [moving.phase for moving in heard if moving.done == moving.total] == ["training", "evaluating"]


def test_diverged_and_foreign_data_are_told_apart(cells, tmp_path, run_cell):
    wild = cells["full"].model_copy(update={"learning_rate": 1e20})
    with pytest.raises(Diverged):
        run_cell(CellFolder(tmp_path / "wild"), wild)
    with pytest.raises(BadData, match="gmixout data check digits"):
        run_cell(CellFolder(tmp_path / "foreign"), cells["full"].model_copy(update={"manifest": "0" * 64}))
