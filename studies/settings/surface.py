"""What is measured of the loss surface between the models of one run."""

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Surface(BaseModel):
    """Straight paths between members, anchor, pretrained and reported weights; distances and angles.

    Example:
        >>> Surface().inner_alphas
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: int = Field(default=11, ge=3, description="Models on each path, its ends included; odd, for a midpoint.")
    examples: int = Field(default=256, ge=1, description="How many of the first images of id_test and each OOD domain.")

    @field_validator("points")
    @classmethod
    def _has_a_midpoint(cls, points: int) -> int:
        if points % 2 == 0:
            raise ValueError(f"points must be odd, since one barrier is about the midpoint; got {points}")
        return points

    @property
    def inner_alphas(self) -> tuple[float, ...]:
        """Places on a path between its ends 0 and 1."""
        return tuple(number / (self.points - 1) for number in range(1, self.points - 1))
