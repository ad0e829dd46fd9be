"""What a run knows at a step, and the file that keeps it: a run that is killed goes on from there, bit for bit."""

import hashlib
import logging
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from studies.atomic import write_atomically
from studies.methods.method import Method

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """What a run knows besides weights and optimiser: all of it is in the checkpoint.

    Attributes:
        step: Steps taken.
        curve: Rows (step, metric, value).
        loss_sum: Sum of the losses since the last row of the curve.
        loss_count: Number of losses in that sum.
        best_score: Best ID validation score so far, for ``checkpoint_selection="best_id_val"``.
        best_weights: The reported weights that reached it.
        train_time_s: Seconds spent training, over all attempts.
        training_flops: Floating-point operations of the phases begun so far, counted from the first step of each.
        stored_floats: Numbers held in memory between two steps, at most.
    """

    step: int = 0
    curve: list[tuple[int, str, float]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_count: int = 0
    best_score: float = -math.inf
    best_weights: dict[str, Tensor] | None = None
    train_time_s: float = 0.0
    training_flops: float = 0.0
    stored_floats: int = 0


@dataclass(frozen=True)
class Checkpointing:
    """Where and how often a run is saved, and who may end it.

    Attributes:
        path: The checkpoint's file; None never saves.
        every_s: Seconds between checkpoints; 0 saves after every step.
        should_stop: Asked after every step; True makes the run save and raise ``Stopped``.
        is_pruned: Told the step and the reported weights' score after every look at ID validation; True makes the run
            raise ``Pruned``.
    """

    path: Path | None = None
    every_s: float = 10.0
    should_stop: Callable[[], bool] = lambda: False
    is_pruned: Callable[[int, float], bool] = lambda step, score: False


NO_SCALER: Mapping[str, Any] = MappingProxyType({})
NEVER = Checkpointing()
"""No checkpoint is written, and nobody asks to stop."""


def save(
    path: Path | None, method: Method, optimizer: Optimizer, progress: Progress, scaler: Mapping[str, Any] = NO_SCALER
) -> None:
    """Writes a checkpoint, atomically, with its SHA-256 at the end; nothing without a path.

    Args:
        path: Where to.
        method: Its state is saved.
        optimizer: Its state is saved.
        progress: Is saved.
        scaler: State of the gradients' scaler.
    """
    if path is None:
        return
    state: dict[str, Any] = {
        "method": method.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": vars(progress),
        "random": torch.get_rng_state(),
        # Dropout on a GPU draws there.
        "random_on_gpu": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
        "scaler": dict(scaler),
    }

    def write(file: IO[bytes]) -> None:
        hashed = _Hashed(file)
        torch.save(state, hashed)  # type: ignore[arg-type]
        file.write(hashed.found.digest())

    write_atomically(path, write)


def read(path: Path | None, device: str) -> dict[str, Any] | None:
    """A checkpoint's content, or None if there is none or it is damaged: the run then begins anew. Runs no code.

    Its own hash is needed: torch reads an archive without noticing that bits of a tensor have changed.
    """
    if path is None or not path.exists():
        return None
    with open(path, "rb") as file:
        if not _is_whole(file, path.stat().st_size):
            logger.warning("the checkpoint %s is damaged; the run begins anew", path)
            return None
        file.seek(0)
        try:
            found: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        except pickle.UnpicklingError:
            # Whole, but not of our making: it asks for more than tensors.
            logger.warning("the checkpoint %s holds more than numbers and is not read; the run begins anew", path)
            return None
    return found


class _Hashed:
    """A file open for writing that hashes what passes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.found = hashlib.sha256()
        self.flush = file.flush

    def write(self, part: bytes) -> int:
        self.found.update(part)
        return self._file.write(part)


def _is_whole(file: IO[bytes], size: int) -> bool:
    found = hashlib.sha256()
    left = size - found.digest_size
    while left > 0 and (part := file.read(min(left, 2**20))):
        found.update(part)
        left -= len(part)
    return left == 0 and file.read() == found.digest()


def restore_random(state: Mapping[str, Any]) -> None:
    """Sets torch's global random state to a checkpoint's."""
    torch.set_rng_state(state["random"].cpu())
    if state.get("random_on_gpu") is not None:
        torch.cuda.set_rng_state(state["random_on_gpu"].cpu())


def stored_floats(method: Method, optimizer: Optimizer) -> int:
    """Numbers held between two steps: weights, averages, anchors, the optimiser's state; each storage once.

    Gradients, and what is kept for measuring alone (``snapshots``), do not count; frozen weights do.
    """
    found: dict[int, int] = {}
    state = method.state_dict()
    state.pop("snapshots", None)
    _count(state, found)
    _count(list(method.model.parameters()), found)
    _count(optimizer.state_dict()["state"], found)
    return sum(found.values())


def _count(value: Any, found: dict[int, int]) -> None:
    if isinstance(value, Tensor):
        # Step counters of optimisers are tensors of one element and no state worth counting.
        if value.numel() > 1:
            found[value.untyped_storage().data_ptr()] = value.numel()
    elif isinstance(value, dict):
        for part in value.values():
            _count(part, found)
    elif isinstance(value, list | tuple):
        for part in value:
            _count(part, found)
