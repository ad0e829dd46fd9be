"""Horizontal flips of a batch, each image by its own coin."""

import torch
from torch import Tensor

from studies.benchmarks.draws import Draws


def random_flip(images: Tensor, probability: float, draws: Draws) -> Tensor:
    """Mirrors each image left to right with the given probability.

    Args:
        images: Shape ``(N, channels, height, width)``.
        probability: In [0, 1].
        draws: Gives the coins.

    Returns:
        The images, same shape, dtype and device; those that are not mirrored bit for bit as they were.

    Example:
        >>> random_flip(torch.tensor([[[[1.0, 2.0]]]]), 1.0, Draws("flip"))
        tensor([[[[2., 1.]]]])
    """
    is_flipped = torch.from_numpy(draws.chance(probability, (len(images), 1, 1, 1))).to(images.device)
    return torch.where(is_flipped, images.flip(-1), images)
