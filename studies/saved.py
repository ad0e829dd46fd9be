"""Bytes that a forward pass keeps for its backward pass, counted while they are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Saved:
    """Follows what autograd keeps; weights and buffers of the model, which are there anyway, do not count.

    What a method computes from weights for the pass (a mixed weight, say) counts. Within checkpointed blocks torch
    itself decides what is kept, so of them only the inputs are seen.

    Args:
        model: Whose weights do not count.

    Attributes:
        peak: The most bytes that were kept at one time, each storage once.
        largest: Bytes of the largest single tensor that was kept.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        >>> saved = Saved(model)
        >>> with saved.counting():
        ...     model(torch.zeros(2, 4)).sum().backward()
        >>> saved.peak  # the input and the output, 8 numbers each
        64
    """

    def __init__(self, model: nn.Module) -> None:
        self._own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
        self._live: Counter[int] = Counter()
        self._bytes = 0
        self.peak = self.largest = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts what is kept within the context."""
        with torch.autograd.graph.saved_tensors_hooks(self._keep, _given):
            yield

    def _keep(self, tensor: Tensor) -> Tensor | _Kept:
        storage = tensor.untyped_storage()
        # A storage is told by its address; tensors without one (of the meta device, or empty) take no memory.
        if storage.data_ptr() in self._own or storage.data_ptr() == 0:
            return tensor
        self._add(storage.data_ptr(), storage.nbytes())
        return _Kept(self, tensor)

    def _add(self, storage: int, size: int) -> None:
        self._live[storage] += 1
        if self._live[storage] == 1:
            self._bytes += size
            self.peak, self.largest = max(self.peak, self._bytes), max(self.largest, size)

    def _drop(self, storage: int, size: int) -> None:
        self._live[storage] -= 1
        if self._live[storage] == 0:
            self._bytes -= size


class _Kept:
    """A tensor that autograd keeps; what it takes is free again when autograd lets go of this."""

    def __init__(self, saved: Saved, tensor: Tensor) -> None:
        self.tensor = tensor
        storage = tensor.untyped_storage()
        self._saved, self._of = saved, (storage.data_ptr(), storage.nbytes())

    def __del__(self) -> None:
        self._saved._drop(*self._of)


def _given(kept: Tensor | _Kept) -> Tensor:
    return kept.tensor if isinstance(kept, _Kept) else kept
