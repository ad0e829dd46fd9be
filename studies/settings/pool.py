"""A pool: several full runs whose hyper-parameters are drawn at random, for soups and ensembles to be built from."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator

from studies.settings.recipe import Recipe
from studies.settings.training import LearningRate, Schedule

_FIRST_SEED = 1_000_000
_SEEDS_A_BLOCK = 1_000

_VARIED: dict[str, tuple[Any, str]] = {
    "learning_rate": (LearningRate, "Peak learning rates."),
    "weight_decay": (Annotated[float, Field(ge=0, allow_inf_nan=False)], "Weight decays."),
    "augmentation": (Literal["none", "crop", "randaugment"], "Augmentations."),
    "randaugment_magnitude": (Annotated[int, Field(ge=0, le=30)], "Strengths of RandAugment."),
    "mixup_alpha": (Annotated[float, Field(ge=0, allow_inf_nan=False)], "MixUp's α."),
    "label_smoothing": (Annotated[float, Field(ge=0, lt=1)], "Label smoothing."),
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Vary = create_model(
    "Vary",
    __base__=_Frozen,
    __doc__="Values that each run of a pool draws from, independently and with equal chances.",
    **{
        name: (Annotated[tuple[kind, ...], Field(min_length=1)] | None, Field(None, description=text))  # type: ignore[valid-type]
        for name, (kind, text) in _VARIED.items()
    },  # type: ignore[call-overload]
)


class Pool(BaseModel):
    """Full fine-tuning runs that differ in seed and hyper-parameters, as in Model Soups (ICML 2022), section 3.

    Every block of the study has a pool of its own, so that what is built from it is an independent repetition.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=2, lt=_SEEDS_A_BLOCK, description="Number of runs.")
    steps: int | None = Field(default=None, ge=1, description="Optimiser steps of each; null takes the training's.")
    vary: Vary = Field(default=Vary(), description="What the runs differ in besides their seed.")  # type: ignore[valid-type]

    @field_validator("vary")
    @classmethod
    def _differ(cls, vary: BaseModel) -> BaseModel:
        for name, values in vary:
            if values is not None and len(set(values)) != len(values):
                raise ValueError(f"the values of {name} must differ from each other, got {list(values)}")
        return vary

    def runs(
        self, block: int, schedule: Schedule, learning_rates: tuple[float, ...]
    ) -> Iterator[tuple[int, float, Schedule]]:
        """Seed, learning rate and schedule of every run of a block.

        Args:
            block: The block's seed.
            schedule: The study's, which the draws change.
            learning_rates: What the learning rate is drawn from where the pool names none.

        Example:
            >>> pool = Pool(size=2, vary={"weight_decay": [0.0, 0.1]})
            >>> [seed for seed, _, _ in pool.runs(3, Schedule(), (1e-3,))]
            [1003000, 1003001]
        """
        given = {name: values for name, values in self.vary.model_dump().items() if values is not None}  # type: ignore[attr-defined]
        for number in range(self.size):
            rng = np.random.Generator(np.random.Philox(key=[block, number]))
            # Everything is drawn, also what is not varied, so that varying one thing leaves the other draws alone.
            draws = {name: rng.random() for name in _VARIED}
            drawn = {name: values[int(draws[name] * len(values))] for name, values in given.items()}
            rate = drawn.pop("learning_rate", learning_rates[int(draws["learning_rate"] * len(learning_rates))])
            recipe = {name: value for name, value in drawn.items() if name in Recipe.model_fields}
            changes: dict[str, Any] = {name: value for name, value in drawn.items() if name not in recipe}
            changes["recipe"] = schedule.recipe.model_dump() | recipe
            if self.steps is not None:
                changes["steps"] = self.steps
                changes["warmup_steps"] = round(schedule.warmup_steps * self.steps / schedule.steps)
            yield (
                _FIRST_SEED + _SEEDS_A_BLOCK * block + number,
                rate,
                Schedule.model_validate(schedule.model_dump() | changes),
            )
