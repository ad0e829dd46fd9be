"""The attack that measures robust accuracy, and the step size that attacks share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

StepSize = Annotated[float, Field(gt=0, allow_inf_nan=False)]
AttackLoss = Literal["cross_entropy", "margin"]


class Attack(BaseModel):
    """Projected gradient ascent within a cube around each image, from random starts.

    Cross-entropy is what most papers attack. Its gradient vanishes on a model that is very sure, and how sure a model
    is depends on label smoothing, MixUp and the like; the margin's gradient does not vanish. An image counts as robust
    only if it withstands every loss from every start, so that no recipe gains by the scale of its logits.

    Example:
        >>> Attack(epsilon=0.1, steps=10).effective_step_size
        0.025
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epsilon: float = Field(
        default=8 / 255, gt=0, le=1, description="Largest change of a pixel value, in units of the range [0, 1]."
    )
    steps: int = Field(default=10, ge=1, description="Gradient steps from each start.")
    step_size: StepSize | None = Field(
        default=None, description="Change of a pixel in a step; null: 2.5 epsilon/steps."
    )
    restarts: int = Field(default=1, ge=1, description="Random starts; the worst counts.")
    losses: Annotated[tuple[AttackLoss, ...], Field(min_length=1)] = Field(
        default=("cross_entropy", "margin"), description="What is raised, each from every start; the worst counts."
    )
    examples: int = Field(default=200, ge=1, description="How many of the first images of id_test are attacked.")

    @field_validator("losses")
    @classmethod
    def _differ(cls, losses: tuple[AttackLoss, ...]) -> tuple[AttackLoss, ...]:
        if len(set(losses)) != len(losses):
            raise ValueError("the losses must differ from each other")
        return losses

    @property
    def effective_step_size(self) -> float:
        """The step size, or its default where none is given."""
        return default_step_size(self.epsilon, self.steps) if self.step_size is None else self.step_size

    def canonical(self) -> "Attack":
        """One spelling for equal attacks: a step size that equals its default is None."""
        is_default = self.step_size == default_step_size(self.epsilon, self.steps)
        return self.model_copy(update={"step_size": None}) if is_default else self


def default_step_size(epsilon: float, steps: int) -> float:
    r""":math:`2.5\,\epsilon / \text{steps}`: far enough to cross the cube from any start and to move along its faces.

    The rule of Madry et al. (ICLR 2018), section 5, stated there for 100 steps.

    Args:
        epsilon: Largest change of a pixel value.
        steps: Gradient steps, at least 1.
    """
    return 2.5 * epsilon / steps
