"""An optimiser's state at a new mask: restarted at zero, or carried where a value stays trainable.

State is changed in place, so the optimiser, its parameter groups and captured graphs keep their tensors.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gmixout.sharded import local

# State that starts at zero in torch's own optimisers; anything else has a start we cannot know.
_ZERO_STARTS = {
    "step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "grad_avg", "acc_delta",
    "exp_inf", "delta_sq", "sum",
}  # fmt: skip


def holders(optimizers: tuple[Optimizer, ...], parameters: list[nn.Parameter]) -> dict[int, Optimizer]:
    """The optimiser of every trained parameter, by the parameter's id.

    Raises:
        ValueError: If an optimiser misses some of them: they would never learn.
    """
    found = {id(parameter): o for o in optimizers for group in o.param_groups for parameter in group["params"]}
    missing = sum(id(parameter) not in found for parameter in parameters)
    if missing:
        raise ValueError(
            f"the optimiser lacks {missing} of the method's {len(parameters)} trained tensors; "
            "build it on method.parameters() or method.parameter_groups(), after attaching the method"
        )
    return found


def restart(held: Sequence[tuple[Optimizer, nn.Parameter]]) -> None:
    """Sets the optimiser's state of some parameters to what it was before the first step.

    Raises:
        ValueError: If an optimiser keeps state with an unknown start; nothing has changed then.
    """
    tensors: list[Tensor] = []
    numbers: list[tuple[dict[str, Any], str]] = []
    for optimizer, parameter in held:
        state = optimizer.state.get(parameter, {})
        if unknown := state.keys() - _ZERO_STARTS:
            raise ValueError(
                f"{type(optimizer).__name__} keeps {min(unknown)!r}, whose value at the start is unknown; "
                "use moments='carry' with this optimiser"
            )
        tensors += [local(value) for value in state.values() if isinstance(value, Tensor)]
        numbers += [(state, name) for name, value in state.items() if not isinstance(value, Tensor | None)]
    if tensors:
        torch._foreach_zero_(tensors)
    for state, name in numbers:
        state[name] = 0


def carry(optimizer: Optimizer, parameter: nn.Parameter, old: Tensor, new: Tensor, entries: int) -> None:
    """Moves a parameter's optimiser state from an old support to a new one.

    Values in both supports keep their state; values that enter start at zero, and the step count goes on for all.

    Args:
        optimizer: The optimiser that holds ``parameter``.
        parameter: Trained values.
        old: Flat positions of the old support, int64, shape of ``parameter``.
        new: The same of the new support.
        entries: Entries of the weight.
    """
    state: dict[str, Any] = optimizer.state.get(parameter, {})
    alike = [value for value in state.values() if isinstance(value, Tensor) and value.shape == parameter.shape]
    moved = [local(value) for value in alike]
    if not moved:
        return
    slot = torch.full((entries,), -1, dtype=torch.int32, device=old.device)
    slot[old.reshape(-1)] = torch.arange(old.numel(), dtype=torch.int32, device=old.device)
    source = slot[new.reshape(-1)].long()
    stays = source >= 0
    for value in moved:
        kept = torch.where(stays, value.reshape(-1)[source.clamp_min(0)], 0.0)
        value.copy_(kept.view(value.shape))
