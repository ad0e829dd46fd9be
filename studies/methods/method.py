"""The one signature behind which every fine-tuning method stands, so that the training loop names none of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer


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


class Method(Protocol):
    """A fine-tuning method attached to a model.

    Attributes:
        member_kind: What :meth:`members` gives: ``visited`` sub-networks, snapshots of a ``trajectory``, or ``none``.
    """

    member_kind: str

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """What trains, as groups for a torch optimiser; empty if nothing does."""

    def after_step(self, optimizer: Optimizer) -> None:
        """Called once after every optimiser step."""

    def reported(self) -> AbstractContextManager[object]:
        """Opens a context in which the model holds the weights that are evaluated and merged."""

    def reported_weights(self) -> dict[str, Tensor]:
        """A copy of the reported weights and the buffers, under the names of the model before it was attached to."""

    def members(self) -> list[Member]:
        """Models out of the run so far, evenly spaced over it, oldest first."""

    def accounting(self) -> Accounting:
        """Parameter counts of the run so far."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`load_state_dict` needs to go on bit for bit, the model's weights included."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict` on a model attached to in the same way."""

    def merge(self) -> nn.Module:
        """Ends the run: the plain model with the reported weights."""


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
