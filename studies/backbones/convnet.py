"""A small residual convolutional network with group norm."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from studies.backbones.layers import centred, stem


class Residual(nn.Module):
    """Two convolutions with group norm beside the identity."""

    def __init__(self, width: int, groups: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.norm1 = nn.GroupNorm(groups, width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.norm2 = nn.GroupNorm(groups, width)

    def forward(self, images: Tensor) -> Tensor:
        inner = functional.gelu(self.norm1(self.conv1(images)))
        return functional.gelu(images + self.norm2(self.conv2(inner)))


class SmallConvNet(nn.Module):
    """Stem, residual blocks at the last resolution, mean pool, linear head.

    Args:
        widths: Channels of the stem's convolutions, each of stride 2.
        depth: Number of residual blocks.
        classes: Outputs of the head.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96), depth: int = 2, classes: int = 10) -> None:
        super().__init__()
        self.stem = stem(widths)
        self.blocks = nn.Sequential(*(Residual(widths[-1]) for _ in range(depth)))
        self.norm = nn.LayerNorm(widths[-1])
        self.head = nn.Linear(widths[-1], classes)

    def features(self, images: Tensor) -> Tensor:
        """Pooled features ``(N, width)`` of images ``(N, 3, H, W)`` in [0, 1]."""
        return self.norm(self.blocks(self.stem(centred(images))).mean(dim=(2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, 3, H, W)`` in [0, 1]."""
        return self.head(self.features(images))
