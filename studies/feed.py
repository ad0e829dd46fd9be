"""The batches of a run: which images each step sees, in memory or read from files while the last step computes."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from studies.ahead import ahead
from studies.benchmarks.benchmark import Images
from studies.evaluate import to_input
from studies.order import batch_indices


class Feed:
    """Images and labels of every step, a function of seed and step alone.

    An array lives on the device as a whole; files are read batch by batch, the next ones while a step computes.

    Args:
        images: uint8 ``(N, height, width, 3)``, or files that indexing reads into such an array.
        labels: int64 ``(N,)``.
        seed: Of the order.
        batch_size: Images a step.
        device: Where batches go.
    """

    def __init__(
        self, images: Images, labels: npt.NDArray[np.int64], seed: int, batch_size: int, device: str = "cpu"
    ) -> None:
        self._images, self._seed, self._batch_size, self._device = images, seed, batch_size, device
        self._labels = torch.tensor(labels, device=device)
        self._held = to_input(images, device) if isinstance(images, np.ndarray) else None

    def batches(self, start: int, end: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of the steps from ``start`` up to ``end``: float32 ``(n, 3, height, width)``, and labels."""
        if self._held is not None:
            for step in range(start, end):
                chosen = torch.from_numpy(self._chosen(step)).to(self._device)
                yield self._held[chosen], self._labels[chosen]
            return
        for positions, pixels in ahead(self._read, range(start, end)):
            chosen = torch.from_numpy(positions).to(self._device)
            yield to_input(pixels, self._device), self._labels[chosen]

    def _chosen(self, step: int) -> npt.NDArray[np.int64]:
        return batch_indices(self._seed, step, len(self._labels), self._batch_size)

    def _read(self, step: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        positions = self._chosen(step)
        return positions, self._images[positions]
