"""Activation checkpointing: the backward pass computes the inside of every block anew, and little need be kept."""

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from studies.backbones.convnet import SmallConvNet
from studies.backbones.vit import SmallViT
from studies.failures import Impossible


def recompute(model: nn.Module, is_on: bool) -> None:
    """Switches the recomputation of blocks on or off.

    Numbers stay the same bit for bit: the random state of dropout and the precision of products are put back before a
    block is computed again. The forward pass is paid twice, about a third more of a step.

    Args:
        model: A backbone, also with a method attached.
        is_on: Whether blocks are computed anew.

    Raises:
        Impossible: If it is to be switched on and the network has no blocks that can be.
    """
    # Networks of timm and open_clip bring their own switch.
    switched = [
        part for part in (getattr(model, name, None) for name in ("body", "visual", "text")) if part is not None
    ]
    if isinstance(model, SmallViT | SmallConvNet):
        for block in model.blocks:
            _swap(block, is_on)
        return
    able = [part for part in switched if hasattr(part, "set_grad_checkpointing")]
    if is_on and not (able and len(able) == len(switched)):
        raise Impossible(
            f"{type(model).__name__} has no blocks whose activations could be computed anew; "
            "set execution.activation_checkpointing to false"
        )
    for part in able:
        part.set_grad_checkpointing(is_on)


def _swap(block: nn.Module, is_on: bool) -> None:
    """Changes a block's class, as torch's parametrisations do, so that copies of the model are blocks of their own."""
    if is_on and not isinstance(block, _Recomputed):
        block.__class__ = type(type(block).__name__, (_Recomputed, type(block)), {})
    elif not is_on and isinstance(block, _Recomputed):
        block.__class__ = type(block).__bases__[1]


class _Recomputed(nn.Module):
    def forward(self, *inputs: Any) -> Any:
        if not torch.is_grad_enabled():
            return super().forward(*inputs)
        return checkpoint(super().forward, *inputs, use_reentrant=False)
