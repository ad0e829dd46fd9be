"""Zero-shot heads from class names and prompts, made once and kept on disk; and fresh heads from a seed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
from filelock import FileLock
from safetensors.torch import save
from torch import Tensor, nn

from studies.atomic import write_atomically
from studies.backbones.clip import head_of_tokens, tokens_of
from studies.backbones.prompts import prompts_of
from studies.benchmarks.roots import cache_folder

HeadKind = Literal["zero_shot", "random", "own"]
"""``zero_shot``: what the text tower says of the classes. ``random``: fresh, from the pretraining seed. ``own``: the
classifier that the weights came with."""

_log = logging.getLogger(__name__)


def zero_shot_head(
    model: Any, classes: Sequence[str], prompts: str = "plain", progress: Callable[[int, int], None] | None = None
) -> Tensor:
    """The weight of a head that knows nothing but the names of the classes; its bias is 0.

    Args:
        model: Has ``text``, ``encode_text`` and ``logit_scale``.
        classes: Class names, as they are to be read.
        prompts: Name of a prompt set.
        progress: Called with (texts read, texts in all).

    Returns:
        Shape ``(classes, width)``, the scale of the logits included.

    Raises:
        ValueError: If there is no class, or no such prompt set.
    """
    tokens = tokens_of(classes, prompts, int(model.text.context_length))
    return head_of_tokens(model, tokens.to(model.logit_scale.device), progress)


def kept_head(weights_hash: str, name: str, classes: Sequence[str], prompts: str, make: Callable[[], Tensor]) -> Tensor:
    """A zero-shot head out of the cache folder, made and stored there if it is not there or damaged.

    A second process that asks for the same head waits for the first, so both go on with equal bits.

    Args:
        weights_hash: SHA-256 of the weights' file.
        name: The backbone: the same file can be read as two networks.
        classes: Class names.
        prompts: Name of a prompt set; what counts is its sentences.
        make: Makes the head.
    """
    path = _path(weights_hash, name, classes, prompts)
    found = _read(path, len(classes))
    if found is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        # Another process may have finished while this one waited.
        found = _read(path, len(classes), is_complaining=True)
        if found is None:
            found = make()
            facts = {"sha256": _digest(found), "backbone": name, "prompts": prompts}
            content = save({"weight": found.detach().cpu().contiguous()}, facts)
            write_atomically(path, lambda file: file.write(content))
    return found


def has_kept_head(weights_hash: str, name: str, classes: Sequence[str], prompts: str) -> bool:
    """Whether :func:`kept_head` would find an intact head."""
    return _read(_path(weights_hash, name, classes, prompts), len(classes)) is not None


@torch.no_grad()
def put_head(head: nn.Linear, weight: Tensor) -> None:
    """Writes a weight into a head, and 0 into its bias."""
    head.weight.copy_(weight)
    head.bias.zero_()


def random_head(width: int, classes: int, seed: int) -> nn.Linear:
    """A fresh head with torch's own first values, a function of the seed.

    Args:
        width: Features.
        classes: Outputs.
        seed: Seed of the values. Global random state is not touched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(width, classes)


def _path(weights_hash: str, name: str, classes: Sequence[str], prompts: str) -> Path:
    recipe = {"weights": weights_hash, "backbone": name, "classes": list(classes), "prompts": prompts_of(prompts)}
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "heads" / f"{name.replace(':', '-')}-{key[:16]}.safetensors"


def _read(path: Path, classes: int, is_complaining: bool = False) -> Tensor | None:
    """The stored head if it is whole and has the hash of its own header, else none."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            weight: Tensor = file.get_tensor("weight")
            if len(weight) == classes and _digest(weight) == (file.metadata() or {}).get("sha256"):
                return weight
    except FileNotFoundError:
        return None
    except safetensors.SafetensorError:
        pass
    if is_complaining:
        _log.warning("the kept zero-shot head %s is damaged; it is made again", path)
    return None


def _digest(weight: Tensor) -> str:
    return hashlib.sha256(weight.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
