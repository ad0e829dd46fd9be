"""The field's benchmarks from their publishers' files to records, by the command line; numbers by others' code."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import timm
import torch
import yaml
from filelock import FileLock
from PIL import Image
from sklearn.metrics import accuracy_score, recall_score
from torchvision import transforms

from analysis.records import read
from studies import backbones
from studies.sources import LOGITS, WEIGHTS
from studies.store import Store
from tests.studies.benchmarks.official import IWildCamDataset
from tests.studies.benchmarks.trees import WNIDS, write_all
from tests.studies.running import environment

# Minutes of real runs.
pytestmark = pytest.mark.slow

BACKBONE = "timm:test_vit.r160_in1k"
FAMILIES = ("iwildcam", "domainnet-sentry-real", "imagenet", "imagenet-lt", "cifar100c", "cifar100-lt")
SPLITS = {
    "iwildcam": {"id_val", "id_test", "ood/test"},
    "domainnet-sentry-real": {"id_val", "id_test", "ood/clipart", "ood/painting", "ood/sketch"},
    "imagenet": {"id_val", "id_test", "ood/v2", "ood/r", "ood/a", "ood/sketch", "ood/objectnet"},
    "imagenet-lt": {"id_val", "id_test"},
    "cifar100c": {"id_val", "id_test"},
    "cifar100-lt": {"id_val", "id_test"},
}
TAILS = {"imagenet-lt": [4, 4, 4, 3, 3, 3, 2, 2, 2, 1, 1, 1], "cifar100-lt": [25, 20, 17, 14, 12, 10, 8, 7, 5, 5]}
"""Training images of each class."""
HERE = Path(__file__).parent


def write_weights(folder):
    """A small published network's file, as its publisher lays it out."""
    declared = backbones.find(BACKBONE)
    (folder / declared.folder).mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        safetensors.torch.save_file(
            timm.create_model("test_vit").state_dict(), folder / declared.folder / declared.files[0]
        )


def write_study(folder, benchmark, **changes):
    content = {
        "name": benchmark,
        "plugins": ["minis.py"],
        "benchmark": benchmark,
        "backbones": [BACKBONE],
        "seeds": [0],
        "training": {"steps": 3, "batch_size": 6, "validate_every": 3, "learning_rates": [1e-3]},
        "evaluation": {"keep_weights": True},
        "execution": {"readers": 2, "prefetch": 1},
        "methods": [{"name": "full", "training": {"recipe": {"augmentation": "crop", "flip": 0.5}}}],
    }
    path = folder / f"{benchmark}.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return str(path)


