"""The backbones by name, and their pretrained weights: made once, then cached."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from studies.backbones import cache
from studies.backbones.backbone import Backbone, Pretraining
from studies.backbones.convnet import SmallConvNet
from studies.backbones.vit import SmallViT

__all__ = ["BACKBONES", "Backbone", "Pretraining", "describe", "is_cached", "load"]

BACKBONES: dict[str, Backbone] = {
    "digits-vit": Backbone(SmallViT, Pretraining()),
    "digits-convnet": Backbone(SmallConvNet, Pretraining()),
    "digits-vit-tiny": Backbone(
        functools.partial(SmallViT, widths=(8, 16, 32), depth=1, heads=2),
        Pretraining(images=12_000, batch_size=20, learning_rate=5e-3, warmup_steps=50),
    ),
}


def load(name: str, pretrain_seed: int, progress: Callable[[int, int], None] | None = None) -> nn.Module:
    """Returns a pretrained backbone, pretraining it first if no process has yet.

    The weights lie in the user's cache folder (or ``$GMIXOUT_CACHE``) under a hash of the recipe. A second process that
    asks for the same weights waits for the first. A damaged file is made again. Equal seeds give bit-equal weights on
    one machine, however many threads torch is set to; another processor may round differently.

    Args:
        name: A name in ``BACKBONES``.
        pretrain_seed: Seed of the fresh weights and of the corpus, 0 or more.
        progress: Called with (images seen, images in all) while pretraining.

    Returns:
        The network in ``float32`` on the CPU, in evaluation mode: pixels in [0, 1], shape ``(N, 3, 32, 32)``, to logits
        ``(N, 10)``.

    Raises:
        ValueError: If the name is unknown or the seed negative.
        OSError: If the cache folder cannot be written or is full.
    """
    return cache.load(name, _find(name, pretrain_seed), pretrain_seed, progress)


def is_cached(name: str, pretrain_seed: int) -> bool:
    """Whether ``load`` would find intact weights. Raises as ``load`` does for an unknown name."""
    return cache.is_cached(name, _find(name, pretrain_seed), pretrain_seed)


def describe(name: str, pretrain_seed: int) -> dict[str, Any]:
    """What is stored beside cached weights: recipe, library versions, SHA-256, times, zero-shot validation accuracy.

    Raises:
        FileNotFoundError: If the weights are not cached; call ``load`` first.
    """
    return cache.describe(name, _find(name, pretrain_seed), pretrain_seed)


def _find(name: str, pretrain_seed: int) -> Backbone:
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; choose one of {', '.join(sorted(BACKBONES))}")
    if isinstance(pretrain_seed, bool) or not isinstance(pretrain_seed, int) or pretrain_seed < 0:
        raise ValueError(f"pretrain_seed must be an integer of 0 or more, got {pretrain_seed!r}")
    return BACKBONES[name]
