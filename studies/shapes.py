"""What a pass through a network takes of memory, from the shapes of its tensors alone: nothing is computed."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from studies.precision import Precision


@dataclass(frozen=True)
class Pass:
    """Bytes of a pass forward and back, beside weights and their gradients.

    Attributes:
        image: That an image more takes at the worst moment.
        kept: That an image more takes at the end of the forward pass: what is kept for the backward pass.
        largest: Of an image's largest tensor.
        copies: Of the weights in half precision, whatever the images.
    """

    image: int
    kept: int
    largest: int
    copies: int


def measured(model: nn.Module, side: int, precision: str = "float32") -> Pass:
    """Follows the passes of two small batches and takes the difference.

    Args:
        model: The network, recomputing its blocks or not; on the meta device single precision is all there is.
        side: Pixels of the images' sides.
        precision: Of products, as in a study.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 2))
        >>> measured(net, side=4).kept  # the image, the output of tanh, and the answer, each number in 4 bytes
        232
    """
    few, many = _follow(model, side, precision, 4), _follow(model, side, precision, 8)
    copies = 0 if precision == "float32" else 2 * few[1] - many[1]
    return Pass((many[0] - few[0]) // 4, (many[1] - few[1]) // 4, many[2] // 8, max(0, copies))


def _follow(model: nn.Module, side: int, precision: str, images: int) -> tuple[int, int, int]:
    """Bytes at the worst moment and after the forward pass, without the weights, and of its largest tensor."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake, torch.enable_grad():
        held: Mapping[str, Tensor] = {
            name: fake.from_tensor(value) for name, value in model.state_dict(keep_vars=True).items()
        }
        live = _Live()
        with live:
            pixels = torch.zeros(images, 3, side, side, device=next(iter(held.values())).device)
            with Precision(precision, "cpu").products():
                answers = functional_call(model, dict(held), (pixels,))
            after_forward, largest = live.bytes, live.largest
            answers.float().sum().backward()
        return live.peak, after_forward, largest


class _Live(TorchDispatchMode):
    """Adds up the storages that operators make, and takes away those that nobody holds any more."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = self.largest = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in args:
            if isinstance(value, Tensor) and value.untyped_storage()._cdata not in self._known:
                # Weights are there already.
                self._known[value.untyped_storage()._cdata] = weakref.ref(value.untyped_storage())
        made = function(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._add, made)
        return made

    def _add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known[key] = weakref.ref(storage, lambda _: self._drop(key, size))
            self.bytes += size
            self.peak, self.largest = max(self.peak, self.bytes), max(self.largest, size)
        return tensor

    def _drop(self, key: int, size: int) -> None:
        self._known.pop(key, None)
        self.bytes -= size
