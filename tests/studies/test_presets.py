"""The presets of the field's benchmarks: what they state is what their sources state, and each is a whole study."""

import math
import re

import pytest

from analysis.design import with_setting
from analysis.levers import LEVER_STUDY, with_arms
from analysis.plain_names import plainly_named
from analysis.records import Records, cells_frame, curves_frame, examples_frame, metrics_frame
from studies.backbones import PROMPTS
from studies.benchmarks import FACTS
from studies.frames import cell_row
from studies.settings import load_study, preset_names, study_path

PRESETS = ("domainnet", "iwildcam", "imagenet", "imagenet-lt", "cifar100c")
RIVALS = {
    "zero_shot",
    "linear_probe",
    "lora",
    "full",
    "lp_ft",
    "flyp",
    "ema",
    "greedy_soup",
    "uniform_soup",
    "ensemble",
}
MASKS = {"random_mask", "mixout", "hr_mixout", "gmixout"}


def cells_of(name):
    """Every cell with a manifest that stands for the data's, which nobody here has."""
    return load_study(name).cells("00")


@pytest.mark.parametrize("name", PRESETS)
def test_each_is_a_whole_study_of_its_benchmark(name):
    study = load_study(name)
    assert name in preset_names()
    assert study.name == study.benchmark == name
    assert study.backbones == ("clip-vit-b16",)
    assert study.prompts in PROMPTS
    assert study.execution.device == "cuda"
    cells = cells_of(name)
    assert len({cell.identity for cell in cells}) == len(cells)
    reported = [cell for cell in cells if not cell.is_ingredient]
    assert {cell.method for cell in reported} >= RIVALS | MASKS
    assert not study.skipped()


@pytest.mark.parametrize("name", PRESETS)
def test_every_method_has_as_many_candidates_and_three_seeds(name):
    rates = 2 if name == "imagenet" else 3
    trained = [cell for cell in cells_of(name) if cell.training is not None and not cell.is_ingredient]
    for method in {cell.listed_as for cell in trained}:
        own = [cell for cell in trained if cell.listed_as == method]
        assert {cell.seed for cell in own} == {0, 1, 2}
        assert len(own) == 3 * rates, method
        # What sweeps a lever has one rate, and a name of its own.
        settings = {(cell.learning_rate, tuple(cell.levers.items())) for cell in own}
        assert len(settings) == rates, method


@pytest.mark.parametrize(
    ("name", "epochs", "batch_size", "weight_decay", "learning_rate", "prompts"),
    [
        ("iwildcam", 20, 256, 0.2, 1e-5, "iwildcam"),
        ("imagenet", 10, 512, 0.1, 1e-5, "openai80"),
        ("imagenet-lt", 10, 128, 0.01, 3e-5, "openai80"),
        ("cifar100c", 10, 128, 0.01, 3e-5, "cifar"),
    ],
)
def test_stated_epochs_are_so_many_steps(name, epochs, batch_size, weight_decay, learning_rate, prompts):
    training = load_study(name).training
    whole = FACTS[name].images["train"] / batch_size
    assert epochs * math.floor(whole) <= training.steps <= epochs * math.ceil(whole)
    assert (training.batch_size, training.weight_decay) == (batch_size, weight_decay)
    assert learning_rate in training.learning_rates
    assert load_study(name).prompts == prompts
    spelled = f"{training.steps:,}".replace(",", " ") if training.steps > 9999 else str(training.steps)
    assert f"{spelled} steps" in study_path(name).read_text()


def test_domainnet_is_hr_mixouts_protocol_with_the_papers_levers():
    training = load_study("domainnet").training
    assert (training.steps, training.weight_decay) == (15_000, 1e-6)
    assert 3e-5 in training.learning_rates
    (mixout,) = {cell.levers["sparsity"] for cell in cells_of("domainnet") if cell.method == "hr_mixout"}
    assert mixout == 0.9
    swept = {cell.variant for cell in cells_of("domainnet") if cell.method == "gmixout"}
    assert swept == {"", "decay", "period", "sparsity"}


@pytest.mark.parametrize("name", PRESETS)
def test_comments_say_what_is_stated_and_what_is_ours(name):
    text = " ".join(study_path(name).read_text().replace("#", " ").split())
    stated, _, ours = text.partition("What is not known to us and our choice:")
    assert "What a source states:" in stated
    assert re.search(r"GMixout's k,? (lambda|and lambda)[^:]*: not known to us; our choice: k = \d+", ours)
    assert f"gmixout data list {name}" in text
    gmixout = [cell for cell in cells_of(name) if cell.method == "gmixout" and not cell.variant]
    ((period, decay),) = {(cell.levers["resample_every"], cell.levers["ema_decay"]) for cell in gmixout}
    networks = math.ceil(load_study(name).training.steps / period)
    assert f"k = {period:g}, so {networks} sub-networks" in ours
    assert f"lambda = {decay:g}" in ours


@pytest.mark.parametrize("name", PRESETS)
def test_reference_points_of_figures_are_found_though_all_training_has_crops(name):
    cells = [cell for cell in cells_of(name) if not cell.is_ingredient]
    rows = cells_frame([cell_row(cell, "done") for cell in cells])
    named = plainly_named(Records(rows, metrics_frame(), examples_frame(), curves_frame()))
    assert set(LEVER_STUDY) <= set(named.cells["method"])
    arms = with_arms(named).cells
    if name == "domainnet":
        assert all(arms[lever].nunique() > 3 for lever in ("ema_decay", "resample_every", "sparsity"))
        assert with_arms(named, "mixout").cells["sparsity"].nunique() > 3


@pytest.mark.parametrize("name", [name for name in preset_names() if not name.startswith("search")])
def test_no_setting_is_planned_twice_in_a_run(name):
    cells = [cell for cell in cells_of(name) if not cell.is_ingredient]
    placed = with_setting(cells_frame([cell_row(cell, "done") for cell in cells]))
    assert len(placed) == len(cells)
