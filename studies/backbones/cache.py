"""Pretrained weights on disk: one file per recipe and seed, made once, checked at every reading."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as serialise_tensors
from torch import nn

from studies import benchmarks
from studies.backbones.backbone import Backbone
from studies.backbones.pretraining import as_tensor, pretrain
from studies.benchmarks.digits import corpus
from studies.benchmarks.digits.rendering import RECIPE_VERSION
from studies.benchmarks.roots import cache_folder

LIBRARIES = ("torch", "timm", "numpy", "matplotlib", "pillow")
"""Libraries whose major version is part of the key: each may move the weights."""

NEEDED_BYTES = 32 * 2**20

_HELD_OUT_SEED = 2**31
_log = logging.getLogger(__name__)


def key(name: str, backbone: Backbone, seed: int) -> str:
    """SHA-256 (hex) of all that decides the weights: recipe, network, corpus, seed, major versions of the libraries."""
    with torch.random.fork_rng(devices=[]):
        shapes = {part: list(value.shape) for part, value in backbone.build().state_dict().items()}
    recipe = {
        "backbone": name,
        "network": shapes,
        "pretraining": dataclasses.asdict(backbone.pretraining),
        "recipe_version": RECIPE_VERSION,
        "pretrain_seed": seed,
        "libraries": {library: version(library).split(".")[0] for library in LIBRARIES},
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def load(name: str, backbone: Backbone, seed: int, progress: Callable[[int, int], None] | None = None) -> nn.Module:
    """Reads the weights, or pretrains and stores them; see ``studies.backbones.load``."""
    path = _path(name, backbone, seed)
    content = _read(path)
    if content is None:
        _require_space(path.parent)
        with _alone(path):
            # Another process may have finished while this one waited.
            content = _read(path, is_complaining=True)
            if content is None:
                content = _make(name, backbone, seed, path, progress)
    with torch.random.fork_rng(devices=[]):
        model = backbone.build()
    model.load_state_dict(parse_tensors(content))
    return model.eval()


def is_cached(name: str, backbone: Backbone, seed: int) -> bool:
    """Whether intact weights are stored."""
    return _read(_path(name, backbone, seed)) is not None


def describe(name: str, backbone: Backbone, seed: int) -> dict[str, Any]:
    """The sidecar of stored weights; ``FileNotFoundError`` if there are none."""
    path = _path(name, backbone, seed)
    if _read(path) is None:
        raise FileNotFoundError(f"{name} with pretrain_seed {seed} is not cached in {path.parent}; load it once first")
    return json.loads(path.with_suffix(".json").read_text())


def _path(name: str, backbone: Backbone, seed: int) -> Path:
    return cache_folder() / "backbones" / f"{name}-{seed}-{key(name, backbone, seed)[:16]}.safetensors"


def _make(name: str, backbone: Backbone, seed: int, path: Path, progress: Callable[[int, int], None] | None) -> bytes:
    wall, processor = time.monotonic(), time.process_time()
    checkpoint = path.with_suffix(".checkpoint")
    model = pretrain(backbone, seed, checkpoint, progress)
    content = serialise_tensors({part: value.contiguous() for part, value in model.state_dict().items()})
    sidecar = {
        "backbone": name,
        "pretrain_seed": seed,
        "key": key(name, backbone, seed),
        "sha256": hashlib.sha256(content).hexdigest(),
        "pretraining": dataclasses.asdict(backbone.pretraining),
        "source": backbone.source,
        "licence": backbone.licence,
        "libraries": {library: version(library) for library in LIBRARIES},
        "zero_shot": _validate(model),
        "wall_time_s": round(time.monotonic() - wall, 1),
        "cpu_time_s": round(time.process_time() - processor, 1),
    }
    # The sidecar is the marker of completeness, so it comes last.
    _write(path, content)
    _write(path.with_suffix(".json"), json.dumps(sidecar, indent=1).encode())
    checkpoint.unlink(missing_ok=True)
    _log.info("pretrained %s with seed %d in %.0f s: %s", name, seed, sidecar["wall_time_s"], path)
    return content


@torch.no_grad()
def _validate(model: nn.Module) -> dict[str, float]:
    """Accuracy before any fine-tuning, on data that no test image shares."""
    split = benchmarks.load("digits").load("id_val")
    held_out, held_out_labels = corpus.chunk(_HELD_OUT_SEED, 0)
    sets = {"id_val": (split.images[:] / 255.0, split.labels), "corpus": (held_out, held_out_labels)}
    return {
        f"{name}_accuracy_score": float((model(as_tensor(images)).argmax(1).numpy() == labels).mean())
        for name, (images, labels) in sets.items()
    }


def _read(path: Path, is_complaining: bool = False) -> bytes | None:
    """The stored bytes if they are complete and have the hash of their sidecar, else none."""
    try:
        content, sidecar = path.read_bytes(), json.loads(path.with_suffix(".json").read_text())
        if hashlib.sha256(content).hexdigest() == sidecar["sha256"]:
            return content
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        pass
    if is_complaining:
        _log.warning("the cached weights %s are damaged (hash mismatch); pretraining again", path)
    return None


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the file's lock; the operating system frees it if the process dies."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.info("another process is pretraining %s; waiting for it", path.stem)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _require_space(target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target).free
    except OSError as error:
        raise OSError(
            f"the cache folder {target} cannot be used ({error}); set GMIXOUT_CACHE to a writable one"
        ) from error
    if free < NEEDED_BYTES:
        raise OSError(
            f"the cache folder {target} needs {NEEDED_BYTES >> 20} MiB of free space, has {free >> 20} MiB; "
            "free some or set GMIXOUT_CACHE to another folder"
        )
