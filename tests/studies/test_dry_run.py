"""A dry run says everything that is missing or does not fit at once, and forecasts all the same; nothing is started."""

import re

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from studies import fitting, readiness
from studies.calibration import calibrate
from studies.commands import dry_run
from studies.commands.study import app
from studies.forecast import Forecast, forecast
from studies.machine import free_memory, spoken_bytes
from studies.needs import Need
from studies.opened import open_study
from studies.saved import Saved
from studies.settings import load_study
from studies.sizes import PLACEHOLDER, published_sizes
from tests.studies.running import write_study
from tests.studies.test_presets import PRESETS

TINY = "timm:test_vit.r160_in1k"
SMALL = {"batch_size": 2, "precision": "float32"}


def of_tiny(preset, *methods):
    """Cells of a preset on a network that takes milliseconds."""
    cells = load_study(preset).cells("00")
    return [cell.model_copy(update={"backbone": TINY}) for cell in cells if cell.method in methods]


class TestSaved:
    """What autograd keeps, against sums by hand."""

    def test_layers_keep_their_inputs_and_let_them_go(self):
        model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
        saved = Saved(model)
        with saved.counting():
            out = model(torch.zeros(10, 8))
            # The input of each linear layer; tanh keeps its output, which is the second's input.
            assert saved.peak == 4 * 10 * (8 + 16)
            assert saved.largest == 4 * 10 * 16
            out.sum().backward()
            model(torch.zeros(5, 8))
        assert saved.peak == 4 * 10 * (8 + 16)

    def test_weights_do_not_count_and_frozen_layers_keep_nothing(self):
        model = nn.Sequential(nn.Linear(8, 16).requires_grad_(False), nn.Linear(16, 4).requires_grad_(False))
        saved = Saved(model)
        with saved.counting():
            model(torch.zeros(10, 8, requires_grad=True))
        assert saved.peak == 0


