"""Published weights to a model that keeps the house's contract, with the head a benchmark needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from studies.backbones.classifier import Classifier, body_of
from studies.backbones.clip import Clip, to_towers, towers_of
from studies.backbones.hashes import remembered_hash
from studies.backbones.heads import HeadKind, has_kept_head, kept_head, put_head, random_head, zero_shot_head
from studies.backbones.published import Published
from studies.backbones.tensors import TorchScriptError, put_tensors, read_tensors
from studies.backbones.weights import fetch_command, fetch_weights

LIBRARIES = {"clip": ("torch", "open_clip_torch"), "timm": ("torch", "timm")}
"""Libraries that make the network of a family."""


def load_published(
    name: str,
    published: Published,
    seed: int,
    classes: Sequence[str] | None,
    prompts: str,
    head: HeadKind | None,
    weights: Path | None,
    keep_text: bool,
    progress: Callable[[int, int], None] | None = None,
) -> nn.Module:
    """Reads the weights and makes the head; see ``studies.backbones.load``."""
    kind = _head_kind(name, published, classes, head)
    if keep_text and not published.has_text:
        raise ValueError(f"{name} has no text tower to keep; choose a CLIP, or keep_text=False")
    path = fetch_weights(name, published, weights)
    model: nn.Module
    if published.has_text:
        assert classes is not None
        model = _load_clip(name, published, path, classes, prompts, kind, keep_text, progress)
    else:
        model = _load_timm(name, published, path, classes, kind)
    if kind == "random":
        assert classes is not None
        model.head = random_head(_head_of(model).in_features, len(classes), seed)
    return model.float().eval()


def blank_published(published: Published, classes: Sequence[str], prompts: str, keep_text: bool) -> nn.Module:
    """The network with fresh weights, from torch's global generator; its head is fresh, too."""
    if not published.has_text:
        return Classifier(body_of(published), published, len(classes)).eval()
    model = Clip(towers_of(published), published, len(classes), keep_text)
    if keep_text:
        model.read(classes, prompts)
    return model.eval()


def describe_published(name: str, published: Published, seed: int, path: Path) -> dict[str, Any]:
    """What records keep of published weights, found in a file; see ``studies.backbones.describe``."""
    libraries = {library: version(library) for library in LIBRARIES[published.family]}
    recipe = {
        "backbone": name,
        "sha256": remembered_hash(path),
        "network": [published.architecture, dict(published.arguments)],
        "pretrain_seed": seed,
        "libraries": {library: found.split(".")[0] for library, found in libraries.items()},
    }
    return {
        "backbone": name,
        "pretrain_seed": seed,
        "key": hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest(),
        "sha256": recipe["sha256"],
        "file": path.name,
        "repository": published.repository,
        "source": published.source,
        "licence": published.licence,
        "libraries": libraries,
    }


def _head_kind(name: str, published: Published, classes: Sequence[str] | None, head: HeadKind | None) -> HeadKind:
    possible: tuple[HeadKind, ...] = ("zero_shot", "random") if published.has_text else ("random", "own")
    if classes is not None and not classes:
        raise ValueError("a head needs at least one class, got none")
    chosen = head or ("zero_shot" if published.has_text else "random" if classes is not None else "own")
    if chosen not in possible:
        raise ValueError(f"the head of {name} is one of {', '.join(possible)}, got {chosen!r}")
    if classes is None and chosen != "own":
        raise ValueError(f"{name} needs the names of the classes for its head ({chosen}), got none")
    return chosen


def _load_clip(
    name: str,
    published: Published,
    path: Path,
    classes: Sequence[str],
    prompts: str,
    kind: HeadKind,
    keep_text: bool,
    progress: Callable[[int, int], None] | None,
) -> Clip:
    is_zero_shot = kind == "zero_shot"
    found = remembered_hash(path)
    needs_text = keep_text or (is_zero_shot and not has_kept_head(found, name, classes, prompts))
    with torch.random.fork_rng(devices=[]):
        model = Clip(towers_of(published), published, len(classes), needs_text)
    tensors = to_towers(_read(path, published))
    if not needs_text:
        tensors = {part: value for part, value in tensors.items() if part.startswith("visual.")}
    # The head is ours, and is made below.
    tensors |= {f"head.{part}": value for part, value in model.head.state_dict().items()}
    if "logit_scale" in tensors:
        tensors["logit_scale"] = tensors["logit_scale"].reshape(model.logit_scale.shape)
    put_tensors(model, tensors, path, f"open_clip's {published.architecture} is needed: {fetch_command(published)}")
    model.float().eval()
    if is_zero_shot:
        made = kept_head(found, name, classes, prompts, lambda: zero_shot_head(model, classes, prompts, progress))
        put_head(model.head, made)
    if keep_text:
        model.read(classes, prompts)
    elif needs_text:
        del model.text, model.logit_scale
    return model


def _load_timm(
    name: str, published: Published, path: Path, classes: Sequence[str] | None, kind: HeadKind
) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        try:
            body = body_of(published, _read(path, published))
        except ValueError as error:
            raise ValueError(f"{name} cannot be read from {path}: {error}") from error
        model = Classifier(body, published, None if kind == "own" or classes is None else len(classes))
    if kind == "own" and classes is not None and len(classes) != model.head.out_features:
        raise ValueError(
            f"{name} has a classifier of {model.head.out_features} classes, the benchmark has {len(classes)}; "
            "choose head='random'"
        )
    return model


def _read(path: Path, published: Published) -> dict[str, torch.Tensor]:
    try:
        return read_tensors(path)
    except TorchScriptError as error:
        raise ValueError(f"{error}, converted to a state dict: {fetch_command(published)}") from error


def _head_of(model: nn.Module) -> nn.Linear:
    assert isinstance(model.head, nn.Linear)
    return model.head
