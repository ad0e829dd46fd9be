"""Plain fine-tuning of a chosen part of a model, with snapshots along its trajectory."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from studies.methods.method import Accounting, Member, Method, plain_groups, spaced_steps
from studies.settings import CellSettings


class Plain(Method):
    """Dense training of some parameters; the others are frozen.

    Snapshots are taken at evenly spaced steps. They are the control for diversity: what members differ by merely
    because they come from different steps of one run, without any mask.

    Args:
        model: Trained in place.
        cell: Gives the number of snapshots and of steps.
    """

    member_kind = "trajectory"

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        super().__init__(model, cell)
        self.trained = self.choose(model)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for parameter in self.trained.values():
            parameter.requires_grad_(True)
        self._snapshot_steps = frozenset(spaced_steps(cell.steps, cell.evaluation.members))
        self._snapshots: dict[int, dict[str, Tensor]] = {}
        self.step = 0

    @staticmethod
    def choose(model: nn.Module) -> dict[str, nn.Parameter]:
        """The parameters that train, by name."""
        raise NotImplementedError

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        return plain_groups(self.trained, weight_decay)

    def after_step(self, optimizer: Optimizer) -> None:
        self.step += 1
        if self.step in self._snapshot_steps:
            self._snapshots[self.step] = copied(self.trained)

    def members(self) -> list[Member]:
        return [Member(step, partial(self.holding, weights)) for step, weights in sorted(self._snapshots.items())]

    def accounting(self) -> Accounting:
        trained = sum(parameter.numel() for parameter in self.trained.values())
        total = sum(parameter.numel() for parameter in self.model.parameters())
        return Accounting(total, trained, trained if self.step else 0, 1)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"snapshots": self._snapshots, "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._snapshots = dict(state["snapshots"])
        self.step = state["step"]

    @contextmanager
    def holding(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """The model with other values of what trains; on leaving, its own are back, exactly."""
        own = copied(self.trained)
        put(self.trained, weights)
        try:
            yield
        finally:
            put(self.trained, own)


def copied(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Copies of parameters' values."""
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


@torch.no_grad()
def put(parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    """Writes values into parameters of the same names."""
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
