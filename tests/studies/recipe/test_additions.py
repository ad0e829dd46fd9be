"""A recipe at work: nothing by default, all draws from seed and step, each addition reaching batch or loss."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from studies.benchmarks.draws import Draws
from studies.recipe import Additions
from studies.recipe.flip import random_flip
from studies.recipe.mixing import mix
from studies.recipe.randaugment import rand_augment
from studies.settings.recipe import Recipe

COUNTS = np.array([63, 27, 9, 4, 1])

RECIPES = {
    "flip": Recipe(flip=0.5),
    "randaugment": Recipe(augmentation="randaugment"),
    "mixup": Recipe(mixup_alpha=0.4),
    "cutmix": Recipe(cutmix_alpha=1.0),
    "both": Recipe(mixup_alpha=0.4, cutmix_alpha=1.0),
    "everything": Recipe(flip=0.5, augmentation="randaugment", mixup_alpha=0.4, cutmix_alpha=1.0),
}


@pytest.fixture(scope="module")
def batch():
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (16, 3, 32, 32), generator=random).float() / 255
    return images, torch.randint(0, 5, (16,), generator=random)


def test_nothing_is_added_by_default(batch):
    additions = Additions(Recipe(), COUNTS, seed=0)
    images, labels = additions.batch(*batch, step=3)
    assert images is batch[0]
    assert labels is batch[1]
    logits = torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(additions.criterion(logits, labels), functional.cross_entropy(logits, labels))
    assert additions.attack(lambda x, y: x.sum(), images, labels, step=3) is images


def test_batch_is_mirrored_then_augmented_then_mixed_by_named_streams(batch):
    recipe = Recipe(
        augmentation="randaugment", flip=0.3, randaugment_ops=3, randaugment_magnitude=20, mixup_alpha=0.4,
        cutmix_alpha=0.7,
    )  # fmt: skip
    for step in range(6):
        images = random_flip(batch[0], 0.3, Draws("recipe", "flip", 5, step))
        images = rand_augment(images, 3, 20, Draws("recipe", "randaugment", 5, step))
        targets = functional.one_hot(batch[1], 5).float()
        exact = mix(images, targets, 0.4, 0.7, Draws("recipe", "mix", 5, step))
        found = Additions(recipe, COUNTS, seed=5).batch(*batch, step)
        assert torch.equal(found[0], exact[0])
        assert torch.equal(found[1], exact[1])


@pytest.mark.parametrize("name", RECIPES)
def test_batch_is_a_function_of_seed_and_step(name, batch):
    kept, found = batch[0].clone(), {}
    for seed, step in itertools.product((0, 1), (0, 1, 2)):
        images, targets = Additions(RECIPES[name], COUNTS, seed).batch(*batch, step)
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed + 7)
            again = Additions(RECIPES[name], COUNTS, seed).batch(*batch, step)
        assert torch.equal(images, again[0])
        assert torch.equal(targets, again[1])
        found[seed, step] = images.numpy().tobytes()
        assert images.dtype == torch.float32
        assert 0 <= images.min() <= images.max() <= 1
    assert len(set(found.values())) == 6
    assert torch.equal(batch[0], kept)


@pytest.mark.parametrize("name", RECIPES)
def test_global_random_state_is_neither_read_nor_changed(name, batch):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    additions = Additions(RECIPES[name].model_copy(update={"adversarial_epsilon": 0.1}), COUNTS, seed=0)
    images, targets = additions.batch(*batch, step=0)
    additions.attack(lambda x, y: x.sum(), images, targets, step=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


def test_switching_one_addition_on_leaves_the_draws_of_the_others(batch):
    images, _ = Additions(RECIPES["flip"], COUNTS, seed=0).batch(*batch, step=0)
    both = Recipe(flip=0.5, mixup_alpha=0.4)
    mixed, targets = Additions(both, COUNTS, seed=0).batch(*batch, step=0)
    _, alone = Additions(RECIPES["mixup"], COUNTS, seed=0).batch(*batch, step=0)
    assert torch.equal(targets, alone)
    share = targets.gather(1, batch[1][:, None])[batch[1] != batch[1].roll(1)][0].item()
    torch.testing.assert_close(mixed, images * share + images.roll(1, 0) * (1 - share), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", RECIPES)
def test_targets_are_labels_unless_images_are_mixed(name, batch):
    _, targets = Additions(RECIPES[name], COUNTS, seed=0).batch(*batch, step=0)
    if name in ("flip", "randaugment"):
        assert targets is batch[1]
    else:
        assert targets.shape == (16, 5)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(16))


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(label_smoothing=0.1),
        Recipe(loss="class_balanced", class_balanced_beta=0.9),
        Recipe(loss="logit_adjusted", logit_adjustment=2.0),
        Recipe(loss="class_balanced", label_smoothing=0.1, mixup_alpha=1.0),
        Recipe(loss="logit_adjusted", label_smoothing=0.1, cutmix_alpha=1.0),
    ],
)
def test_criterion_follows_the_recipe(recipe, batch):
    additions = Additions(recipe, COUNTS, seed=0)
    _, targets = additions.batch(*batch, step=0)
    logits = torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
    classes = np.arange(5)
    one_hot = functional.one_hot(targets, 5).float() if targets.ndim == 1 else targets
    weights, adjustment = np.ones(5), np.zeros(5)
    if recipe.loss == "class_balanced":
        weights = (1 - recipe.class_balanced_beta) / (1 - recipe.class_balanced_beta**COUNTS)
        weights = 5 * weights / weights.sum()
    if recipe.loss == "logit_adjusted":
        adjustment = recipe.logit_adjustment * np.log(COUNTS / COUNTS.sum())
    log_p = (logits + torch.tensor(adjustment).float()).log_softmax(dim=1)
    exact = torch.zeros(16)
    for label in classes:
        smooth = (1 - recipe.label_smoothing) * log_p[:, label] + recipe.label_smoothing * log_p.mean(dim=1)
        exact -= one_hot[:, label] * weights[label] * smooth
    torch.testing.assert_close(additions.criterion(logits, targets), exact.mean(), rtol=1e-5, atol=0)


def test_attack_is_a_function_of_seed_step_and_model(batch):
    def attack(seed, step, sign=1, **changes):
        recipe = Recipe(adversarial_epsilon=0.1, adversarial_step_size=0.05, adversarial_steps=1, **changes)
        return Additions(recipe, COUNTS, seed).attack(lambda x, y: sign * x.sin().sum(), *batch, step)

    assert torch.equal(attack(0, 0), attack(0, 0))
    assert not torch.equal(attack(0, 0), attack(0, 1))
    assert not torch.equal(attack(0, 0), attack(1, 0))
    assert not torch.equal(attack(0, 0), attack(0, 0, sign=-1))
    assert torch.equal(attack(0, 0, adversarial_start=False), attack(1, 1, adversarial_start=False))
    assert torch.equal(attack(0, 0, adversarial_start=False), (batch[0] + 0.05).clamp(max=1))


@pytest.mark.parametrize("counts", [np.zeros((2, 2)), np.array([]), np.array([1, -1])])
def test_counts_that_are_none_are_refused(counts):
    with pytest.raises(ValueError, match="numbers of images, one a class"):
        Additions(Recipe(), counts, seed=0)


def test_empty_classes_are_refused_only_where_they_matter():
    empty = np.array([3, 0])
    Additions(Recipe(), empty, seed=0)
    for loss in ("class_balanced", "logit_adjusted"):
        with pytest.raises(ValueError, match=rf"{loss} needs .* got none of \[1\]"):
            Additions(Recipe(loss=loss), empty, seed=0)
