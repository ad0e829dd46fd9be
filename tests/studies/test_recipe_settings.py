"""Recipes and attacks: what is refused, what is on, and one spelling for equal runs."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from studies.settings.attack import Attack, default_step_size
from studies.settings.recipe import Recipe

REFUSED = {
    "augmentation": "autoaugment",
    "crop_scale": 0.0,
    "randaugment_ops": -1,
    "randaugment_magnitude": 31,
    "mixup_alpha": -0.1,
    "cutmix_alpha": float("inf"),
    "label_smoothing": 1.0,
    "loss": "focal",
    "class_balanced_beta": 1.0,
    "logit_adjustment": 0.0,
    "adversarial_epsilon": 1.5,
    "adversarial_steps": 0,
    "adversarial_step_size": 0.0,
    "flip": 1.5,
}

SILENT = {
    "crop_scale": (0.5, {"augmentation": "crop"}),
    "randaugment_ops": (3, {"augmentation": "randaugment"}),
    "randaugment_magnitude": (5, {"augmentation": "randaugment"}),
    "class_balanced_beta": (0.9, {"loss": "class_balanced"}),
    "logit_adjustment": (2.0, {"loss": "logit_adjusted"}),
    "adversarial_steps": (7, {"adversarial_epsilon": 0.1}),
    "adversarial_step_size": (0.01, {"adversarial_epsilon": 0.1}),
    "adversarial_start": (False, {"adversarial_epsilon": 0.1}),
}


@pytest.mark.parametrize("field", REFUSED)
def test_impossible_values_are_refused(field):
    with pytest.raises(ValidationError, match=field):
        Recipe(**{field: REFUSED[field]})


@pytest.mark.parametrize("field", SILENT)
def test_a_field_without_effect_is_canonically_its_default(field):
    value, needs = SILENT[field]
    assert Recipe(**{field: value}).canonical() == Recipe()
    acting = Recipe(**{field: value}, **needs)
    assert acting.canonical() == acting != Recipe(**needs)


def test_every_field_is_either_always_heard_or_known_to_fall_silent():
    switches = {"augmentation", "flip", "mixup_alpha", "cutmix_alpha", "label_smoothing", "loss", "adversarial_epsilon"}
    assert set(Recipe.model_fields) == switches | set(SILENT)


@pytest.mark.parametrize(
    ("recipe", "same"),
    [
        (Recipe(augmentation="randaugment", randaugment_ops=0, randaugment_magnitude=3), Recipe(augmentation="crop")),
        (Recipe(loss="class_balanced", class_balanced_beta=0.0), Recipe()),
        (
            Recipe(adversarial_epsilon=0.1, adversarial_steps=5, adversarial_step_size=default_step_size(0.1, 5)),
            Recipe(adversarial_epsilon=0.1, adversarial_steps=5),
        ),
    ],
)
def test_equal_runs_have_one_spelling(recipe, same):
    assert recipe.canonical() == same.canonical() == same


def test_additions_are_named_in_the_order_in_which_they_act():
    everything = Recipe(
        adversarial_epsilon=0.1,
        loss="class_balanced",
        label_smoothing=0.1,
        cutmix_alpha=1.0,
        mixup_alpha=1.0,
        augmentation="randaugment",
        flip=0.5,
    )
    order = ("crop", "flip", "randaugment", "mixup", "cutmix", "label_smoothing", "class_balanced", "adversarial")
    assert everything.additions == order
    assert Recipe(loss="logit_adjusted", augmentation="crop").additions == ("crop", "logit_adjusted")


def test_step_size_crosses_the_cube_unless_it_is_given():
    assert Recipe(adversarial_epsilon=0.1, adversarial_steps=5).effective_step_size == 2.5 * 0.1 / 5
    assert Recipe(adversarial_epsilon=0.1, adversarial_step_size=0.3).effective_step_size == 0.3
    assert Attack(epsilon=0.1, steps=20).effective_step_size == 2.5 * 0.1 / 20
    assert Attack(epsilon=0.1, step_size=0.3).effective_step_size == 0.3


def test_attack_has_one_spelling():
    assert Attack(epsilon=0.1, steps=20, step_size=default_step_size(0.1, 20)).canonical() == Attack(
        epsilon=0.1, steps=20
    )
    assert Attack(step_size=0.3).canonical() == Attack(step_size=0.3)


@pytest.mark.parametrize(
    ("field", "value"),
    [("epsilon", 0.0), ("steps", 0), ("step_size", 0.0), ("restarts", 0), ("examples", 0), ("losses", ()),
     ("losses", ("margin", "margin")), ("losses", ("hinge",)), ("norm", 2)],
)  # fmt: skip
def test_impossible_attacks_are_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        Attack(**{field: value})


def test_settings_need_no_torch():
    code = "import sys, studies.settings.recipe, studies.settings.attack; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
