"""Full fine-tuning that is drawn back to the pretrained weights: by a penalty, or by decoupled decay."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from studies.methods.full import Full
from studies.methods.plain import copied
from studies.settings import CellSettings


class _Anchored(Full):
    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        super().__init__(model, cell)
        self._pretrained = copied(self.trained)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"pretrained": self._pretrained}


class L2Sp(_Anchored):
    r"""L2-SP (Li, Grandvalet, Davoine, ICML 2018): the loss grows with the distance from the pretrained weights.

    .. math:: \mathcal L + \tfrac{\alpha}{2}\,\lVert\theta - \theta_\text{pretrained}\rVert^2

    The head is pretrained, too (zero-shot), so one coefficient serves all parameters.
    """

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        super().__init__(model, cell)
        self._alpha = float(cell.options["penalty"])

    def penalty(self) -> Tensor | None:
        if self._alpha == 0:
            return None
        squares = [(value - self._pretrained[name]).square().sum() for name, value in self.trained.items()]
        return 0.5 * self._alpha * torch.stack(squares).sum()


class DecayToPretrained(_Anchored):
    r"""Decoupled weight decay whose centre is the pretrained weights instead of zero.

    .. math:: \theta \leftarrow \theta - \eta\,\gamma\,(\theta - \theta_\text{pretrained})

    after every step, with the step's learning rate :math:`\eta`; all parameters are pulled. The pull never goes
    beyond the pretrained weights.
    """

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        super().__init__(model, cell)
        self._strength = float(cell.options["strength"])

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        rates = {id(value): float(group["lr"]) for group in optimizer.param_groups for value in group["params"]}
        for name, parameter in self.trained.items():
            parameter.lerp_(self._pretrained[name], min(1.0, rates[id(parameter)] * self._strength))
        super().after_step(optimizer)
