"""Linear probe: only the head trains, on frozen features; from the zero-shot head, or from a random one."""

import torch
from torch import nn

from studies.failures import Impossible
from studies.methods.plain import Plain
from studies.settings import CellSettings


class LinearProbe(Plain):
    """The head is ``model.head``; it starts from the zero-shot head. The frozen part is run forward at every step."""

    @staticmethod
    def choose(model: nn.Module) -> dict[str, nn.Parameter]:
        return {f"head.{name}": parameter for name, parameter in head_of(model).named_parameters()}


class RandomHeadProbe(LinearProbe):
    """The control that forgets the zero-shot head: the head starts from fresh values, drawn with the cell's seed."""

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        super().__init__(model, cell)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cell.seed)
            for layer in head_of(model).modules():
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()


def head_of(model: nn.Module) -> nn.Module:
    """The model's head.

    Raises:
        Impossible: If the model has no module of that name.
    """
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Module):
        raise Impossible(
            f"a head that trains needs a model with a .head module, got {type(model).__name__} without one"
        )
    return head
