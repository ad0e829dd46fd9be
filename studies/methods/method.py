"""The one signature behind which every fine-tuning method stands, so that the training loop names none of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from studies.settings import CellSettings
from studies.settings.training import Schedule

Criterion = Callable[[Tensor, Tensor], Tensor]
"""Logits and targets to the mean loss."""


@dataclass(frozen=True)
class Accounting:
    """How many parameters a run trains; counts of scalars.

    Attributes:
        total: Parameters of the model.
        trained_per_episode: Parameters that train within one episode.
        touched_over_run: Parameters that trained at any time in the run.
        subnetworks: Sub-networks visited by the run.
    """

    total: int
    trained_per_episode: int
    touched_over_run: int
    subnetworks: int


@dataclass(frozen=True)
class Member:
    """One model out of a run, for measuring diversity.

    Attributes:
        step: Optimiser steps taken when these weights were the run's.
        weights: Opens a context in which the model holds the member's weights; on leaving, the run's are back, exactly.
    """

    step: int
    weights: Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Phase:
    """A part of a run with an optimiser and a learning-rate schedule of its own.

    Attributes:
        steps: Its optimiser steps, at least 1.
        learning_rate: Its peak.
    """

    steps: int
    learning_rate: float


class Method(ABC):
    """A fine-tuning method attached to a model.

    A method is made from a model and a cell's settings. A subclass says what trains and what is reported; the other
    calls have defaults that suit a run of one phase with the study's own loss.

    Attributes:
        model: The model that trains, attached to.
        member_kind: What :meth:`members` gives: ``visited`` sub-networks, snapshots of a ``trajectory``, or ``none``.
        couples_images: Whether the loss of a batch is more than the mean over its images.
    """

    member_kind = "none"
    couples_images = False

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        self.model = model

    def phases(self, schedule: Schedule, learning_rate: float) -> tuple[Phase, ...]:
        """The parts of the run, in order; together they take ``schedule.steps`` steps."""
        return (Phase(schedule.steps, learning_rate),)

    def begin(self, phase: int) -> None:
        """Called before the first step of a phase, and before a state of that phase is loaded."""
        return None

    @abstractmethod
    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """What trains in the current phase, as groups for a torch optimiser; empty if nothing does."""

    def loss(self, images: Tensor, targets: Tensor, criterion: Criterion) -> Tensor:
        """The loss whose gradient is followed.

        Args:
            images: Shape ``(N, 3, height, width)``, in [0, 1].
            targets: Labels ``(N,)``, or probabilities ``(N, classes)`` where images were mixed.
            criterion: The study's loss.
        """
        return criterion(self.model(images), targets)

    def penalty(self) -> Tensor | None:
        """A term of the weights alone that is added to the loss, or None."""
        return None

    def after_step(self, optimizer: Optimizer) -> None:
        """Called once after every optimiser step."""
        return None

    def after_validation(self, step: int, cross_entropy: float) -> None:
        """Called with the loss of the current weights on ID validation, where the study validates."""
        return None

    def reported(self) -> AbstractContextManager[object]:
        """Opens a context in which the model holds the weights that are evaluated and merged."""
        return nullcontext()

    def reported_weights(self) -> dict[str, Tensor]:
        """A copy of the reported weights and the buffers, under the names of the model before it was attached to."""
        with self.reported():
            return self.held_weights()

    def held_weights(self) -> dict[str, Tensor]:
        """A copy of what the model computes with now, a member's weights within its context; names as before."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def anchor_weights(self) -> dict[str, Tensor] | None:
        """A copy of the weights that masked-out entries are held at, everything else as it is now; None without."""
        return None

    def members(self) -> list[Member]:
        """Models out of the run so far, evenly spaced over it, oldest first."""
        return []

    def fresh_members(self, number: int) -> list[Member]:
        """Sub-networks that no step has visited, for methods that draw masks."""
        return []

    @abstractmethod
    def accounting(self) -> Accounting:
        """Parameter counts of the run so far."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`load_state_dict` needs to go on bit for bit, the model's weights included.

        What is kept for measuring alone stands under ``snapshots``, and counts for nothing.
        """
        return {"model": self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict` on a model attached to in the same way."""
        self.model.load_state_dict(state["model"])

    def merge(self) -> nn.Module:
        """Ends the run: the plain model with the reported weights."""
        return self.model


def plain_groups(parameters: dict[str, nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Optimiser groups: tensors of two or more dimensions decay, biases and norms do not."""
    decaying = [parameter for parameter in parameters.values() if parameter.ndim >= 2]
    others = [parameter for parameter in parameters.values() if parameter.ndim < 2]
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def spaced_steps(steps: int, count: int) -> tuple[int, ...]:
    """Steps at the ends of ``count`` equal parts of a run; fewer if the run is shorter than that.

    Example:
        >>> spaced_steps(300, 4)
        (75, 150, 225, 300)
        >>> spaced_steps(2, 4)
        (1, 2)
    """
    if count == 0:
        return ()
    return tuple(sorted({step for part in range(count) if (step := round(steps * (part + 1) / count)) > 0}))
