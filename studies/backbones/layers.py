"""The common parts of the small backbones: pixel normalisation and the convolutional stem."""

from __future__ import annotations

from torch import Tensor, nn


def centred(images: Tensor) -> Tensor:
    """Maps pixels from [0, 1] to [-2, 2], around the mean grey."""
    return (images - 0.5) * 4


def stem(widths: tuple[int, ...], groups: int = 8) -> nn.Sequential:
    """Convolutions of stride 2 with group norm and GELU; each halves the resolution.

    Args:
        widths: Channels after each convolution; the input has 3.
        groups: Groups of the norm; must divide every width.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in zip((3, *widths[:-1]), widths, strict=True):
        layers += [
            nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1),
            nn.GroupNorm(groups, outputs),
            nn.GELU(),
        ]
    return nn.Sequential(*layers)
