"""Pretrains a backbone on the rendered corpus: a pure function of recipe and seed, resumable in the middle."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from studies.backbones.backbone import Backbone, Pretraining
from studies.benchmarks.digits import corpus

CHECKPOINT_SECONDS = 20.0

_log = logging.getLogger(__name__)


def pretrain(
    backbone: Backbone,
    seed: int,
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> nn.Module:
    """Pretrains from fresh weights, or goes on from a checkpoint with a bit-equal result.

    One torch thread computes while another thread renders; torch's thread count is restored afterwards. Global random
    state is not touched.

    Args:
        backbone: Network and recipe. ``images`` is rounded up to whole chunks of the corpus; ``batch_size`` must divide
            a chunk.
        seed: Seed of weights and corpus.
        checkpoint: File written every 20 s and removed by the caller; none is written if omitted.
        progress: Called after every chunk with (images seen, images in all).

    Returns:
        The network in evaluation mode.

    Raises:
        ValueError: If ``batch_size`` does not divide a chunk.
    """
    recipe = backbone.pretraining
    if corpus.CHUNK % recipe.batch_size:
        raise ValueError(f"batch_size must divide the chunk of {corpus.CHUNK} images, got {recipe.batch_size}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = backbone.build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    chunks = math.ceil(recipe.images / corpus.CHUNK)
    first = 0
    if state := _read(checkpoint):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["chunk"]
    with _one_thread():
        saved = time.monotonic()
        for index, (images, labels) in _rendered(seed, first, chunks):
            _train_chunk(model, optimizer, recipe, images, labels, index, chunks)
            if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save(checkpoint, model, optimizer, index + 1)
                saved = time.monotonic()
            if progress is not None:
                progress((index + 1) * corpus.CHUNK, chunks * corpus.CHUNK)
    return model.eval()


def rate(recipe: Pretraining, step: int, steps: int) -> float:
    """The learning rate of a step, 0 to ``steps - 1``: linear warm-up times cosine decay."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    return recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))


def _train_chunk(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Pretraining,
    images: Tensor,
    labels: Tensor,
    index: int,
    chunks: int,
) -> None:
    per_chunk = corpus.CHUNK // recipe.batch_size
    batches = zip(images.split(recipe.batch_size), labels.split(recipe.batch_size), strict=True)
    for offset, (batch, target) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = rate(recipe, index * per_chunk + offset, chunks * per_chunk)
        loss = functional.cross_entropy(model(batch), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _rendered(seed: int, first: int, chunks: int) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """Chunks as tensors; one is rendered in another thread while the last is used."""
    with ThreadPoolExecutor(max_workers=1) as renderer:
        upcoming = renderer.submit(corpus.chunk, seed, first) if first < chunks else None
        for index in range(first, chunks):
            assert upcoming is not None
            images, labels = upcoming.result()
            upcoming = renderer.submit(corpus.chunk, seed, index + 1) if index + 1 < chunks else None
            yield index, (as_tensor(images), torch.from_numpy(labels))


def as_tensor(images: np.ndarray) -> Tensor:
    """Images ``(N, H, W, 3)`` in [0, 1] as a contiguous ``float32`` tensor ``(N, 3, H, W)``."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    # Sums are parted by the number of threads, so another number would give other last bits.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, chunk: int) -> None:
    partial = path.with_suffix(".partial")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "chunk": chunk}, partial)
    partial.replace(path)


def _read(path: Path | None) -> dict[str, Any] | None:
    if path is None or not path.exists():
        return None
    try:
        return torch.load(path, weights_only=True)
    # A damaged file can raise almost anything; starting again is always right.
    except Exception as error:
        _log.warning("the checkpoint %s is unreadable (%s); pretraining starts again", path, error)
        return None
