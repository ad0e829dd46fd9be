"""What a study's file may ask of each method: its own settings, and what it needs. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studies.settings.points import POINTS


class Options(BaseModel):
    """A method's own settings beside the levers; the base of every method's, and the one of methods that have none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LpFtOptions(Options):
    """Of LP-FT: how the run is shared between the probe and full fine-tuning."""

    probe_fraction: float = Field(
        default=0.5, gt=0, lt=1, description="Fraction of the steps that train the head alone."
    )
    probe_learning_rate: float = Field(default=0.01, gt=0, allow_inf_nan=False, description="The probe's peak rate.")


class L2SpOptions(Options):
    """Of L2-SP."""

    penalty: float = Field(
        default=0.01, ge=0, allow_inf_nan=False, description="α of the penalty α/2 · |θ − θ_pretrained|²."
    )


class PullOptions(Options):
    """Of decay towards the pretrained weights."""

    strength: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="Decoupled decay; a step pulls by learning rate × this."
    )


class EmaOptions(Options):
    """Of the exponential moving average of a full fine-tuning run."""

    decay: float = Field(default=0.99, ge=0, lt=1, description="Weight of the OLD average at every step.")


class AverageOptions(Options):
    """Of the uniform average of a full fine-tuning run."""

    start_fraction: float = Field(default=0.5, ge=0, lt=1, description="Fraction of the steps before averaging begins.")


class SwadOptions(Options):
    """Of SWAD's valley; the values are its authors'."""

    converge_patience: int = Field(
        default=3, ge=1, description="N_s: validations without a lower loss begin the valley."
    )
    overfit_patience: int = Field(default=6, ge=1, description="N_e: as many above the threshold end it.")
    tolerance: float = Field(
        default=1.3, ge=1, allow_inf_nan=False, description="r: the threshold is this times the loss at the beginning."
    )


class LoraOptions(Options):
    """Of LoRA and DoRA, as peft has them."""

    rank: int = Field(default=4, ge=1, description="Rank of the adapters.")
    alpha: float = Field(default=8.0, gt=0, allow_inf_nan=False, description="The update is scaled by alpha / rank.")
    targets: str = Field(
        default="all-linear",
        min_length=1,
        description="all-linear; all-weights, which adds convolutions; or a regular expression of modules' names.",
    )


class ShiraOptions(Options):
    """Of SHiRA, as peft has it: one fixed random mask over linear layers."""

    rank: int = Field(default=4, ge=1, description="As many entries train as a LoRA of this rank has.")
    targets: str = Field(
        default="all-linear", min_length=1, description="all-linear, or a regular expression of modules' names."
    )


class FlypOptions(Options):
    """Of contrastive fine-tuning with the pretraining's own loss."""

    train_text: bool = Field(default=True, description="Whether the text tower trains, too.")
    positives: Literal["pairs", "labels"] = Field(
        default="pairs", description="What counts as a match: an image's own prompt, or every prompt of its class."
    )


@dataclass(frozen=True)
class Traits:
    """What a method asks of a study.

    Attributes:
        options: Its own settings.
        trains: Whether it takes optimiser steps of its own; zero-shot and what is built from other runs do not.
        has_levers: Whether it is a point in the space of masked fine-tuners.
        takes_pool: Whether it is built from the finished runs of a pool.
        has_weights: Whether it ends in one set of weights, which WiSE-FT can interpolate.
        needs_text: Whether the backbone must have a text tower.
        couples_images: Whether its loss compares the images of a batch with each other.
        trains_norms: Whether the norms of the backbone train.
        needs_validation: Whether ``training.validate_every`` must be set.
        keeps_validations: Whether it keeps weights of every look at ID validation.
        code: SHA-256 of the file of a user's own method; empty for ours.
    """

    options: type[Options] = Options
    trains: bool = True
    has_levers: bool = False
    takes_pool: bool = False
    has_weights: bool = True
    needs_text: bool = False
    couples_images: bool = False
    trains_norms: bool = True
    needs_validation: bool = False
    keeps_validations: bool = False
    code: str = ""


TRAITS: Mapping[str, Traits] = {
    "zero_shot": Traits(trains=False),
    "linear_probe": Traits(trains_norms=False),
    "random_head_probe": Traits(trains_norms=False),
    "bias_norm": Traits(),
    "full": Traits(),
    "lp_ft": Traits(LpFtOptions),
    "l2_sp": Traits(L2SpOptions),
    "decay_to_pretrained": Traits(PullOptions),
    "ema": Traits(EmaOptions),
    "weight_average": Traits(AverageOptions),
    "swad": Traits(SwadOptions, needs_validation=True, keeps_validations=True),
    "lora": Traits(LoraOptions, trains_norms=False),
    "dora": Traits(LoraOptions, trains_norms=False),
    "shira": Traits(ShiraOptions, trains_norms=False),
    "flyp": Traits(FlypOptions, needs_text=True, couples_images=True),
    **{name: Traits(has_levers=True) for name in POINTS},
    "uniform_soup": Traits(trains=False, takes_pool=True),
    "greedy_soup": Traits(trains=False, takes_pool=True),
    "diwa": Traits(trains=False, takes_pool=True),
    "ensemble": Traits(trains=False, takes_pool=True, has_weights=False),
}
"""Our methods; a user's own join through `studies.settings.plugins`."""

_USERS: dict[str, Traits] = {}


def add_traits(name: str, traits: Traits) -> None:
    """Makes a user's method known to study files.

    Raises:
        ValueError: If the name is one of ours, or no name.
    """
    if name in TRAITS:
        raise ValueError(f"{name!r} is a method of the suite; give your own method another name")
    if not name.isidentifier():
        raise ValueError(f"a method's name is made of letters, digits and _, got {name!r}")
    _USERS[name] = traits


def traits_of(name: str) -> Traits:
    """What a method asks of a study.

    Raises:
        ValueError: If there is no such method.

    Example:
        >>> traits_of("lora").options(rank=8).rank
        8
    """
    found = TRAITS.get(name) or _USERS.get(name)
    if found is None:
        raise ValueError(f"must be one of {', '.join([*TRAITS, *_USERS])}; a method of your own needs plugins")
    return found


def complete_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a method, with those that are not given at their defaults.

    Raises:
        ValueError: In one line, if a setting is unknown or impossible.

    Example:
        >>> complete_options("ema", {})
        {'decay': 0.99}
    """
    return _validated(traits_of(name).options, options).model_dump()


def check_swept(name: str, swept: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The values to try of a method's settings.

    Raises:
        ValueError: In one line, if a setting is unknown, a value impossible, or a list is empty or repeats itself.
    """
    for setting, values in swept.items():
        if not isinstance(values, list | tuple) or not values:
            raise ValueError(f"{setting} must be a list of values to try, got {values!r}")
        if len({repr(value) for value in values}) != len(values):
            raise ValueError(f"the values of {setting} must differ from each other, got {list(values)}")
        for value in values:
            _validated(traits_of(name).options, {setting: value})
    return {setting: tuple(values) for setting, values in swept.items()}


def _validated(model: type[Options], values: Mapping[str, Any]) -> Options:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        fault = error.errors()[0]
        setting = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields) or "none"
            raise ValueError(f"unknown setting {setting}; allowed: {known}") from None
        rule = fault["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        raise ValueError(f"{setting}: {rule[0].lower()}{rule[1:]}, got {fault['input']!r}") from None
