"""SWAD: the dense average of a full fine-tuning run between the ends of the valley of its ID validation loss."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from studies.methods.full import Full
from studies.methods.plain import copied, put
from studies.methods.valley import valley
from studies.settings import CellSettings


class Swad(Full):
    """Stochastic weight averaging, densely (Cha et al., NeurIPS 2021).

    The weights after every step are averaged within segments between two validations; segments from the valley's
    beginning to its end are averaged into what is reported, each by its number of steps. Where no valley begins, the
    last segment is reported, as in the authors' code. Before the first validation it is the current weights.

    The segments that the valley may still take in are kept: those of the whole run at worst.
    """

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        super().__init__(model, cell)
        options = cell.options
        self._patience = (int(options["converge_patience"]), int(options["overfit_patience"]))
        self._tolerance = float(options["tolerance"])
        self._losses: list[float] = []
        self._segments: list[dict[str, Tensor]] = []
        self._lengths: list[int] = []
        self._sum: dict[str, Tensor] = {}
        self._count = 0

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        super().after_step(optimizer)
        self._count += 1
        for name, parameter in self.trained.items():
            if self._count == 1:
                self._sum[name] = parameter.detach().clone()
            else:
                self._sum[name] += parameter

    def after_validation(self, step: int, cross_entropy: float) -> None:
        if not self._count:
            return
        self._losses.append(cross_entropy)
        self._segments.append({name: total / self._count for name, total in self._sum.items()})
        self._lengths.append(self._count)
        self._sum, self._count = {}, 0

    def _average(self) -> dict[str, Tensor]:
        if not self._segments:
            return copied(self.trained)
        found = valley(self._losses, *self._patience, self._tolerance)
        first, last = found if found is not None else (len(self._segments) - 1,) * 2
        lengths = self._lengths[first : last + 1]
        return {
            name: torch.stack([part[name] * length for part, length in zip(self._segments[first : last + 1], lengths)])
            .sum(dim=0)
            .div_(sum(lengths))
            for name in self.trained
        }

    @contextmanager
    def reported(self) -> Iterator[None]:
        with self.holding(self._average()):
            yield

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "losses": self._losses,
            "segments": self._segments,
            "lengths": self._lengths,
            "sum": self._sum,
            "count": self._count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._losses, self._segments = list(state["losses"]), list(state["segments"])
        self._lengths, self._sum, self._count = list(state["lengths"]), dict(state["sum"]), state["count"]

    def merge(self) -> nn.Module:
        put(self.trained, self._average())
        return self.model
