"""`gmixout study methods`: what a study's file can name, and what each of them can be set to. Needs no torch."""

import json
from typing import Any

import typer
from rich.console import Console

from studies.settings import LEVERS, TRAITS, Schedule
from studies.settings.points import DEFINING
from studies.settings.recipe import Recipe
from studies.settings.traits import Traits

PURPOSES: dict[str, str] = {
    "zero_shot": "the pretrained model as it is",
    "linear_probe": "the head alone, from the zero-shot head",
    "random_head_probe": "the head alone, from a random one: a control",
    "bias_norm": "biases, norms and the head: GMixout's dense part alone, a control",
    "full": "every parameter",
    "lp_ft": "a linear probe first, then every parameter",
    "l2_sp": "every parameter, with a penalty on the distance from the pretrained weights",
    "decay_to_pretrained": "every parameter, with decoupled decay towards the pretrained weights",
    "ema": "exponential moving average of a full fine-tuning run",
    "weight_average": "uniform average of a full fine-tuning run",
    "swad": "dense average over the valley of the validation loss",
    "lora": "low-rank adapters, by peft",
    "dora": "low-rank adapters with magnitudes, by peft",
    "shira": "one fixed random sparse mask, by peft",
    "flyp": "the contrastive loss of the pretraining; needs a text tower",
    "random_mask": "one random mask for the run",
    "sequential_masks": "random masks one after another, each from where the last one ended",
    "mixout": "a new mask at every step around the pretrained weights, exact gradient",
    "mixout_published": "Mixout as its public code has it: input columns, gradient without 1/(1 - p)",
    "hr_mixout": "HR-Mixout with element masks",
    "hr_mixout_filter": "HR-Mixout with one mask bit an output",
    "dropconnect": "masked weights are zero: a control",
    "gmixout": "masks that live for k steps around a moving anchor",
    "uniform_soup": "average of all runs of a pool",
    "greedy_soup": "average of those that make it strictly better on ID validation",
    "diwa": "average of those that leave it at least as good on ID validation",
    "ensemble": "mean of the probabilities of all runs of a pool",
}


def methods(console: Console, is_json: bool) -> None:
    """Prints every method with its settings, then the levers, then what can be added to training."""
    if is_json:
        typer.echo(json.dumps({name: _facts(name, traits) for name, traits in TRAITS.items()}, indent=1))
        return
    for name, traits in TRAITS.items():
        say(console, f"{name}: {PURPOSES[name]}")
        for line in _lines(traits):
            say(console, f"    {line}")
        if fixed := DEFINING.get(name):
            say(console, f"    levers, but for {', '.join(fixed)}")
        elif traits.has_levers:
            say(console, "    levers")
    say(console, "\nlevers (methods.levers, methods.sweep):")
    for name, (_, text) in LEVERS.items():
        say(console, f"    {name}: {text}")
    say(console, "\nany method's training (training, methods.training):")
    for name, field in Schedule.model_fields.items():
        if name != "recipe":
            say(console, f"    {name} [{_plain(field.default)}]: {field.description}")
    say(console, "\nadditions to any method's training (training.recipe, methods.training.recipe):")
    for name, field in Recipe.model_fields.items():
        say(console, f"    {name} [{_plain(field.default)}]: {field.description}")


def _lines(traits: Traits) -> list[str]:
    fields = traits.options.model_fields
    lines = [f"{name} [{_plain(field.default)}]: {field.description}" for name, field in fields.items()]
    if traits.takes_pool:
        lines.append("needs a pool")
    if traits.needs_validation:
        lines.append("needs training.validate_every")
    return lines


def _facts(name: str, traits: Traits) -> dict[str, Any]:
    options = {
        setting: {"default": _plain(field.default), "description": field.description}
        for setting, field in traits.options.model_fields.items()
    }
    levers = [lever for lever in LEVERS if lever not in DEFINING[name]] if traits.has_levers else []
    return {"purpose": PURPOSES[name], "options": options, "levers": levers, "needs_pool": traits.takes_pool}


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def say(console: Console, line: str) -> None:
    """Prints a line as it is."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)
