"""A small vision transformer with a convolutional stem, named as timm names its parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from studies.backbones.layers import centred, stem


class SmallViT(nn.Module):
    """Stem, 16 tokens with positions, transformer blocks of timm, mean pool, linear head.

    A transformer on raw patches does not train in minutes on a CPU; the stem makes it.

    Args:
        widths: Channels of the stem's convolutions, each of stride 2; the last is the width of the tokens.
        depth: Number of blocks.
        heads: Attention heads.
        classes: Outputs of the head.
        side: Side of the input images in pixels.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 128),
        depth: int = 2,
        heads: int = 4,
        classes: int = 10,
        side: int = 32,
    ) -> None:
        # With torchvision and torch's compiler behind it, seconds: only where such a network is made.
        from timm.models.vision_transformer import Block

        super().__init__()
        width = widths[-1]
        tokens = (side >> len(widths)) ** 2
        self.stem = stem(widths)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def features(self, images: Tensor) -> Tensor:
        """Pooled features ``(N, width)`` of images ``(N, 3, side, side)`` in [0, 1]."""
        tokens = self.stem(centred(images)).flatten(2).transpose(1, 2)
        return self.norm(self.blocks(tokens + self.pos_embed).mean(dim=1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of images ``(N, 3, side, side)`` in [0, 1]."""
        return self.head(self.features(images))
