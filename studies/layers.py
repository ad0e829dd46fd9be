"""Layer-wise learning rates: each layer of a backbone learns slower than the one above it."""

from typing import Any

from torch import nn

from studies.backbones.depth import distances

FACTOR = "layer_factor"
"""Key of an optimiser group: its learning rate as a fraction of the schedule's."""


def by_layer(groups: list[dict[str, Any]], model: nn.Module, decay: float) -> list[dict[str, Any]]:
    r"""Splits optimiser groups by layer.

    .. math:: \eta_l = \eta \cdot d^{\,l}

    with the distance :math:`l` from the head, in layers (Clark et al., ELECTRA, ICLR 2020; Bao et
    al., BEiT, ICLR 2022).

    Args:
        groups: Groups of a torch optimiser.
        model: What the parameters belong to. One that is not among its parameters counts to the head.
        decay: :math:`d`, in (0, 1]; 1 gives the groups back.

    Returns:
        Groups with ``FACTOR``, in the order of the given ones, the layers nearest to the head first.

    Raises:
        ValueError: If the model's layers are not known.
    """
    if decay == 1:
        return groups
    distance = distances(model)
    layer = {id(value): distance[name] for name, value in model.named_parameters() if name in distance}
    found = []
    for group in groups:
        numbers = sorted({layer.get(id(value), 0) for value in group["params"]})
        for number in numbers:
            chosen = [value for value in group["params"] if layer.get(id(value), 0) == number]
            found.append({**group, "params": chosen, FACTOR: decay**number})
    return found
