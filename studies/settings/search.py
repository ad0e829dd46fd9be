"""A search in a study's file: a method, the space of its settings, and how the space is looked through."""

import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from studies.settings.block import MethodBlock
from studies.settings.cell import CellSettings
from studies.settings.levers import LEVERS, Levers, given
from studies.settings.objectives import JUDGED, OBJECTIVES
from studies.settings.recipe import Recipe
from studies.settings.samplers import Pruner, Sampler
from studies.settings.training import Changes, LearningRate, Schedule
from studies.settings.traits import complete_options

RATE = "learning_rate"
RECIPE = "recipe."
ORACLE = "oracle"
"""What a method is called besides its name where a search has looked at test splits."""


class Range(BaseModel):
    """Numbers from ``low`` to ``high``, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float = Field(allow_inf_nan=False, description="Smallest value.")
    high: float = Field(allow_inf_nan=False, description="Largest value.")
    log: bool = Field(default=False, description="Whether equal ratios are equally likely, not equal differences.")
    whole: bool = Field(default=False, description="Whether only whole numbers count.")

    @model_validator(mode="after")
    def _is_possible(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range begins above 0, got {self.low}")
        if self.whole and (self.low != int(self.low) or self.high != int(self.high)):
            raise ValueError(f"a range of whole numbers has whole ends, got {self.low} and {self.high}")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends, as integers where only whole numbers count."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


Choices = Annotated[tuple[bool | int | float | str, ...], Field(min_length=1)]
# Told apart before either is tried, so that what is wrong is said once.
Values = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")],
    Discriminator(lambda values: "range" if isinstance(values, dict | Range) else "choices"),
]


class Search(BaseModel):
    """A search for settings of one method.

    Example:
        >>> search = Search(method={"name": "gmixout"}, space={"sparsity": {"low": 0.5, "high": 0.9}}, trials=8,
        ...                 sampler={"name": "random", "seed": 0})
        >>> search.block({"sparsity": 0.7}).levers.sparsity
        0.7
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: MethodBlock = Field(description="The method, with what is fixed about it.")
    space: Annotated[dict[str, Values], Field(min_length=1)] = Field(
        description="What is searched: levers, learning_rate, the method's settings, training's fields, recipe.NAME."
    )
    trials: int = Field(ge=1, description="Settings to try, those that fail or are ended early included.")
    objectives: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default=("id_val_accuracy_score",), description="What is sought; several give a front."
    )
    sampler: Sampler = Field(description="How settings are proposed, with its seed.")
    pruner: Pruner | None = Field(default=None, description="Which runs end early, from ID validation alone; or null.")
    warm_start: tuple[Path, ...] = Field(
        default=(), description="Results or records of other studies to begin from, relative to the study's file."
    )
    oracle: bool = Field(default=False, description="Whether objectives may read test splits: an upper bound.")

    @field_validator("warm_start")
    @classmethod
    def _start_at_the_file(cls, folders: tuple[Path, ...], info: ValidationInfo) -> tuple[Path, ...]:
        return tuple(((info.context or {}).get("folder", Path()) / folder).resolve() for folder in folders)

    @field_validator("objectives")
    @classmethod
    def _are_objectives(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in OBJECTIVES]:
            raise ValueError(f"objectives are {', '.join(OBJECTIVES)}; unknown: {', '.join(unknown)}")
        if len(set(names)) != len(names):
            raise ValueError("the objectives must differ from each other")
        return names

    @model_validator(mode="after")
    def _is_possible(self) -> "Search":
        if (wanted := [name for name in self.objectives if OBJECTIVES[name].is_oracle]) and not self.oracle:
            raise ValueError(
                f"objectives must not read test splits, got {', '.join(wanted)}; as an upper bound that is no result, "
                "say oracle: true, which marks every output"
            )
        if self.oracle and not wanted:
            raise ValueError("oracle: true marks a search that reads test splits, and this one does not: remove it")
        if self.pruner is not None and (len(self.objectives) > 1 or self.objectives[0] not in JUDGED):
            raise ValueError(
                "a pruner compares ID validation scores while runs train, so the one objective must be "
                f"{' or '.join(JUDGED)}, got {', '.join(self.objectives)}"
            )
        if given(self.method.sweep) or self.method.swept_options:
            raise ValueError("a search has no sweep: what is tried belongs in its space")
        if not self.method.traits.trains:
            raise ValueError(f"a search is for methods that train, got {self.method.name}")
        if len(self.method.learning_rates or ()) > 1:
            raise ValueError("a search has one learning rate, or learning_rate in its space")
        for name, values in self.space.items():
            for value in values.ends if isinstance(values, Range) else values:
                _check(self.method.name, name, value)
        return self

    def block(self, values: dict[str, Any]) -> MethodBlock:
        """The method with these values of the space.

        Raises:
            ValueError: If they contradict each other or what is fixed.
        """
        levers, options = given(self.method.levers), dict(self.method.options)
        training = self.method.training.model_dump(exclude_unset=True)
        rates = self.method.learning_rates
        for name, value in values.items():
            if name == RATE:
                rates = (value,)
            elif name in LEVERS:
                levers[name] = value
            elif name.startswith(RECIPE):
                training["recipe"] = (training.get("recipe") or {}) | {name.removeprefix(RECIPE): value}
            elif name in Schedule.model_fields:
                training[name] = value
            else:
                options[name] = value
        variant = self.method.variant
        if self.oracle:
            variant = f"{variant}-{ORACLE}" if variant else ORACLE
        return MethodBlock(
            name=self.method.name,
            variant=variant,
            levers=levers,
            options=options,
            training=training,
            learning_rates=rates,
            wise=self.method.wise,
        )

    @property
    def middle(self) -> dict[str, Any]:
        """A point in the middle of the ranges, at the first of the choices."""
        return {name: _middle(values) for name, values in self.space.items()}

    def values(self, cell: CellSettings) -> dict[str, Any]:
        """The point of the space that a cell is, if it is one: whoever asks makes the point's cell and compares.

        A setting without effect in the cell, and so one that the cell does not tell, has its first value.
        """
        return {name: _nearest(_of(cell, name), values) for name, values in self.space.items()}


