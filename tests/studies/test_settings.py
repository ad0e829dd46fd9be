"""A study's file either makes sense entirely, or stops with the field's path, what came and what is allowed."""

import dataclasses
import json
import math
import subprocess
import sys
from typing import Any

import pytest
import yaml

from gmixout.settings import Settings
from studies.settings import CellSettings, StudyError, load_study, point_settings, preset_names, study_path
from studies.settings.backbones import BACKBONE_NAMES, PROMPT_SETS, has_text
from studies.settings.levers import LEVERS, canonical_levers
from studies.settings.points import complete_levers
from studies.settings.recipe import Recipe
from studies.settings.training import Schedule
from studies.settings.traits import TRAITS
from tests.studies.running import write_study

GRID = {
    "name": "gmixout",
    "sweep": {"anchor": ["pretrained", "ema"], "resample_every": [5, math.inf], "sparsity": [0.5]},
}


def study(**changes: Any) -> dict[str, Any]:
    return {"name": "test", "benchmark": "digits", "seeds": [0, 1], "methods": [{"name": "full"}]} | changes


def load(tmp_path, content: Any):
    path = tmp_path / "study.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load_study(str(path))


def method(**block: Any) -> dict[str, Any]:
    return study(methods=[{"name": "gmixout", **block}])


BAD = {
    "unknown benchmark": (study(benchmark="digitz"), ["benchmark:", "'digitz'", "digits-longtail"]),
    "unknown backbone": (study(backbones=["vit"]), ["backbones.0:", "'vit'", "digits-vit"]),
    "unknown method": (study(methods=[{"name": "gmix"}]), ["methods.0.name:", "'gmix'", "gmixout"]),
    "unknown anchor": (method(levers={"anchor": "emu"}), ["methods.0.levers.anchor:", "'emu'", "'latest'"]),
    "unknown anchor in a sweep": (method(sweep={"anchor": ["ema", "emu"]}), ["methods.0.sweep.anchor.1:", "'emu'"]),
    "unknown lever": (method(levers={"sparsitee": 0.5}), ["methods.0.levers.sparsitee:", "allowed:", "sparsity"]),
    "sparsity 1": (method(levers={"sparsity": 1.0}), ["methods.0.levers.sparsity:", "less than 1", "1.0"]),
    "sparsity below 0": (method(levers={"sparsity": -0.1}), ["methods.0.levers.sparsity:", "-0.1"]),
    "sparsity 1 in a sweep": (method(sweep={"sparsity": [0.5, 1.0]}), ["methods.0.sweep.sparsity.1:", "1.0"]),
    "period 0": (method(levers={"resample_every": 0}), ["methods.0.levers.resample_every:", "at least 1", "got 0"]),
    "period in a sweep": (method(sweep={"resample_every": [1.5]}), ["methods.0.sweep.resample_every.0:", "1.5"]),
    "period nan": (method(levers={"resample_every": math.nan}), ["methods.0.levers.resample_every:", "nan"]),
    "impossible pair": (method(levers={"anchor": "zero"}), ["methods.0:", "zero", "residual='carry'"]),
    "lever twice": (method(levers={"sparsity": 0.5}, sweep={"sparsity": [0.5]}), ["methods.0:", "sparsity"]),
    "value twice": (method(sweep={"sparsity": [0.5, 0.5]}), ["methods.0:", "sweep.sparsity"]),
    "empty sweep": (method(sweep={"sparsity": []}), ["methods.0.sweep.sparsity:", "at least 1"]),
    "defining lever": (
        study(methods=[{"name": "mixout", "levers": {"anchor": "ema"}}]), ["methods.0:", "anchor", "use gmixout"],
    ),
    "levers of full": (study(methods=[{"name": "full", "levers": {"sparsity": 0.5}}]), ["methods.0:", "no levers"]),
    "rates of zero-shot": (study(methods=[{"name": "zero_shot", "learning_rates": [1]}]), ["methods.0:", "zero_shot"]),
    "learning rate": (study(methods=[{"name": "full", "learning_rates": [-1]}]), ["methods.0.learning_rates.0:", "-1"]),
    "steps": (study(training={"steps": 0}), ["training.steps:", "got 0"]),
    "warm-up": (study(training={"steps": 5, "warmup_steps": 5}), ["training:", "below steps (5)", "got 5"]),
    "blind selection": (study(training={"checkpoint_selection": "best_id_val"}), ["training:", "validate_every"]),
    "one member": (study(evaluation={"members": 1}), ["evaluation:", "at least 2"]),
    "alpha": (study(evaluation={"wise_alphas": [1.5]}), ["evaluation.wise_alphas.0:", "1.5"]),
    "parts of a coupled loss": (
        study(methods=[{"name": "flyp"}], backbones=["clip-vit-b16"], execution={"micro_batch": 4}),
        ["flyp compares", "at least its batch_size (16)", "got 4 and 1"],
    ),
    "sharded": (study(execution={"sharded": True}), ["execution.sharded:", "fully_shard", "processes: N"]),
    "more processes than images": (
        study(execution={"processes": 17}), ["processes (17) must be at most the batch_size of full, got 16"],
    ),
    "parts of nothing": (study(execution={"micro_batch": 0}), ["execution.micro_batch:", "got 0"]),
    "decay of layers": (study(training={"layer_decay": 0}), ["training.layer_decay:", "got 0"]),
    "no seeds": (study(seeds=[]), ["seeds:"]),
    "seed twice": (study(seeds=[1, 1]), ["seeds:", "differ"]),
    "unknown field": (study(trainin=1), ["trainin:", "allowed:", "training"]),
    "field of a field": (study(training={"step": 1}), ["training.step:", "allowed:", "steps"]),
    "a path for a name": (study(name="../x"), ["name:", "'../x'"]),
    "a list": (["full"], ["must hold fields"]),
    "not yaml": ("name: [", ["is not YAML"]),
    "missing": ({"name": "test"}, ["benchmark: this field is needed", "methods: at least 1 method is needed"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_study_names_field_value_and_remedy(case, tmp_path):
    content, words = BAD[case]
    with pytest.raises(StudyError) as error:
        load(tmp_path, content)
    message = str(error.value)
    assert all(word in message for word in words), message
    assert len(message.splitlines()) == (3 if case == "missing" else 1)


def test_unknown_study_lists_presets():
    with pytest.raises(StudyError, match=", ".join(preset_names())):
        load_study("nonsense")


@pytest.mark.parametrize("name", ["smoke", "levers-quick", "levers-full"])
def test_presets_are_named_commented_and_balanced(name):
    loaded = load_study(name)
    assert loaded.name == name
    assert name in preset_names()
    assert study_path(name).read_text().startswith("#")
    cells = loaded.cells("00")
    assert len({cell.identity for cell in cells}) == len(cells)
    assert {cell.method for cell in cells} == {"zero_shot", "linear_probe", "full", "random_mask", "mixout", "gmixout"}
    per_block: dict[tuple[int, int, str], set[str]] = {}
    for cell in cells:
        if cell.method != "zero_shot":
            without_block = cell.model_copy(update={"seed": 0, "pretrain_seed": 0, "backbone": "digits-vit"})
            block = (cell.seed, cell.pretrain_seed, cell.backbone)
            per_block.setdefault(block, set()).add(without_block.identity)
    assert len({frozenset(block) for block in per_block.values()}) == 1, "every block holds the same cells"


@pytest.mark.parametrize(("name", "seeds"), [("rivals", 5), ("rivals-quick", 2)])
def test_rivals_are_all_there_on_equal_terms(name, seeds):
    cells = [cell for cell in load_study(name).cells("00") if not cell.is_ingredient]
    assert {cell.method for cell in cells} == set(TRAITS) - {"flyp"}
    trained = [cell for cell in cells if cell.training is not None]
    own_affairs = {"validate_every": None, "checkpoint_selection": "last", "recipe": Recipe()}
    terms = {cell.training.model_copy(update=own_affairs) for cell in trained}
    assert len(terms) == 1, "all train alike but for additions and looks at ID validation"
    for method in {cell.listed_as for cell in trained}:
        own = [cell for cell in trained if cell.listed_as == method]
        rates = {cell.learning_rate for cell in own}
        assert len(rates) == 3, "every method has as many candidates"
        assert len({cell.seed for cell in own}) == seeds
        assert len(own) == 3 * seeds
    assert all(len({cell.seed for cell in cells if cell.method == method}) == seeds for method in ("diwa", "ensemble"))
    additions = {addition for cell in trained for addition in cell.training.additions}
    assert additions >= {"randaugment", "mixup", "cutmix", "label_smoothing", "adversarial", "early_stopping"}
    curves = {cell.listed_as for cell in cells if cell.evaluation.wise_alphas}
    assert {"full", "gmixout", "gmixout+crop+randaugment", "greedy_soup", "mixout", "lora"} <= curves


def test_granularities_are_crossed_and_differ_in_nothing_else():
    cells = [cell for cell in load_study("granularity").cells("00") if cell.method == "gmixout"]
    silent = {"granularity": None, "group_size": None, "block_size": None}
    groups: dict[str, set[str]] = {}
    for cell in cells:
        plain = cell.model_copy(update={"levers": cell.levers | silent})
        groups.setdefault(plain.identity, set()).add(cell.levers["granularity"])
    assert set(map(frozenset, groups.values())) == {frozenset({"element", "row", "column", "block"})}
    assert len({cell.seed for cell in cells}) >= 5
    assert all(cell.levers["residual"] == "reset" for cell in cells), "the form in which whole units save time"


def test_the_ensemble_study_holds_training_equal():
    cells = load_study("ensemble").cells("00")
    by_identity = {cell.identity: cell for cell in cells}
    single = {cell.steps for cell in cells if cell.method in ("full", "ema", "gmixout") and not cell.is_ingredient}
    (steps,) = single
    built = {cell.listed_as: cell for cell in cells if cell.sources}
    for name, times in (("ensemble", 1), ("uniform_soup", 1), ("greedy_soup", 1), ("ensemble/long", 4)):
        sources = [by_identity[identity] for identity in built[name].sources]
        assert sum(source.steps for source in sources) == times * steps
        assert len(sources) == built[name].evaluation.members == 4
    assert len({cell.seed for cell in cells if cell.method == "ensemble"}) >= 5


def test_levers_quick_covers_the_issue():
    cells = load_study("levers-quick").cells("00")
    grid = {
        (c.levers["anchor"], c.levers["resample_every"], c.levers["sparsity"]) for c in cells if c.method == "gmixout"
    }
    assert len(grid) >= 3 * 4 * 4
    assert [len({point[axis] for point in grid}) >= 3 + (axis > 0) for axis in range(3)] == [True] * 3
    for name in ("linear_probe", "full", "mixout", "random_mask"):
        own = [cell for cell in cells if cell.method == name]
        assert len({cell.seed for cell in own}) >= 2
        assert len({cell.learning_rate for cell in own}) >= 2
        assert all(cell.evaluation.wise_alphas for cell in own)


def test_grid_is_crossed_blocked_by_seed_and_free_of_copies(tmp_path):
    cells = load(tmp_path, study(methods=[{"name": "zero_shot"}, GRID])).cells("00")
    seeds = [cell.seed for cell in cells if cell.method == "gmixout"]
    assert seeds == sorted(seeds), "an unfinished study has complete blocks first"
    # With one mask a run the anchor has no effect: 3 cells a seed instead of 4, and zero-shot once for all seeds.
    assert len(cells) == 1 + 2 * 3


@pytest.mark.parametrize(
    ("levers", "same"),
    [
        ({"anchor": "latest", "ema_decay": 0.3}, {"anchor": "latest"}),
        ({"resample_every": 301}, {"resample_every": math.inf}),
        ({"resample_every": 301, "anchor": "average", "moments": "carry"}, {"resample_every": math.inf}),
        ({"group_size": 4}, {}),
        ({"decay_to": "anchor"}, {}),
    ],
)
def test_levers_without_effect_do_not_make_another_cell(levers, same):
    one, other = (canonical_levers(complete_levers("gmixout", given), 300, 0.0) for given in (levers, same))
    assert one == other


@pytest.mark.parametrize(
    "levers", [{"anchor": "ema", "ema_decay": 0.3}, {"resample_every": 300}, {"group_size": 4, "granularity": "column"}]
)
def test_levers_with_effect_make_another_cell(levers):
    one, other = (canonical_levers(complete_levers("gmixout", given), 300, 0.0) for given in (levers, {}))
    assert one != other


def test_identity_is_stable_and_knows_manifest_and_schema():
    cell = CellSettings(benchmark="digits", manifest="ab", backbone="digits-vit", pretrain_seed=0, method="gmixout",
                        levers={"resample_every": math.inf, "sparsity": 0.9}, seed=1, learning_rate=1e-3)  # fmt: skip
    assert cell.identity == IDENTITY
    assert cell.model_copy(update={"manifest": "cd"}).identity != IDENTITY
    assert CellSettings.from_canonical(cell.canonical) == cell
    assert json.loads(cell.canonical)["levers"]["resample_every"] == "inf"
    assert list(json.loads(cell.canonical)) == sorted(json.loads(cell.canonical))
    assert "/" not in cell.canonical


IDENTITY = "8a900c6599638032"


def test_setting_that_came_later_enters_the_identity_only_where_it_acts():
    cell = CellSettings(benchmark="digits", manifest="ab", backbone="digits-vit", pretrain_seed=0, method="full",
                        seed=1, learning_rate=1e-3)  # fmt: skip
    assert "flip" not in json.loads(cell.canonical)["training"]["recipe"]
    flipped = cell.model_copy(update={"training": Schedule(recipe={"flip": 0.5})})
    assert flipped.identity != cell.identity
    for one in (cell, flipped, cell.model_copy(update={"training": None})):
        assert CellSettings.from_canonical(one.canonical) == one


def test_tables_agree_with_the_names_that_settings_allow():
    from studies.backbones import BACKBONES, PROMPTS
    from studies.combinations import SOUPS
    from studies.methods import METHODS

    assert set(METHODS) | {*SOUPS, "ensemble"} == set(TRAITS)
    assert set(BACKBONES) == set(BACKBONE_NAMES)
    assert set(PROMPTS) == set(PROMPT_SETS)
    assert {name for name in BACKBONES if has_text(name)} == {
        name for name, found in BACKBONES.items() if getattr(found, "has_text", False)
    }
    # How weights are stored changes no result, so it is no lever.
    assert set(LEVERS) == {field.name for field in dataclasses.fields(Settings)} - {"seed", "storage"}


@pytest.mark.parametrize("cell", load_study("levers-full").cells("00")[:400:20])
def test_canonical_levers_are_complete_for_the_method(cell):
    if cell.levers:
        settings = point_settings(cell.method, cell.levers, cell.seed)
        assert canonical_levers(dataclasses.asdict(settings), cell.steps, cell.training.weight_decay) == cell.levers


def test_settings_import_no_torch():
    code = "import sys, studies.settings as s; s.load_study('smoke').cells('00'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_yaml_from_a_stranger_makes_no_objects(tmp_path):
    mark = tmp_path / "mark"
    path = tmp_path / "study.yaml"
    path.write_text(f"name: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{mark}]]\n")
    with pytest.raises(StudyError, match="is not YAML"):
        load_study(str(path))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/b", "..", ".hidden"])
def test_name_of_a_study_leads_nowhere_else(name, tmp_path):
    path = write_study(tmp_path)
    path.write_text(path.read_text().replace("name: smoke", f"name: {name}"))
    with pytest.raises(StudyError, match="made of letters, digits"):
        load_study(str(path))


def test_anatomy_goes_along_each_lever_from_one_middle():
    study = load_study("anatomy")
    cells = [cell for cell in study.cells("00") if cell.method == "gmixout"]
    settings = [(cell.levers["anchor"], cell.levers["resample_every"], cell.levers["sparsity"]) for cell in cells]
    middle = ("ema", 20.0, 0.8)
    assert settings.count(middle) == len(study.seeds)
    for place in range(3):
        others = [one[:place] + one[place + 1 :] for one in settings]
        levels = {one[place] for one, rest in zip(settings, others) if rest == middle[:place] + middle[place + 1 :]}
        assert len(levels) == 3
    assert len({cell.learning_rate for cell in cells}) == 1
    trained = [cell for cell in study.cells("00") if cell.training is not None]
    assert all(cell.evaluation.surface is not None for cell in trained)
    # Every period leaves as many sub-networks as members are kept.
    assert study.training.steps / max(cell.levers["resample_every"] for cell in cells) >= study.evaluation.members
    assert len(study.cells("00")) <= 60


def test_long_tail_is_of_the_long_tailed_benchmark_with_one_rate_a_method():
    study = load_study("long-tail")
    assert study.benchmark == "digits-longtail"
    trained = [cell for cell in study.cells("00") if cell.training is not None]
    listed = {cell.listed_as for cell in trained}
    assert {"full", "linear_probe", "bias_norm", "ema", "mixout", "gmixout", "full+logit_adjusted"} <= listed
    assert len(trained) == len(study.seeds) * len(listed)
    assert {cell.levers["sparsity"] for cell in trained if cell.method == "gmixout"} == {0.5, 0.8, 0.95}


def test_a_frontier_and_a_grid_that_cross_share_the_cell_with_the_curve(tmp_path):
    levers = {"anchor": "ema", "resample_every": 30}
    frontier = {"name": "gmixout", "wise": True, "levers": levers | {"sparsity": 0.8}, "learning_rates": [1e-3, 3e-3]}
    grid = {"name": "gmixout", "levers": levers, "sweep": {"sparsity": [0.5, 0.8]}, "learning_rates": [1e-3]}
    content = study(methods=[grid, frontier], evaluation={"wise_alphas": [0.0, 1.0]})
    cells = load(tmp_path, content).cells("00")
    found = {(c.levers["sparsity"], c.learning_rate, bool(c.evaluation.wise_alphas)) for c in cells if c.seed == 0}
    assert found == {(0.5, 1e-3, False), (0.8, 1e-3, True), (0.8, 3e-3, True)}
    assert len(cells) == 3 * len({cell.seed for cell in cells})
