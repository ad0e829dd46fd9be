"""What a model's head sees: features caught on their way, without a pass of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

EXAMPLES = 1024
"""First images of a split whose features are kept: enough for CKA, and small beside the logits of a large benchmark."""


class Caught:
    """Features of the images that have passed, in order, at most ``EXAMPLES``."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.float32]] = []
        self._room = EXAMPLES

    def __call__(self, head: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Takes up a batch on its way into the head."""
        if self._room > 0 and inputs:
            part = inputs[0].detach()[: self._room].float().cpu().numpy()
            self._parts.append(part.reshape(len(part), -1))
            self._room -= len(part)

    def features(self) -> npt.NDArray[np.float32] | None:
        """Shape ``(examples, width)``, or None where nothing has passed."""
        return np.concatenate(self._parts) if self._parts else None


@contextmanager
def catching(model: nn.Module) -> Iterator[Caught]:
    """Catches what goes into ``model.head`` meanwhile; nothing is caught of a model without one.

    Example:
        >>> import torch
        >>> model = nn.Sequential()
        >>> model.head = nn.Linear(3, 2)
        >>> with catching(model) as caught:
        ...     _ = model.head(torch.zeros(5, 3))
        >>> caught.features().shape
        (5, 3)
    """
    caught = Caught()
    head = getattr(model, "head", None)
    handle = head.register_forward_pre_hook(caught) if isinstance(head, nn.Module) else None
    try:
        yield caught
    finally:
        if handle is not None:
            handle.remove()
