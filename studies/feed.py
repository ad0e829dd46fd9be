"""The batches of a run: which images each step sees and which part of each, read while the last step computes."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from studies.ahead import Job, ahead, read_ahead
from studies.benchmarks.benchmark import Images
from studies.benchmarks.draws import Draws
from studies.benchmarks.images import Crops, FileImages
from studies.evaluate import room_on, to_input
from studies.order import batch_indices
from studies.recipe.additions import Additions
from studies.recipe.crop import random_crop
from studies.settings.recipe import Recipe
from studies.share import Part

PLAIN = Recipe()

Batch = tuple[Tensor, Tensor]
"""Images, float32 ``(n, 3, height, width)``, and labels or targets."""


def augmented(batches: Iterator[Batch], additions: Additions, start: int, device: str = "cpu") -> Iterator[Batch]:
    """Mirrors, augments and mixes batches on the CPU, one ahead of the step in use; then they travel.

    Args:
        batches: From :meth:`Feed.batches`, on the CPU.
        additions: What is done to a batch.
        start: The first batch's step.
        device: Where batches go.
    """

    def begin(step: int) -> tuple[list[Batch], list[Job]]:
        made: list[Batch] = []

        def make() -> None:
            if (found := next(batches, None)) is not None:
                made.append(additions.batch(*found, step))

        return made, [make]

    for made in ahead(begin, itertools.count(start), threads=1, depth=1):
        if not made:
            return
        (images, targets) = made[0]
        yield images.to(device), targets.to(device)


class Feed:
    """Images and labels of every step, a function of seed and step alone: not of readers, and not of where a run began.

    An array lives on the device as a whole; files are read batch by batch, the next ones while a step computes. Random
    crops are cut out of the files' own pictures, whatever their sizes; of images in memory, out of the view.

    Args:
        images: uint8 ``(N, height, width, 3)``, or files that are read into such an array.
        labels: int64 ``(N,)``.
        seed: Of the order and of the crops.
        batch_size: Images a step.
        device: Where batches go.
        recipe: Whether and how images are cropped.
        part: Which images of every batch are read; by default all.
    """

    def __init__(
        self,
        images: Images,
        labels: npt.NDArray[np.int64],
        seed: int,
        batch_size: int,
        device: str = "cpu",
        recipe: Recipe = PLAIN,
        part: Part | None = None,
    ) -> None:
        self._images, self._seed, self._batch_size, self._device = images, seed, batch_size, device
        self._labels = torch.tensor(labels)
        self._held = to_input(images, device) if isinstance(images, np.ndarray) else None
        self._has_crops, self._crop_scale = recipe.augmentation != "none", recipe.crop_scale
        self._part = part

    def batches(self, start: int, end: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of the steps from ``start`` up to ``end``: float32 ``(n, 3, height, width)``, and labels."""
        steps = range(start, end)
        for step, images in zip(steps, self._seen(steps), strict=True):
            if self._has_crops and not isinstance(self._images, FileImages):
                images = random_crop(images, self._crop_scale, Draws(*self._crop_key(step)), self._part)
            yield images, self._labels[self._chosen(step)].to(self._device)

    def _seen(self, steps: range) -> Iterator[Tensor]:
        chosen = (self._chosen(step) for step in steps)
        if self._held is not None:
            return (self._held[torch.from_numpy(positions).to(self._device)] for positions in chosen)
        images: Any = self._images
        found = read_ahead(images, chosen, room_on(self._device), (self._crops(step) for step in steps))
        return (to_input(pixels, self._device) for pixels in found)

    def _chosen(self, step: int) -> npt.NDArray[np.int64]:
        batch = batch_indices(self._seed, step, len(self._labels), self._batch_size)
        return batch if self._part is None else batch[self._part.rows]

    def _crops(self, step: int) -> Crops | None:
        has_originals = self._has_crops and isinstance(self._images, FileImages)
        return Crops(self._crop_key(step), self._crop_scale) if has_originals else None

    def _crop_key(self, step: int) -> tuple[str | int, ...]:
        return "recipe", "crop", self._seed, step
