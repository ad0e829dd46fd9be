"""One method in a study: its settings, fixed or varied, and what is otherwise in its training."""

import itertools
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from studies.settings.levers import Levers, Sweep, given
from studies.settings.points import complete_levers
from studies.settings.training import Changes, LearningRate
from studies.settings.traits import Traits, check_swept, complete_options, traits_of


class MethodBlock(BaseModel):
    """One method with fixed settings, a grid over others, and the learning rates it is tried at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Which method.")
    variant: str = Field(
        default="", pattern="^[a-z0-9_-]*$", description="Tells it from other blocks of the method in tables."
    )
    levers: Levers = Field(default=Levers(), description="Levers held fixed.")  # type: ignore[valid-type]
    sweep: Sweep = Field(default=Sweep(), description="Levers varied: every combination is a cell.")  # type: ignore[valid-type]
    options: dict[str, Any] = Field(default={}, description="The method's own settings besides levers.")
    # A file says `sweep` for these, too: which of the two is meant depends on the method's name.
    swept_options: dict[str, Any] = Field(default={}, description="The method's own settings varied.")
    pool: str | None = Field(default=None, description="Name of the pool that it is built from.")
    training: Changes = Field(default=Changes(), description="What is otherwise in training for this method.")  # type: ignore[valid-type]
    learning_rates: Annotated[tuple[LearningRate, ...], Field(min_length=1)] | None = Field(
        default=None, description="Peak learning rates; null takes the training's."
    )
    wise: bool = Field(default=False, description="Whether the WiSE-FT curve is evaluated.")

    @model_validator(mode="before")
    @classmethod
    def _sort_sweep(cls, given: Any) -> Any:
        if isinstance(given, dict) and "sweep" in given and isinstance(given.get("name"), str):
            try:
                traits = traits_of(given["name"])
            except ValueError:
                return given
            if not traits.has_levers and traits.options.model_fields:
                return {name: value for name, value in given.items() if name != "sweep"} | {
                    "swept_options": given["sweep"]
                }
        return given

    @field_validator("name")
    @classmethod
    def _is_method(cls, name: str) -> str:
        traits_of(name)
        return name

    @field_validator("options")
    @classmethod
    def _are_options(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "name" in info.data:
            complete_options(info.data["name"], options)
        return options

    @field_validator("swept_options")
    @classmethod
    def _are_swept_options(cls, swept: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return check_swept(info.data["name"], swept) if "name" in info.data else swept

    @model_validator(mode="after")
    def _is_possible(self) -> "MethodBlock":
        traits = self.traits
        fixed, swept = given(self.levers), given(self.sweep)
        if not traits.trains and (self.learning_rates or self.training.model_fields_set):
            raise ValueError(f"{self.name} trains nothing itself: remove learning_rates and training")
        if self.wise and (not traits.has_weights or self.name == "zero_shot"):
            raise ValueError(f"{self.name} has no fine-tuned weights to interpolate with: remove wise")
        if traits.takes_pool != (self.pool is not None):
            raise ValueError(
                f"{self.name} needs a pool" if traits.takes_pool else f"{self.name} takes no pool: remove it"
            )
        if both := [name for name in (*fixed, *self.options) if name in swept or name in self.swept_options]:
            raise ValueError(f"a setting is fixed or swept, never both; remove one of each: {', '.join(both)}")
        if not traits.has_levers:
            if named := [*fixed, *swept]:
                raise ValueError(f"{self.name} has no levers, got {', '.join(named)}; remove them")
            return self
        for lever, values in swept.items():
            if len(set(values)) != len(values):
                raise ValueError(f"the values of sweep.{lever} must differ from each other, got {list(values)}")
        for levers in self.combinations():
            # Impossible combinations are known to the method alone; it says what is wrong with them.
            complete_levers(self.name, levers)
        return self

    @property
    def traits(self) -> Traits:
        """What the method asks for."""
        return traits_of(self.name)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Every combination of the swept levers, joined with the fixed ones."""
        swept = given(self.sweep)
        for values in itertools.product(*swept.values()):
            yield {**given(self.levers), **dict(zip(swept, values, strict=True))}

    def option_combinations(self) -> Iterator[dict[str, Any]]:
        """Every combination of the method's own settings, complete."""
        for values in itertools.product(*self.swept_options.values()):
            changed = dict(zip(self.swept_options, values, strict=True))
            yield complete_options(self.name, self.options | changed)
