"""A model and images to a numpy array of logits: torch stops here."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from studies.ahead import read_ahead
from studies.benchmarks.benchmark import Images
from studies.benchmarks.readout import Readout
from studies.modes import evaluating

BATCH_SIZE = 100
"""Larger batches leave the cache: 5000 images a second at 100, 4000 at 250 (one core, 2026-11-24, digits-vit)."""


def to_input(images: npt.NDArray[np.uint8] | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Images as a model takes them: float32 in [0, 1], shape ``(N, 3, height, width)``.

    Args:
        images: Shape ``(N, height, width, 3)``, uint8. Eight bits travel, also to a GPU; pinned ones without waiting.
        device: Where the result lives.
    """
    held = images if isinstance(images, Tensor) else torch.tensor(images)
    return held.to(device, non_blocking=held.is_pinned()).permute(0, 3, 1, 2).float().div_(255)


def room_on(device: torch.device | str) -> Callable[[tuple[int, ...]], Tensor]:
    """Makes memory on the CPU for images that are read for a device: pinned where a GPU copies from it."""
    has_copies = torch.device(device).type == "cuda"
    return lambda shape: torch.empty(shape, dtype=torch.uint8, pin_memory=has_copies)


class Answers(NamedTuple):
    """Logits whose largest is 0 in each row, float16 ``(N, classes)``, and what was taken off, float32 ``(N,)``."""

    logits: npt.NDArray[np.float16]
    largest: npt.NDArray[np.float32]


def logits(
    model: nn.Module,
    images: Images,
    device: torch.device | str = "cpu",
    after_batch: Callable[[int], None] = lambda examples: None,
    readout: Readout | None = None,
) -> npt.NDArray[np.float16]:
    """The model's logits, each row shifted so that its largest is 0: those of :func:`answers`."""
    return answers(model, images, device, after_batch, readout).logits


def answers(
    model: nn.Module,
    images: Images,
    device: torch.device | str = "cpu",
    after_batch: Callable[[int], None] = lambda examples: None,
    readout: Readout | None = None,
) -> Answers:
    """The model's logits, each row shifted so that its largest is 0, and by how much.

    The shift changes no probability, and lets the ranking of the classes survive the rounding to half precision. What
    it takes away, an energy needs.

    Args:
        model: Takes images as :func:`to_input` makes them, gives logits of shape ``(N, classes)``. Its training mode
            is restored.
        images: Shape ``(N, height, width, 3)``, uint8; or files that a slice reads, while the model computes.
        device: Where the model lives.
        after_batch: Called with the number of images just done; may raise to stop.
        readout: How logits become answers of the split; applied before anything is rounded.

    Returns:
        Logits of the readout's classes if there is one, at least -65504. NaN where the model gave NaN or infinity.
    """
    parts, peaks = [], []
    with evaluating(model), torch.inference_mode():
        for pixels in _parts(images, device):
            batch = model(to_input(pixels, device)).float()
            if readout is not None:
                batch = torch.from_numpy(readout.apply(batch.cpu().numpy()))
            largest = batch.amax(dim=1, keepdim=True)
            shifted = batch - largest
            peaks.append(largest[:, 0].cpu().numpy())
            parts.append(shifted.clamp_(min=-65504.0).half().cpu().numpy())
            after_batch(len(batch))
    return Answers(np.concatenate(parts), np.concatenate(peaks))


def _parts(images: Images, device: torch.device | str) -> Iterator[npt.NDArray[np.uint8] | Tensor]:
    starts = range(0, len(images), BATCH_SIZE)
    if isinstance(images, np.ndarray):
        return (images[start : start + BATCH_SIZE] for start in starts)
    every = np.arange(len(images))
    return read_ahead(images, (every[start : start + BATCH_SIZE] for start in starts), room_on(device))