def _middle(values: Range | tuple[Any, ...]) -> Any:
    if not isinstance(values, Range):
        return values[0]
    middle = math.sqrt(values.low * values.high) if values.log else (values.low + values.high) / 2
    return round(middle) if values.whole else middle


def _nearest(value: Any, values: Range | tuple[Any, ...]) -> Any:
    if not isinstance(values, Range):
        return value if value in values else values[0]
    low, high = values.ends
    inside = low if value is None else min(max(value, low), high)
    return int(inside) if values.whole else float(inside)


def _of(cell: CellSettings, name: str) -> Any:
    if name == RATE:
        return cell.learning_rate
    if name in LEVERS:
        return cell.levers.get(name)
    if name.startswith(RECIPE):
        return getattr(cell.training.recipe, name.removeprefix(RECIPE)) if cell.training else None
    if name in Schedule.model_fields:
        return getattr(cell.training, name) if cell.training else None
    return cell.options.get(name)


def _check(method: str, name: str, value: Any) -> None:
    try:
        if name == RATE:
            TypeAdapter(LearningRate).validate_python(value)
        elif name in LEVERS:
            Levers(**{name: value})
        elif name.startswith(RECIPE):
            Recipe(**{name.removeprefix(RECIPE): value})
        elif name in Schedule.model_fields:
            Changes(**{name: value})
        else:
            complete_options(method, {name: value})
    except ValidationError as error:
        rule = error.errors()[0]["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        raise ValueError(f"space.{name}: {rule[0].lower()}{rule[1:]}, got {value!r}") from None
    except ValueError as error:
        raise ValueError(f"space.{name}: {error}") from None
