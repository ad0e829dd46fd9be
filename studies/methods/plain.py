"""Plain fine-tuning of a chosen part of a model, with snapshots along its trajectory."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from studies.methods.method import Accounting, Member, plain_groups, spaced_steps
from studies.settings import CellSettings


class Plain:
    """Dense training of some parameters; the others are frozen.

    Snapshots are taken at evenly spaced steps. They are the control for diversity: what members differ by merely
    because they come from different steps of one run, without any mask.

    Args:
        model: Trained in place.
        cell: Gives the number of snapshots and of steps.
    """

    member_kind = "trajectory"

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        self.model = model
        self._trained = self.choose(model)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for parameter in self._trained.values():
            parameter.requires_grad_(True)
        self._snapshot_steps = frozenset(spaced_steps(cell.steps, cell.evaluation.members))
        self._snapshots: dict[int, dict[str, Tensor]] = {}
        self._step = 0

    @staticmethod
    def choose(model: nn.Module) -> dict[str, nn.Parameter]:
        """The parameters that train, by name."""
        raise NotImplementedError

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        return plain_groups(self._trained, weight_decay)

    def after_step(self, optimizer: Optimizer) -> None:
        self._step += 1
        if self._step in self._snapshot_steps:
            self._snapshots[self._step] = _copy(self._trained)

    def reported(self) -> AbstractContextManager[object]:
        return nullcontext()

    def reported_weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def members(self) -> list[Member]:
        return [Member(step, partial(self._holding, weights)) for step, weights in sorted(self._snapshots.items())]

    def accounting(self) -> Accounting:
        trained = sum(parameter.numel() for parameter in self._trained.values())
        total = sum(parameter.numel() for parameter in self.model.parameters())
        return Accounting(total, trained, trained if self._step else 0, 1)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "snapshots": self._snapshots, "step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._snapshots = dict(state["snapshots"])
        self._step = state["step"]

    def merge(self) -> nn.Module:
        return self.model

    @contextmanager
    def _holding(self, weights: dict[str, Tensor]) -> Iterator[None]:
        own = _copy(self._trained)
        _put(self._trained, weights)
        try:
            yield
        finally:
            _put(self._trained, own)


def _copy(parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


@torch.no_grad()
def _put(parameters: dict[str, nn.Parameter], weights: dict[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
