"""A user's own image folders and a published backbone, end to end through the command line; what goes wrong is said."""

import json

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from analysis.records import read
from studies import backbones
from studies.settings import StudyError, load_study
from studies.store import Store
from tests.studies.running import gmixout

BACKBONE = "timm:test_vit.r160_in1k"
CLASSES = ("ash", "birch_tree", "oak")


def write_tree(root, classes, each, rng):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for image in range(each):
            pixels = rng.integers(0, 120, (180, 200 + 10 * image, 3), dtype=np.uint8)
            pixels[..., number % 3] += 100
            Image.fromarray(pixels).save(root / name / f"{image}.jpg", quality=90)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A study of own pictures, and a small published backbone's weights as its publisher lays them out."""
    rng = np.random.default_rng(0)
    write_tree(tmp_path / "studio", CLASSES, 12, rng)
    write_tree(tmp_path / "street", CLASSES[:2], 3, rng)
    declared = backbones.find(BACKBONE)
    weights = tmp_path / "weights" / declared.folder
    weights.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model("test_vit").state_dict(), weights / declared.files[0])
    monkeypatch.setenv("GMIXOUT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("GMIXOUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def write_study(folder, **changes):
    content = {
        "name": "trees",
        "folders": {"trees": {"id_root": "studio", "ood_roots": {"street": "street"}, "metric": "macro_f1"}},
        "benchmark": "trees",
        "backbones": [BACKBONE],
        "seeds": [0],
        "training": {"steps": 4, "batch_size": 6, "validate_every": 2, "learning_rates": [1e-3]},
        "evaluation": {"members": 2, "wise_alphas": [0.0, 1.0]},
        "methods": [
            {"name": "zero_shot"},
            {"name": "linear_probe"},
            {"name": "full", "wise": True, "training": {"recipe": {"augmentation": "crop"}}},
            {"name": "gmixout", "levers": {"sparsity": 0.5, "resample_every": 2}},
        ],
    }
    path = folder / "trees.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


@pytest.mark.slow
def test_runs_end_to_end_from_any_folder(pictures, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = write_study(pictures)
    planned = gmixout("study", "plan", str(path), "--json", cwd=elsewhere)
    assert json.loads(planned.stdout)["cells"] == 4
    ended = gmixout("study", "run", str(path), "--workers", "1", cwd=elsewhere)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    records = read(elsewhere / "results" / "trees" / "records")
    assert set(records.cells["method"]) == {"zero_shot", "linear_probe", "full+crop", "gmixout"}
    assert set(records.cells["status"]) == {"done"}
    assert records.cells["manifest"].nunique() == 1
    splits = records.metrics.query("weights == 'reported' and metric == 'macro_f1_score'")["split"]
    assert set(splits) == {"id_val", "id_test", "ood/street"}
    assert str(tmp_path) not in "".join(records.cells["settings"])
    assert list((elsewhere / "results" / "trees" / "figures").glob("*.png"))


def test_benchmark_that_the_backbone_cannot_take_is_one_line_before_any_work(pictures):
    path = write_study(pictures, backbones=["digits-vit"])
    ended = gmixout("study", "run", str(path), cwd=pictures)
    assert ended.returncode == 2
    assert "digits-vit" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not list((pictures / "results").glob("trees/cells/*"))


def test_damaged_picture_fails_its_cells_and_names_the_file(pictures):
    (pictures / "street" / "ash" / "1.jpg").write_bytes(b"\xff\xd8\xff no picture")
    path = write_study(pictures, methods=[{"name": "linear_probe"}])
    ended = gmixout("study", "run", str(path), "--workers", "1", "--no-figures", cwd=pictures)
    assert ended.returncode == 1
    store = Store(pictures / "results" / "trees")
    (identity,) = store.identities()
    failure = store.cell(identity).failure()
    assert failure.kind == "bad_data"
    assert "street/ash/1.jpg" in failure.message


def test_missing_weights_say_where_they_belong(pictures, monkeypatch):
    monkeypatch.setenv("GMIXOUT_WEIGHTS", str(pictures / "nowhere"))
    ended = gmixout("study", "run", str(write_study(pictures)), cwd=pictures)
    assert ended.returncode == 2
    assert "model.safetensors" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folders": {"trees": {"id_root": "studio", "ood_roots": {"a/b": "x"}}}}, ["folders.trees.ood_roots"]),
        ({"folders": {"trees": {"id_root": "studio", "id_val_fraction": 0.9}}}, ["folders.trees", "leave something"]),
        ({"folders": {"digits": {"id_root": "studio"}}}, ["folders", "'digits' is a benchmark of the suite"]),
        ({"benchmark": "bushes"}, ["benchmark: unknown benchmark", "one of folders"]),
        ({"backbones": ["timm:a b"]}, ["backbones.0", "timm:MODEL"]),
    ],
)
def test_wrong_settings_are_one_line(changes, words, pictures):
    with pytest.raises(StudyError) as error:
        load_study(str(write_study(pictures, **changes)))
    assert all(word in str(error.value) for word in words), str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_absent_folder_is_told_when_it_is_needed(pictures):
    path = write_study(pictures, folders={"trees": {"id_root": "studio", "ood_roots": {"street": "strasse"}}})
    ended = gmixout("study", "plan", str(path), "--no-forecast", cwd=pictures)
    assert ended.returncode == 2
    assert "strasse, which is not there" in ended.stderr
