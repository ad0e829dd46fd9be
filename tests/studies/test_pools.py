"""Pools in a study: what is drawn for their runs, and how cells that are built from them name those runs."""

import pytest

from studies.settings import Pool, Schedule, StudyError, StudySettings, load_study
from tests.studies.running import write_study

POOL = {
    "size": 4,
    "vary": {"learning_rate": [1e-3, 3e-3], "label_smoothing": [0.0, 0.1], "augmentation": ["none", "crop"]},
}
SOUPS = ["uniform_soup", "greedy_soup", "diwa", "ensemble"]


def study(**changes):
    content = {
        "name": "s", "benchmark": "digits", "seeds": [0, 1], "pools": {"some": POOL},
        "methods": [{"name": "full"}, *({"name": name, "pool": "some"} for name in SOUPS)],
    }  # fmt: skip
    return StudySettings.model_validate(content | changes)


def test_runs_differ_in_seed_and_in_what_is_varied():
    pool, schedule = Pool.model_validate(POOL), Schedule(steps=100, warmup_steps=10)
    runs = [run for block in range(20) for run in pool.runs(block, schedule, (1e-4,))]
    assert len({seed for seed, _, _ in runs}) == len(runs) == 80
    assert {rate for _, rate, _ in runs} == {1e-3, 3e-3}
    assert {found.recipe.label_smoothing for _, _, found in runs} == {0.0, 0.1}
    assert {found.recipe.augmentation for _, _, found in runs} == {"none", "crop"}
    assert all(found.steps == 100 and found.weight_decay == 0 for _, _, found in runs)
    assert runs == [run for block in range(20) for run in pool.runs(block, schedule, (1e-4,))]


def test_varying_one_thing_leaves_the_other_draws_alone():
    less = Pool.model_validate({"size": 9, "vary": {"learning_rate": [1e-3, 3e-3]}})
    more = Pool.model_validate({"size": 9, "vary": {"learning_rate": [1e-3, 3e-3], "mixup_alpha": [0.0, 0.2]}})
    rates = [[rate for _, rate, _ in pool.runs(0, Schedule(), (1e-4,))] for pool in (less, more)]
    assert rates[0] == rates[1]


def test_short_runs_share_the_cost_of_one():
    pool = Pool(size=3, steps=100)
    runs = list(pool.runs(0, Schedule(steps=300, warmup_steps=30), (1e-3,)))
    assert sum(found.steps for _, _, found in runs) == 300
    assert {found.warmup_steps for _, _, found in runs} == {10}


def test_every_block_has_a_pool_of_its_own_shared_by_all_that_is_built_from_it():
    cells = study().cells("00")
    built = [cell for cell in cells if cell.sources]
    ingredients = [cell.identity for cell in cells if cell.is_ingredient]
    assert len(built) == 2 * len(SOUPS)
    assert len(ingredients) == len(set(ingredients)) == 2 * POOL["size"]
    sources = {seed: {cell.sources for cell in built if cell.seed == seed} for seed in (0, 1)}
    assert [len(found) for found in sources.values()] == [1, 1]
    assert {identity for found in sources.values() for identity in found.pop()} == set(ingredients)
    order = [cell.identity for cell in cells]
    assert all(order.index(source) < order.index(cell.identity) for cell in built for source in cell.sources)
    assert all(cell.training is None and cell.learning_rate is None for cell in built)
    assert all(cell.evaluation.keep_weights for cell in cells if cell.is_ingredient)


def test_changing_a_pool_changes_what_is_built_from_it():
    before = {cell.method: cell.identity for cell in study().cells("00")}
    after = {cell.method: cell.identity for cell in study(pools={"some": POOL | {"size": 5}}).cells("00")}
    assert before["full"] == after["full"] or before["full"] not in after.values()
    assert not {before[name] for name in SOUPS} & {after[name] for name in SOUPS}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": [{"name": "diwa"}]}, ["methods.0:", "diwa needs a pool"]),
        ({"methods": [{"name": "diwa", "pool": "none"}]}, ["methods.0.pool", "(three)", "'none'"]),
        ({"methods": [{"name": "full", "pool": "three"}]}, ["methods.0:", "takes no pool"]),
        ({"methods": [{"name": "ensemble", "pool": "three", "wise": True}]}, ["no fine-tuned weights", "remove wise"]),
        ({"methods": [{"name": "diwa", "pool": "three", "learning_rates": [1]}]}, ["trains nothing itself"]),
        ({"pools": {"three": {"size": 1}}}, ["pools.three.size:", "got 1"]),
        ({"pools": {"three": {"size": 3, "vary": {"weight_decay": []}}}}, ["pools.three.vary.weight_decay:"]),
        ({"pools": {"three": {"size": 3, "vary": {"decay": [1]}}}}, ["pools.three.vary.decay:", "allowed:"]),
        ({"methods": [{"name": "swad"}], "training": {"validate_every": None}}, ["swad", "training.validate_every"]),
        ({"methods": [{"name": "full", "training": {"steps": 0}}]}, ["methods.0.training.steps:", "got 0"]),
        ({"methods": [{"name": "full", "training": {"recipe": {"loss": "l1"}}}]}, ["training.recipe.loss:", "'l1'"]),
        ({"methods": [{"name": "full", "variant": "A B"}]}, ["methods.0.variant:", "'A B'"]),
    ],
)
def test_impossible_studies_are_one_line(changes, words, tmp_path):
    with pytest.raises(StudyError) as error:
        load_study(str(write_study(tmp_path, "rivals-smoke", **changes)))
    assert all(word in str(error.value) for word in words), str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_block_changes_the_training_of_its_method_alone():
    blocks = [
        {"name": "full"},
        {"name": "full", "training": {"recipe": {"mixup_alpha": 0.2}, "weight_decay": 0.1}},
        {"name": "full", "training": {"validate_every": 50, "checkpoint_selection": "best_id_val"}},
    ]
    training = {"steps": 200, "recipe": {"label_smoothing": 0.1}}
    cells = study(methods=blocks, training=training, seeds=[0]).cells("00")
    assert [cell.listed_as for cell in cells] == [
        "full+label_smoothing", "full+mixup+label_smoothing", "full+label_smoothing+early_stopping"
    ]  # fmt: skip
    assert [cell.training.weight_decay for cell in cells] == [0.0, 0.1, 0.0]
    assert all(cell.training.steps == 200 and cell.training.recipe.label_smoothing == 0.1 for cell in cells)
