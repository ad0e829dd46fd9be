"""Floating-point operations of a piece of torch code, counted operator by operator."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):
    """Counts what matrix products, convolutions and attention take, by torch's own formulas, two a multiply-add.

    Elementwise operators count nothing. torch's `FlopCounterMode` does the same and follows modules, too, for which it
    hooks into the backward pass; that forbids gradients of gradients and of inputs, so it cannot see an attack.

    Example:
        >>> import torch
        >>> with FlopCounter() as counter:
        ...     _ = torch.ones(2, 3) @ torch.ones(3, 5)
        >>> counter.total
        60
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        found = func(*args, **given)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **given, out_val=found))
        return found
