"""Bytes that a cell needs on its device, from what a few steps of its method have shown."""

import math
from dataclasses import dataclass

from studies.settings import CellSettings, traits_of


@dataclass(frozen=True)
class Need:
    """Bytes that a method needs on the device.

    Attributes:
        fixed: While training, whatever the batch: pretrained and own weights, gradients, the optimiser's state,
            averages, snapshots.
        image: For every image that goes through the model at once: what is kept for the backward pass, and the image.
        part: Images that go through it at once.
        evaluating: While evaluating: the model with what its method keeps, and the copies that are reported, merged and
            interpolated; a batch of images on its way forward.
    """

    fixed: int
    image: int
    part: int
    evaluating: int

    @property
    def training(self) -> int:
        """While training."""
        return self.fixed + self.image * self.part

    @property
    def most(self) -> int:
        """At the worst moment."""
        return max(self.training, self.evaluating)

    def largest_part(self, limit: int) -> int:
        """The most images at once with which training stays within so many bytes; 0 if one is too many."""
        return max(0, min(self.part, (limit - self.fixed) // max(1, self.image)))


@dataclass(frozen=True)
class Measured:
    """What was measured of one kind of method; :meth:`need` adds what a cell keeps for its evaluation."""

    step_s: float
    episode_s: float
    held: int
    gradients: int
    trained: int
    image: int
    part: int
    kept: int
    weights: int
    forward: int
    is_masked: bool

    def need(self, cell: CellSettings) -> Need:
        """The bytes of a cell."""
        assert cell.training is not None
        members = cell.evaluation.members
        snapshot = self.trained
        if self.is_masked:
            # Of visited sub-networks twice as many are remembered, by what they trained; else whole models are.
            snapshot = 2 * self.trained if period_of(cell) < cell.steps else self.weights
        best = self.weights if cell.training.checkpoint_selection == "best_id_val" else 0
        # The pretrained model is there all the time.
        always = self.weights + self.held + self.gradients + members * snapshot + best + self.trained * looks(cell)
        # While a model is evaluated, its optimiser is gone; the reported weights, the merged model and one point
        # between it and the pretrained one have come.
        evaluating = always - 2 * self.trained + 3 * self.weights + self.forward
        return Need(always + self.kept, self.image, self.part, evaluating)


def looks(cell: CellSettings) -> int:
    """Looks at ID validation of which a method keeps the weights: at worst those of the whole run."""
    if cell.training is None or cell.training.validate_every is None:
        return 0
    return -(-cell.steps // cell.training.validate_every) if traits_of(cell.method).keeps_validations else 0


def period_of(cell: CellSettings) -> float:
    """Steps between two masks of a cell; infinite where there is one for the run."""
    return float(cell.levers.get("resample_every") or math.inf)
