"""What may be added to plain training, for any method: augmentation, mixing, smoothing, losses, adversaries."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from studies.settings.attack import StepSize, default_step_size

MixingAlpha = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Recipe(BaseModel):
    """What is added to plain training; the same for every method. Every combination is possible.

    Images are cropped, then mirrored, augmented, mixed and attacked; the loss sees the result.

    Example:
        >>> Recipe().additions
        ()
        >>> Recipe(augmentation="randaugment", mixup_alpha=0.2, loss="logit_adjusted").additions
        ('crop', 'randaugment', 'mixup', 'logit_adjusted')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    augmentation: Literal["none", "crop", "randaugment"] = Field(
        default="none", description="Nothing, random resized crops, or such crops and then RandAugment."
    )
    crop_scale: float = Field(default=0.7, gt=0, le=1, description="Smallest area of a crop, as a fraction; 1: whole.")
    flip: float = Field(default=0.0, ge=0, le=1, description="Probability that an image is mirrored left to right.")
    randaugment_ops: int = Field(default=2, ge=0, description="RandAugment: operations an image, one after another.")
    randaugment_magnitude: int = Field(default=9, ge=0, le=30, description="RandAugment: their strength, 0 to 30.")
    mixup_alpha: MixingAlpha = Field(
        default=0.0, description="MixUp: the share of an image is drawn from Beta(alpha, alpha); 0 switches MixUp off."
    )
    cutmix_alpha: MixingAlpha = Field(
        default=0.0, description="CutMix: the same for the area; with MixUp, a fair coin chooses for each batch."
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Fraction of each target spread evenly over all classes, in [0, 1)."
    )
    loss: Literal["cross_entropy", "class_balanced", "logit_adjusted"] = Field(
        default="cross_entropy", description="Plain, weighted by effective class sizes, or with log priors added."
    )
    class_balanced_beta: float = Field(
        default=0.999, ge=0, lt=1, description="Class-balanced loss: 0 is no weighting, towards 1 is 1/class size."
    )
    logit_adjustment: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Logit adjustment: factor of the log priors; 1 balances."
    )
    adversarial_epsilon: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Adversarial training: largest change of a pixel value, in units of the range [0, 1]; 0: off.",
    )
    adversarial_steps: int = Field(default=3, ge=1, description="Adversarial training: gradient steps of the attack.")
    adversarial_step_size: StepSize | None = Field(
        default=None, description="Adversarial training: change of a pixel in a step; null: 2.5 epsilon/steps."
    )
    adversarial_start: bool = Field(
        default=True, description="Adversarial training: whether an attack starts at a random change, or at none."
    )

    @property
    def additions(self) -> tuple[str, ...]:
        """Names of what is on, in the order in which it acts."""
        is_on = {
            "crop": self.augmentation != "none",
            "flip": self.flip > 0,
            "randaugment": self.augmentation == "randaugment",
            "mixup": self.mixup_alpha > 0,
            "cutmix": self.cutmix_alpha > 0,
            "label_smoothing": self.label_smoothing > 0,
            "class_balanced": self.loss == "class_balanced",
            "logit_adjusted": self.loss == "logit_adjusted",
            "adversarial": self.adversarial_epsilon > 0,
        }
        return tuple(name for name, on in is_on.items() if on)

    @property
    def effective_step_size(self) -> float:
        """The step size of adversarial training, or its default where none is given."""
        if self.adversarial_step_size is None:
            return default_step_size(self.adversarial_epsilon, self.adversarial_steps)
        return self.adversarial_step_size

    def canonical(self) -> "Recipe":
        """One spelling for all recipes that make the same run: fields without effect are at their defaults.

        RandAugment without operations is ``crop``, class balancing with beta 0 is ``cross_entropy``, and a step size
        that equals its default is None.

        Example:
            >>> Recipe(randaugment_magnitude=5).canonical() == Recipe()
            True
        """
        changed: dict[str, Any] = {}
        if self.augmentation == "randaugment" and self.randaugment_ops == 0:
            changed["augmentation"] = "crop"
        if self.loss == "class_balanced" and self.class_balanced_beta == 0:
            changed["loss"] = "cross_entropy"
        recipe = self.model_copy(update=changed)
        silent = []
        if recipe.augmentation == "none":
            silent += ["crop_scale"]
        if recipe.augmentation != "randaugment":
            silent += ["randaugment_ops", "randaugment_magnitude"]
        if recipe.loss != "class_balanced":
            silent += ["class_balanced_beta"]
        if recipe.loss != "logit_adjusted":
            silent += ["logit_adjustment"]
        if recipe.adversarial_epsilon == 0:
            silent += ["adversarial_steps", "adversarial_step_size", "adversarial_start"]
        elif recipe.adversarial_step_size == default_step_size(recipe.adversarial_epsilon, recipe.adversarial_steps):
            silent += ["adversarial_step_size"]
        return recipe.model_copy(update={name: type(self).model_fields[name].default for name in silent})
