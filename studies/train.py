"""One training loop that names no method and no benchmark; it can be killed at any moment and goes on bit for bit."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from studies.atomic import write_atomically
from studies.evaluate import accuracy, to_input
from studies.failures import Diverged, Stopped
from studies.methods.method import Method
from studies.order import batch_indices
from studies.settings.training import Schedule

CURVE_POINTS = 50
"""A run's loss is kept as about this many means over equal parts of the run."""


@dataclass
class Examples:
    """Images and labels: uint8 ``(N, height, width, 3)`` and int64 ``(N,)``."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass
class Progress:
    """What a run knows besides weights and optimiser: all of it is in the checkpoint.

    Attributes:
        step: Steps taken.
        curve: Rows (step, metric, value).
        loss_sum: Sum of the losses since the last row of the curve.
        loss_count: Number of losses in that sum.
        best_score: Best ID validation accuracy so far, for ``checkpoint_selection="best_id_val"``.
        best_weights: The reported weights that reached it.
        train_time_s: Seconds spent training, over all attempts.
    """

    step: int = 0
    curve: list[tuple[int, str, float]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_count: int = 0
    best_score: float = -math.inf
    best_weights: dict[str, Tensor] | None = None
    train_time_s: float = 0.0


@dataclass(frozen=True)
class Checkpointing:
    """Where and how often a run is saved.

    Attributes:
        path: The checkpoint's file; None never saves.
        every_s: Seconds between checkpoints; 0 saves after every step.
        should_stop: Asked after every step; True makes the run save and raise ``Stopped``.
    """

    path: Path | None = None
    every_s: float = 10.0
    should_stop: Callable[[], bool] = lambda: False


def train(
    model: nn.Module,
    method: Method,
    training: Examples,
    validation: Examples,
    schedule: Schedule,
    learning_rate: float,
    seed: int,
    checkpointing: Checkpointing = Checkpointing(),
    after_step: Callable[[int], None] = lambda step: None,
    device: str = "cpu",
) -> Progress:
    """Trains with AdamW and cross-entropy, from the checkpoint if there is one.

    Args:
        model: The model that the method is attached to.
        method: Decides what trains.
        training: What is learnt from.
        validation: ID validation images: for the curve and for ``checkpoint_selection``, never for gradients.
        schedule: Steps, batch size, decay, warm-up, clipping, validation.
        learning_rate: The peak.
        seed: Of the data order and of any randomness inside the model.
        checkpointing: Where to save, and when to stop.
        after_step: Told how many steps are done.
        device: Where the model lives.

    Returns:
        The finished run's progress; its ``best_weights`` are set if the best checkpoint is to be reported.

    Raises:
        Diverged: If the loss or the gradient is not finite.
        Stopped: If asked to stop; the checkpoint is written.
    """
    with deterministic(seed, device):
        groups = method.parameter_groups(schedule.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True) if groups else None
        progress = _load(checkpointing.path, method, optimizer, device)
        if optimizer is None:
            return progress
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        images, labels = to_input(training.images, device), torch.tensor(training.labels, device=device)
        saved_at = started_at = time.monotonic()
        earlier_s = progress.train_time_s
        every = max(1, schedule.steps // CURVE_POINTS)
        model.train()
        while progress.step < schedule.steps:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * schedule_factor(progress.step, schedule)
            chosen = torch.from_numpy(batch_indices(seed, progress.step, len(labels), schedule.batch_size)).to(device)
            optimizer.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(model(images[chosen]), labels[chosen])
            loss.backward()
            _check_finite("loss", loss, progress.step)
            if schedule.gradient_clip is not None:
                norm = nn.utils.clip_grad_norm_(parameters, schedule.gradient_clip)
                _check_finite("gradient", norm, progress.step)
            optimizer.step()
            method.after_step(optimizer)
            progress.step += 1
            progress.loss_sum += loss.item()
            progress.loss_count += 1
            if progress.step % every == 0 or progress.step == schedule.steps:
                progress.curve.append((progress.step, "loss", progress.loss_sum / progress.loss_count))
                progress.curve.append((progress.step, "learning_rate", optimizer.param_groups[0]["lr"]))
                progress.loss_sum, progress.loss_count = 0.0, 0
            if _is_validated(progress.step, schedule):
                _validate(model, method, validation, schedule, progress, device)
            progress.train_time_s = earlier_s + time.monotonic() - started_at
            is_over = progress.step == schedule.steps
            stops = not is_over and checkpointing.should_stop()
            if is_over or stops or time.monotonic() - saved_at >= checkpointing.every_s:
                _save(checkpointing.path, method, optimizer, progress)
                saved_at = time.monotonic()
            after_step(progress.step)
            if stops:
                raise Stopped(f"stopped after step {progress.step} of {schedule.steps}")
        return progress


def schedule_factor(step: int, schedule: Schedule) -> float:
    """The learning rate at a step as a fraction of its peak: linear warm-up, then cosine to 0 or constant.

    Args:
        step: Steps already taken, from 0.
        schedule: Gives ``steps``, ``warmup_steps`` and the shape.

    Example:
        >>> schedule = Schedule(steps=10, warmup_steps=2)
        >>> [round(schedule_factor(step, schedule), 2) for step in (0, 1, 2, 6)]
        [0.5, 1.0, 1.0, 0.5]
    """
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    if schedule.schedule == "constant":
        return 1.0
    done = (step - schedule.warmup_steps) / (schedule.steps - schedule.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))


@contextmanager
def deterministic(seed: int, device: str = "cpu") -> Iterator[None]:
    """Seeds torch and makes it deterministic on one thread; the caller's state of all three is back afterwards.

    The number of threads decides in which order sums are formed, hence their last bits.
    """
    memory: Any = torch.utils.deterministic
    threads, was_deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = memory.fill_uninitialized_memory
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            torch.set_num_threads(1)
            torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
            memory.fill_uninitialized_memory = False
            torch.manual_seed(seed)
            yield
        finally:
            memory.fill_uninitialized_memory = filled
            torch.use_deterministic_algorithms(was_deterministic)
            torch.set_num_threads(threads)


def _check_finite(what: str, value: Tensor, step: int) -> None:
    if not math.isfinite(value.item()):
        raise Diverged(f"the {what} is {value.item()} at step {step + 1}")


def _is_validated(step: int, schedule: Schedule) -> bool:
    return schedule.validate_every is not None and (step % schedule.validate_every == 0 or step == schedule.steps)


def _validate(
    model: nn.Module, method: Method, validation: Examples, schedule: Schedule, progress: Progress, device: str
) -> None:
    with method.reported():
        score = accuracy(model, validation.images, validation.labels, device)
    progress.curve.append((progress.step, "id_val_accuracy_score", score))
    # Strictly better: of equals the earliest, which has moved least.
    if schedule.checkpoint_selection == "best_id_val" and score > progress.best_score:
        progress.best_score, progress.best_weights = score, method.reported_weights()


def _save(path: Path | None, method: Method, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    if path is None:
        return
    state: dict[str, Any] = {
        "method": method.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": vars(progress),
        "random": torch.get_rng_state(),
    }
    write_atomically(path, lambda file: torch.save(state, file))


def _load(path: Path | None, method: Method, optimizer: torch.optim.Optimizer | None, device: str) -> Progress:
    if path is None or optimizer is None or not path.exists():
        return Progress()
    state = torch.load(path, map_location=device, weights_only=True)
    method.load_state_dict(state["method"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"].cpu())
    return Progress(**state["progress"])
