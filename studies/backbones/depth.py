"""How far below the head each parameter lies, in layers: what layer-wise learning rates need to know."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from studies.backbones.classifier import Classifier
from studies.backbones.clip import Clip
from studies.backbones.convnet import SmallConvNet
from studies.backbones.vit import SmallViT
from studies.failures import Impossible

_TOWERS = {
    SmallViT: (("", r"blocks\.(\d+)\.", r"stem\.|pos_embed"),),
    SmallConvNet: (("", r"blocks\.(\d+)\.", r"stem\."),),
    Clip: (
        (
            r"visual\.",
            r"transformer\.resblocks\.(\d+)\.",
            r"conv1\.|class_embedding|positional_embedding|ln_pre\.",
        ),
        (r"text\.", r"transformer\.resblocks\.(\d+)\.", r"token_embedding\.|positional_embedding"),
    ),
}
"""Of each network its towers: where its names begin, and patterns of its blocks and of what comes before them."""

HEAD = ("head.", "logit_scale")


def distances(model: nn.Module) -> dict[str, int]:
    """Layers between each parameter and the head, by the parameter's name.

    The head has 0 and the last block 1. What comes after the last block, such as a final norm or projection, counts to
    it, as in timm; patch embedding, stem and positions are one layer below the first block. Adapters and masked weights
    lie where their layer lies. Models of timm are cut as timm's own layer-wise decay cuts them: a ViT by blocks,
    ResNets and ConvNeXts by the blocks of every stage.

    Args:
        model: A backbone, also with a method attached.

    Raises:
        Impossible: If it is no backbone of ours.

    Example:
        >>> found = distances(SmallViT(widths=(8, 8, 8), depth=2, heads=1))
        >>> [found[name] for name in ("head.weight", "norm.bias", "blocks.1.norm1.weight", "blocks.0.norm1.weight")]
        [0, 1, 1, 2]
        >>> found["pos_embed"]
        3
    """
    names = [name for name, _ in model.named_parameters()]
    if isinstance(model, Classifier):
        return {name: 0 for name in names if name.startswith(HEAD)} | _of_timm(model.body)
    # By the first base that is known: attaching a method may have put a class of its own before it.
    towers = next((_TOWERS[kind] for kind in type(model).__mro__ if kind in _TOWERS), None)
    if towers is None:
        known = ", ".join(sorted(kind.__name__ for kind in (*_TOWERS, Classifier)))
        raise Impossible(
            f"layer_decay knows the layers of {known}, got a {type(model).__name__}; set training.layer_decay to 1"
        )
    found = dict.fromkeys(names, 0)
    for start, blocks, stem in towers:
        below = [name for name in names if re.match(start, name) and not name.startswith(HEAD)]
        numbers = {name: int(block[1]) for name in below if (block := re.match(start + blocks, name))}
        depth = 1 + max(numbers.values(), default=-1)
        for name in below:
            is_first = re.match(f"{start}(?:{stem})", name)
            found[name] = depth + 1 if is_first else depth - numbers.get(name, depth - 1)
    return found


def _of_timm(body: Any) -> dict[str, int]:
    from timm.models import group_parameters

    matcher = body.group_matcher(coarse=False)
    layers: dict[str, int] = group_parameters(body, matcher, reverse=True)
    # timm puts what no pattern knows, such as the norm within a head, into a last layer: the head's.
    with_head: Any = _WithHead(body)
    whole = group_parameters(with_head, matcher, reverse=True)
    top = whole["head_of_ours"]
    return {f"body.{name}": top - whole[name] for name in layers}


class _WithHead:
    """timm's network and a parameter that no pattern knows, as its own head is."""

    def __init__(self, body: nn.Module) -> None:
        self._body = body

    def named_parameters(self) -> Any:
        yield from self._body.named_parameters()
        yield "head_of_ours", None
