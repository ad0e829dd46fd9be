"""The backbones by name, with their pretrained weights: made once and cached, or published by others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from studies import benchmarks
from studies.backbones import cache, loading
from studies.backbones.backbone import Backbone, Pretraining
from studies.backbones.heads import HeadKind, zero_shot_head
from studies.backbones.prompts import PROMPTS, prompts_of
from studies.backbones.published import Published
from studies.backbones.table import BACKBONES, find
from studies.backbones.weights import MissingWeights, fetch_weights, find_weights
from studies.benchmarks.images import View

__all__ = [
    "BACKBONES",
    "PROMPTS",
    "Backbone",
    "HeadKind",
    "MissingWeights",
    "Pretraining",
    "Published",
    "blank",
    "describe",
    "find",
    "is_cached",
    "load",
    "prepare",
    "prompts_of",
    "view_of",
    "zero_shot_head",
]


def load(
    name: str,
    pretrain_seed: int,
    classes: Sequence[str] | None = None,
    prompts: str = "plain",
    head: HeadKind | None = None,
    weights: Path | None = None,
    keep_text: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> nn.Module:
    """Returns a pretrained backbone with a head for the classes.

    The digits' backbones are pretrained first if no process has yet. Their weights lie in the user's cache folder (or
    ``$GMIXOUT_CACHE``) under a hash of the recipe. A second process that asks for the same weights waits for the
    first. A damaged file is made again. Equal seeds give bit-equal weights on one machine, however many threads torch
    is set to; another processor may round differently.

    Published weights are read from ``weights``, from ``$GMIXOUT_WEIGHTS``, or from the cache of the hub's client, which
    downloads them if the hub can be reached. Reading runs no code. A zero-shot head is made once for each file, prompt
    set and list of classes, and kept in the cache folder.

    Args:
        name: A name that :func:`find` knows.
        pretrain_seed: Seed of the fresh weights and of the corpus, 0 or more; of published weights, of a random head.
        classes: Names of the classes, as a text tower is to read them. Without them a model of timm keeps its own
            classifier. The digits' backbones know their ten alone.
        prompts: Name of a prompt set in ``PROMPTS``; without effect where there is no text tower.
        head: ``zero_shot``, ``random`` or ``own``; the default is zero-shot where there is a text tower, and random
            where there are classes.
        weights: File of published weights, or a folder that holds it.
        keep_text: Whether a CLIP keeps its text tower after the head is made; it then has ``encode_text``,
            ``logit_scale`` and ``prompts``.
        progress: Called with (images seen, images in all) while pretraining, (texts read, texts in all) while a
            zero-shot head is made.

    Returns:
        The network in ``float32`` on the CPU, in evaluation mode: pixels in [0, 1], shape ``(N, 3, side, side)``, to
        logits ``(N, classes)``. Its ``head`` is an ``nn.Linear`` and reads ``features(images)``.

    Raises:
        ValueError: If the name is unknown, the seed negative, the classes or the head are not to be had with this
            backbone, or a file holds other weights.
        MissingWeights: If published weights are not on this machine and cannot be downloaded; says how to get them.
        OSError: If the cache folder cannot be written or is full.
    """
    found = _find(name, pretrain_seed)
    if isinstance(found, Published):
        return loading.load_published(name, found, pretrain_seed, classes, prompts, head, weights, keep_text, progress)
    _require_digits(name, classes, head, weights, keep_text)
    return cache.load(name, found, pretrain_seed, progress)


def prepare(
    name: str,
    pretrain_seed: int,
    weights: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Makes sure that the weights are on this machine: pretrains or downloads them. Raises as :func:`load` does."""
    found = _find(name, pretrain_seed)
    if isinstance(found, Published):
        fetch_weights(name, found, weights)
    else:
        cache.load(name, found, pretrain_seed, progress)


def blank(
    name: str,
    classes: Sequence[str],
    prompts: str = "plain",
    keep_text: bool = False,
    device: str = "cpu",
) -> nn.Module:
    """The network with fresh weights, for measuring and for looking at: no file is read.

    Args:
        name: A name that :func:`find` knows.
        classes: Names of the classes.
        prompts: Name of a prompt set, if the text tower is kept.
        keep_text: Whether a CLIP has its text tower.
        device: ``meta`` makes shapes without values.

    Returns:
        The network in evaluation mode. Global random state is as before.

    Raises:
        ValueError: If the name is unknown, or the classes are not to be had with this backbone.
    """
    found = find(name)
    if isinstance(found, Backbone):
        _require_digits(name, classes, None, None, keep_text)
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(0)
        if isinstance(found, Published):
            return loading.blank_published(found, classes, prompts, keep_text)
        return found.build().eval()


def is_cached(name: str, pretrain_seed: int, weights: Path | None = None) -> bool:
    """Whether ``load`` would find weights on this machine, intact ones if it has made them.

    Raises as ``load`` does for an unknown name.
    """
    found = _find(name, pretrain_seed)
    if isinstance(found, Published):
        return find_weights(found, weights) is not None
    return cache.is_cached(name, found, pretrain_seed)


def describe(name: str, pretrain_seed: int, weights: Path | None = None) -> dict[str, Any]:
    """What records keep of the weights on this machine: a key, SHA-256, source, licence, library versions.

    Of weights made here also the recipe, times and zero-shot validation accuracy; of published ones the file's name
    and the repository. The hash of a published file is computed once, until the file changes.

    Raises:
        FileNotFoundError: If the weights are not on this machine; call ``prepare`` or ``load`` first.
    """
    found = _find(name, pretrain_seed)
    if isinstance(found, Backbone):
        return cache.describe(name, found, pretrain_seed)
    path = find_weights(found, weights)
    if path is None:
        raise FileNotFoundError(f"the weights of {name} are not on this machine; prepare or load it once first")
    return loading.describe_published(name, found, pretrain_seed, path)


def view_of(name: str) -> View:
    """How an image becomes what the backbone is evaluated on: the side to resize to, the square to cut, the filter.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> view_of("resnet50")
        View(resize=235, crop=224, interpolation='bicubic')
    """
    return find(name).view


def _find(name: str, pretrain_seed: int) -> Backbone | Published:
    found = find(name)
    if isinstance(pretrain_seed, bool) or not isinstance(pretrain_seed, int) or pretrain_seed < 0:
        raise ValueError(f"pretrain_seed must be an integer of 0 or more, got {pretrain_seed!r}")
    return found


def _require_digits(
    name: str, classes: Sequence[str] | None, head: HeadKind | None, weights: Path | None, keep_text: bool
) -> None:
    own = benchmarks.load("digits").classes
    if classes is not None and tuple(classes) != tuple(own):
        raise ValueError(
            f"{name} knows the digits' classes {own[0]} to {own[-1]} alone, got {len(classes)} classes"
            f"{', the first ' + repr(classes[0]) if classes else ''}; choose a published backbone"
        )
    if head not in (None, "own"):
        raise ValueError(f"{name} has its pretrained head, got head={head!r}; leave it out")
    if weights is not None:
        raise ValueError(f"{name} is pretrained here and reads no file, got weights={str(weights)!r}; leave it out")
    if keep_text:
        raise ValueError(f"{name} has no text tower to keep; choose a CLIP, or keep_text=False")
