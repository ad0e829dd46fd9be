"""How a cell is trained and what is evaluated: the settings shared by every method."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator
from pydantic.fields import FieldInfo

from studies.settings.attack import Attack
from studies.settings.recipe import Recipe
from studies.settings.surface import Surface

LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Schedule(BaseModel):
    """The training loop's settings except the learning rate, which each method brings.

    Example:
        >>> Schedule(steps=300).warmup_steps
        0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=300, ge=1, description="Optimiser steps.")
    batch_size: int = Field(default=16, ge=1, description="Images a step.")
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False, description="AdamW's decoupled weight decay.")
    warmup_steps: int = Field(default=0, ge=0, description="Steps of linear warm-up; below steps.")
    schedule: Literal["cosine", "constant"] = Field(default="cosine", description="Learning rate after the warm-up.")
    gradient_clip: float | None = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Largest norm of the whole gradient; null switches clipping off.",
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="What products are computed in while training; weights, gradients and evaluation stay float32.",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Learning rate of a layer as a fraction of that of the one above; 1: equal.",
    )
    batch_norm: Literal["batch", "frozen"] = Field(
        default="batch", description="Statistics of batch norms in training: the batch's, or the pretrained ones."
    )
    validate_every: int | None = Field(default=None, ge=1, description="Steps between looks at ID validation; or null.")
    checkpoint_selection: Literal["last", "best_id_val"] = Field(
        default="last",
        description="Report the last weights, or the best by the benchmark's ID validation score; that must validate.",
    )

    recipe: Recipe = Field(default=Recipe(), description="What is added to plain training.")

    @field_validator("recipe")
    @classmethod
    def _in_one_spelling(cls, recipe: Recipe) -> Recipe:
        return recipe.canonical()

    @property
    def additions(self) -> tuple[str, ...]:
        """Names of what is added to plain training; the choice of the best checkpoint counts as one."""
        stops = ("early_stopping",) if self.checkpoint_selection == "best_id_val" else ()
        return (*self.recipe.additions, *stops)

    @model_validator(mode="after")
    def _is_possible(self) -> "Schedule":
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps must be below steps ({self.steps}), got {self.warmup_steps}")
        if self.checkpoint_selection == "best_id_val" and self.validate_every is None:
            raise ValueError("checkpoint_selection best_id_val needs validate_every, got null; give a number of steps")
        return self


class _Changes(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def over(self, schedule: Schedule) -> Schedule:
        """The schedule with what is given here in place of its own; a recipe's fields one by one.

        Raises:
            ValueError: If the result is impossible.
        """
        given = self.model_dump(include=self.model_fields_set)
        if self.recipe is not None:  # type: ignore[attr-defined]
            own = self.recipe.model_dump(include=self.recipe.model_fields_set)  # type: ignore[attr-defined]
            given["recipe"] = schedule.recipe.model_dump() | own
        return Schedule.model_validate(schedule.model_dump() | given)


def _constrained(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


Changes = create_model(
    "Changes",
    __base__=_Changes,
    __doc__="Values of a schedule that one method has otherwise than the rest of the study.",
    **{
        name: (_constrained(field) if name != "recipe" else Recipe | None, Field(None, description=field.description))
        for name, field in Schedule.model_fields.items()
    },  # type: ignore[call-overload]
)


class Evaluation(BaseModel):
    """What is computed once the weights are trained.

    Example:
        >>> Evaluation(members=4).wise_alphas
        ()
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: int = Field(default=0, ge=0, description="Sub-networks, evenly spaced over the run, for diversity.")
    wise_alphas: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        default=(), description="WiSE-FT: weights of the FINE-TUNED side, in [0, 1], for methods with wise: true."
    )
    corruptions: bool = Field(default=True, description="Whether the corrupted test images are evaluated.")
    fresh_members: int = Field(
        default=0, ge=0, description="Sub-networks of masks drawn anew after training, for methods with levers."
    )
    attack: Attack | None = Field(default=None, description="PGD on ID test images, for robust accuracy; or null.")
    keep_weights: bool = Field(default=False, description="Whether the reported weights are kept as a file.")
    surface: Surface | None = Field(
        default=None, description="Barriers, distances and angles between the models of a trained run; or null."
    )

    @field_validator("attack")
    @classmethod
    def _in_one_spelling(cls, attack: Attack | None) -> Attack | None:
        return attack.canonical() if attack is not None else None

    @model_validator(mode="after")
    def _is_possible(self) -> "Evaluation":
        if self.members == 1:
            raise ValueError("members must be 0 or at least 2, since diversity is measured between pairs; got 1")
        if self.fresh_members == 1:
            raise ValueError("fresh_members must be 0 or at least 2, since diversity is measured between pairs; got 1")
        if len(set(self.wise_alphas)) != len(self.wise_alphas):
            raise ValueError(f"wise_alphas must differ from each other, got {list(self.wise_alphas)}")
        return self