def drive(lines, cwd):
    """Exit codes and all output of commands that one process runs in turn."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.studies.benchmarks.driver"],
        input="".join(json.dumps(line) + "\n" for line in lines),
        cwd=cwd, capture_output=True, text=True, timeout=300, env=environment(),
    )  # fmt: skip
    codes = [int(line.split()[1]) for line in ended.stderr.splitlines() if line.startswith("exit ")]
    return codes, ended.stdout, ended.stderr


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """Every family planned, run and checked, once for all workers of pytest; folders are named, not by variables."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / "families", shared / "families.json"
    with FileLock(shared / "families.lock"):
        if not done.exists():
            folder.mkdir()
            trees = write_all(folder / "data")
            write_weights(folder / "weights")
            shutil.copy(HERE / "minis.py", folder)
            (folder / "minis.pickle").write_bytes(pickle.dumps(trees.facts))
            lines = []
            for name in FAMILIES:
                study = write_study(folder, name)
                places = ["--data", "data", "--weights", "weights", "--workers", "1"]
                lines.append(["study", "plan", study, *places, "--no-forecast", "--json"])
                figures = [] if name == "imagenet" else ["--no-figures"]
                lines.append(["study", "run", study, *places, *figures])
                lines.append(["data", "check", name, "--data", "data", "--images", "--workers", "1"])
            variables = {"GMIXOUT_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
            with pytest.MonkeyPatch.context() as patch:
                for variable, value in variables.items():
                    patch.setenv(variable, value)
                for variable in ("GMIXOUT_DATA", "GMIXOUT_WEIGHTS"):
                    patch.delenv(variable, raising=False)
                done.write_text(json.dumps(drive(lines, folder)))
    return folder, *json.loads(done.read_text())


class Found:
    """One family's records, logits, labels and weights."""

    def __init__(self, folder, name):
        store = Store(folder / "results" / name)
        (identity,) = store.identities()
        place = store.cell(identity).path
        self.records = read(store.root / "records")
        arrays = safetensors.numpy.load_file(place / LOGITS)
        self.logits, self.labels = (
            {key.removeprefix(f"{kind}/"): value for key, value in arrays.items() if key.startswith(f"{kind}/")}
            for kind in ("logits", "labels")
        )
        self.weights = safetensors.torch.load_file(place / WEIGHTS)

    def score(self, split, metric):
        rows = self.records.metrics.query("weights == 'reported' and split == @split and metric == @metric")
        (value,) = rows["value"]
        return value

    def answers(self, images):
        """What the kept weights answer to pictures, by timm and torchvision alone: logits less the largest."""
        body = {name.removeprefix("body."): value for name, value in self.weights.items() if name.startswith("body.")}
        head = {f"head.{part}": self.weights[f"head.{part}"] for part in ("weight", "bias")}
        model = timm.create_model("test_vit", num_classes=len(head["head.bias"])).eval()
        model.load_state_dict(body | head)
        seen = transforms.Compose([
            transforms.Resize(168, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(160),
            transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3),
        ])  # fmt: skip
        with torch.inference_mode():
            return model(torch.stack([seen(image) for image in images])).numpy()

    def agrees(self, split, logits, labels):
        """Whether stored logits are these, but for rounding to half precision, and stored labels exactly these."""
        shifted = logits - logits.max(axis=1, keepdims=True)
        np.testing.assert_allclose(self.logits[split], shifted, rtol=2 * np.finfo(np.float16).eps, atol=1e-5)
        assert self.labels[split].tolist() == list(labels)
        return True


@pytest.fixture(scope="module")
def found(ran):
    return {name: Found(ran[0], name) for name in FAMILIES}


def pictures(folder):
    """Files below class folders, by folder and name, and the folders' names."""
    files = sorted(folder.glob("*/*"), key=lambda file: (file.parent.name, file.name))
    return [Image.open(file).convert("RGB") for file in files], [file.parent.name for file in files]


def test_every_family_is_planned_run_and_checked(ran, found):
    folder, codes, output, errors = ran
    assert codes == [0] * 3 * len(FAMILIES), errors
    for name in FAMILIES:
        assert f'"study": "{name}"' in output
        assert f"{name}: all well, manifest {found[name].records.cells['manifest'][0][:16]}" in output
        assert found[name].records.cells["status"].tolist() == ["done"]
        assert found[name].records.cells["method"].tolist() == ["full+crop+flip"]
        plain = {split for split in found[name].labels if not split.startswith("corruption/")}
        assert plain == SPLITS[name]
        assert str(folder) not in "".join(found[name].records.cells["settings"])
    assert list((folder / "results" / "imagenet" / "figures").glob("*.png"))


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_are_those_of_scikit_learn(name, found):
    for split, labels in found[name].labels.items():
        predicted = found[name].logits[split].argmax(axis=1)
        assert found[name].score(split, "accuracy_score") == pytest.approx(accuracy_score(labels, predicted))


def test_macro_f1_is_what_wilds_computes(ran, found):
    official = IWildCamDataset(root_dir=str(ran[0] / "data"), download=False)
    for split, theirs in (("id_val", "id_val"), ("id_test", "id_test"), ("ood/test", "test")):
        predicted = torch.tensor(found["iwildcam"].logits[split].argmax(axis=1))
        scores, _ = official.eval(predicted, official.get_subset(theirs).y_array, None)
        assert found["iwildcam"].score(split, "macro_f1_score") == pytest.approx(scores["F1-macro_all"])
        assert found["iwildcam"].score(split, "accuracy_score") == pytest.approx(scores["acc_avg"])


def test_trained_domain_and_its_targets_are_sentrys_lists(ran, found):
    family, folder = found["domainnet-sentry-real"], ran[0] / "data" / "domainnet"
    for split in ("id_test", "ood/clipart", "ood/painting", "ood/sketch"):
        domain = "real" if split == "id_test" else split.removeprefix("ood/")
        lines = (folder / "SENTRY_splits" / f"{domain}_test_mini.txt").read_text().splitlines()
        names, labels = zip(*(line.split() for line in lines))
        seen = [Image.open(folder / name).convert("RGB") for name in names]
        assert family.agrees(split, family.answers(seen), map(int, labels))


def test_shifts_of_imagenet_are_read_out_by_hand(ran, found):
    family, folder = found["imagenet"], ran[0] / "data" / "imagenet"
    seen, names = pictures(folder / "imagenetv2-matched-frequency-format-val")
    assert family.agrees("ood/v2", family.answers(seen), map(int, names))
    for split, tree in (("ood/r", "imagenet-r"), ("ood/a", "imagenet-a")):
        seen, names = pictures(folder / tree)
        present = sorted(set(names))
        columns = [WNIDS.index(name) for name in present]
        assert family.agrees(split, family.answers(seen)[:, columns], map(present.index, names))
    seen, names = pictures(folder / "sketch")
    assert family.agrees("ood/sketch", family.answers(seen), map(WNIDS.index, names))
    seen, names = pictures(folder / "objectnet-1.0" / "images")
    shared = [number for number, name in enumerate(names) if name != "air_freshener"]
    inner = [seen[number].crop((2, 2, seen[number].width - 2, seen[number].height - 2)) for number in shared]
    logits = family.answers(inner)
    # Alarm clocks are ImageNet's analog and digital clocks, 3 and 5; bananas are its bananas, 6.
    two = np.stack([logits[:, [3, 5]].max(axis=1), logits[:, 6]], axis=1)
    assert family.agrees("ood/objectnet", two, [["alarm_clock", "banana"].index(names[number]) for number in shared])


@pytest.mark.parametrize("name", TAILS)
def test_groups_of_a_long_tail_are_means_of_recalls(name, found):
    family = found[name]
    metrics = family.records.metrics
    assert {f"accuracy_{group}_score" for group in ("many", "medium", "few")} <= set(metrics["metric"])
    predicted, labels = family.logits["id_test"].argmax(axis=1), family.labels["id_test"]
    # No class of the miniatures has a hundred images: those of 20 to 25 are medium.
    few = [label for label, count in enumerate(TAILS[name]) if count < 20]
    for group, classes in (("many", []), ("medium", sorted(set(range(len(TAILS[name]))) - set(few))), ("few", few)):
        score = family.score("id_test", f"accuracy_{group}_score")
        if not classes:
            assert np.isnan(score)
        else:
            assert score == pytest.approx(recall_score(labels, predicted, labels=classes, average="macro"))


def test_corruptions_fill_their_rows(ran, found):
    family = found["cifar100c"]
    rows = family.records.metrics.query("metric == 'accuracy_score' and weights == 'reported'")
    corrupted = rows[rows["split"].str.startswith("corruption/")]
    assert len(corrupted) == 75
    assert set(corrupted["examples"]) == {40}
    for kind, severity in (("gaussian_noise", 1), ("fog", 3), ("jpeg_compression", 5)):
        images = np.load(ran[0] / "data" / "CIFAR-100-C" / f"{kind}.npy")[40 * (severity - 1) : 40 * severity]
        logits = family.answers([Image.fromarray(image) for image in images])
        assert family.agrees(f"corruption/{kind}/{severity}", logits, family.labels["id_test"])