@pytest.fixture(scope="module")
def both():
    cells = [
        cell.model_copy(update={"training": cell.training.model_copy(update={"batch_size": 6, "precision": "float32"})})
        for cell in of_tiny("cifar100c", "full", "linear_probe", "random_mask", "mixout", "ema")
        if cell.seed == 0 and not cell.is_ingredient and cell.listed_as.endswith("+crop+flip")
    ]
    classes = [f"thing {number}" for number in range(100)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("studies.measuring.STEPS", 1)
        patch.setattr("studies.measuring.WHOLE_S", 1e9)
        whole = calibrate(cells, classes)
        patch.setattr("studies.measuring.WHOLE_S", 0.0)
        return whole, calibrate(cells, classes)


class TestCalibration:
    """Steps on one image, extended, against steps of the whole batch."""

    def test_memory_is_the_same_to_a_tenth(self, both):
        whole, single = both
        assert set(whole.needs) == set(single.needs)
        for name, need in whole.needs.items():
            if not name.startswith("linear_probe"):
                assert single.needs[name].training == pytest.approx(need.training, rel=0.1), name
                assert single.needs[name].fixed == pytest.approx(need.fixed, rel=0.15), name

    def test_memory_is_what_the_parts_add_up_to(self, both):
        _, single = both
        floats = single.weights
        full, ema = single.needs["full+crop+flip"], single.needs["ema+crop+flip"]
        # Pretrained and own weights, gradients, two moments, three snapshots; an average more.
        assert full.fixed == pytest.approx(8 * floats, rel=0.02)
        assert ema.fixed - full.fixed == pytest.approx(floats, rel=0.02)
        assert single.needs["random_mask+crop+flip"].fixed < full.fixed

    def test_every_method_has_rates(self, both):
        for found in both:
            assert all(rate > 0 for rate in found.rates.step_s.values())
            assert found.rates.image_s > 0
            assert not found.too_large


def test_loss_that_counts_classes_is_measured_with_fewer_images_than_classes():
    cells = [cell for cell in of_tiny("imagenet-lt", "full") if not cell.is_ingredient][:1]
    (cell,) = [one.model_copy(update={"training": one.training.model_copy(update=SMALL)}) for one in cells]
    assert cell.training.recipe.loss == "logit_adjusted"
    found = calibrate([cell], [f"thing {number}" for number in range(50)])
    assert found.rates.step_s[cell.listed_as] > 0


def made_up(cells, most, free_device, **changes):
    """A forecast of cells that need so many bytes each."""
    identities = [cell.identity for cell in cells]
    values = dict.fromkeys(identities, most)
    need = Need(fixed=10**9, image=10**8, part=32, evaluating=2 * 10**9)
    needs = {(cell.backbone, cell.listed_as): need for cell in cells}
    return Forecast(values, 1, "cuda", values, values, values, values, needs, {})


class TestFitting:
    """What is said where something does not fit."""

    cells = of_tiny("domainnet", "full")[:1]

    def place(self, free):
        need = Need(fixed=10**9, image=10**8, part=32, evaluating=2 * 10**9)
        found = made_up(self.cells, int(1.1 * need.most), free)
        return fitting.places_of(found, "cuda", 10**12, free)[0], found

    def test_enough_is_no_problem(self):
        place, found = self.place(5 * 10**9)
        assert fitting.memory_problems(place, self.cells, found) == []
        assert "4.62 GB at most" in fitting.memory_fact(place, self.cells)

    def test_too_many_images_at_once_are_told_how_many_fit(self):
        place, found = self.place(3 * 10**9)
        (problem,) = fitting.memory_problems(place, self.cells, found)
        assert "not enough GPU memory: full+crop+flip on" in problem
        # 3 GB less a tenth, less what is there without images, at 100 MB an image.
        assert "set execution.micro_batch: 17 (it is 32)" in problem
        assert "activation_checkpointing: true" in problem

    def test_evaluation_that_does_not_fit_is_no_matter_of_batches(self):
        place, found = self.place(2 * 10**9)
        (problem,) = fitting.memory_problems(place, self.cells, found)
        assert "fewer evaluation.members" in problem
        assert "micro_batch" not in problem

    def test_loss_over_a_whole_batch_cannot_be_cut(self):
        flyp = [cell.model_copy(update={"method": "flyp"}) for cell in self.cells]
        found = made_up(flyp, int(1.1 * 4.2e9), 0)
        (problem,) = fitting.memory_problems(fitting.places_of(found, "cuda", 10**12, 3 * 10**9)[0], flyp, found)
        assert "which cannot be cut" in problem

    def test_full_disk(self, tmp_path):
        found = made_up(self.cells, 10**9, 0)
        assert fitting.disk_problems(found, tmp_path, 3 * 10**9) == []
        (problem,) = fitting.disk_problems(found, tmp_path, 10**9)
        assert problem.startswith("not enough room on the disk: 2 GB are needed")


@pytest.mark.parametrize("name", PRESETS)
def test_published_sizes_stand_for_absent_data(name):
    sizes = published_sizes(name)
    assert not sizes.is_here
    assert sizes.manifest == PLACEHOLDER
    assert not sizes.unknown
    assert all(count > 0 for count in sizes.images.values())
    assert {"train", "id_val", "id_test"} <= set(sizes.images)
    if name == "imagenet":
        assert sizes.columns["ood/objectnet"] == 113
    if name == "cifar100c":
        assert sum(count for split, count in sizes.images.items() if "corruption/" in split) == 75 * 10_000


def test_forecast_grows_with_the_work():
    sizes = published_sizes("cifar100c")
    cells = [cell for cell in of_tiny("cifar100c", "full") if not cell.is_ingredient][:3]
    found = forecast(cells, 2, sizes)
    assert set(found.seconds) == {cell.identity for cell in cells}
    assert found.wall_s == pytest.approx(sum(found.seconds.values()) / 2)
    on_gpu = forecast(cells, 2, sizes, runs_on="cuda")
    first = cells[0].identity
    assert found.host_bytes[first] > found.device_bytes[first]
    assert on_gpu.host_bytes[first] < found.host_bytes[first]
    slow = forecast(cells, 2, sizes, read_s=1.0)
    # Reading a second an image is slower than anything else.
    assert slow.seconds[cells[0].identity] > cells[0].steps * cells[0].training.batch_size


def test_whole_study_that_can_run(tmp_path):
    path = write_study(tmp_path, methods=[{"name": "zero_shot"}, {"name": "full"}])
    places = ["--results", str(tmp_path / "results"), "--workers", "1"]
    ended = CliRunner().invoke(app, ["run", str(path), "--dry-run", *places], env={"COLUMNS": "200"})
    assert ended.exit_code == 0, ended.output
    assert "all is here and fits; run it: gmixout study run" in ended.output
    assert re.search(r"time: [0-9 a-z]+ by 1 worker, measured on this CPU", ended.output)
    assert not (tmp_path / "results").exists()


def test_everything_that_is_missing_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("GMIXOUT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("GMIXOUT_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    small = {"methods": [{"name": "zero_shot"}, {"name": "full"}], "pools": {}, "seeds": [0], "backbones": [TINY]}
    path = write_study(tmp_path, "iwildcam", **small)
    report = dry_run.examine(open_study(str(path), tmp_path / "results"), 1)
    data, weights, *device = report.problems
    assert "0x6313da2b204647e79a14b468131fcd64" in data
    assert "hf download timm/test_vit.r160_in1k model.safetensors" in weights
    assert device == ([] if torch.cuda.is_available() else readiness.wrong_device(load_study("iwildcam").execution))
    # It forecasts all the same: zero-shot once, and full fine-tuning at three rates.
    assert len(report.found.seconds) == 4
    assert any(
        "not here or not whole; the forecast is for its published 188068 images" in fact for fact in report.facts
    )
    assert not (tmp_path / "results").exists()


def test_own_folder_that_is_not_there_is_told_without_a_forecast(tmp_path):
    content = {"folders": {"trees": {"id_root": "nowhere"}}, "benchmark": "trees", "backbones": [TINY]}
    path = write_study(tmp_path, "smoke", **content)
    report = dry_run.examine(open_study(str(path), tmp_path / "results"), 1)
    assert "trees needs the folder" in report.problems[0]
    assert report.found is None


def test_names_that_a_text_tower_cannot_read():
    study = load_study("iwildcam")
    sizes = published_sizes("iwildcam")
    assert readiness.wrong_classes(study, sizes) == []
    here = type(sizes)(**{**vars(sizes), "manifest": "0f"})
    (problem,) = readiness.wrong_classes(study, here)
    assert "182 of 182 classes have no name but a number" in problem


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e12, "2.5 TB"), (344e6, "344 MB")]
)
def test_bytes_in_words(count, words):
    assert spoken_bytes(count) == words


def test_free_memory_respects_a_containers_limit(tmp_path, monkeypatch):
    (tmp_path / "max").write_text("3000\n")
    (tmp_path / "current").write_text("1000\n")
    monkeypatch.setattr("studies.machine._LIMITS", ((str(tmp_path / "max"), str(tmp_path / "current")),))
    assert free_memory() == 2000
    (tmp_path / "max").write_text("max\n")
    assert free_memory() > 10**6
