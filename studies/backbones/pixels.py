"""The first step of a published network: pixels in [0, 1] to the scale it was pretrained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from studies.backbones.published import Triple


class Pixels(nn.Module):
    """Subtracts the mean of each channel and divides by its standard deviation.

    Neither is part of the state dict, since neither trains.

    Args:
        mean: Of each channel.
        std: Of each channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Triple, std: Triple) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, side, side)`` in [0, 1] to the same shape."""
        return (images - self.mean) / self.std
