"""One training loop that names no method and no benchmark; it can be killed at any moment and goes on bit for bit."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from analysis.accuracy import SCORES, accuracy_score, cross_entropy_error
from studies import checkpoint
from studies.benchmarks.benchmark import Images
from studies.checkpoint import NEVER, Checkpointing, Progress, restore_random
from studies.engine import PLAIN, Engine
from studies.evaluate import logits
from studies.failures import Pruned, Stopped
from studies.feed import Feed, augmented
from studies.flops import FlopCounter
from studies.heap import give_back_large_pieces
from studies.layers import FACTOR, by_layer
from studies.methods.method import Method
from studies.modes import train_mode
from studies.ranks import ALONE, Ranks
from studies.recipe import Additions
from studies.recomputing import recompute
from studies.schedule import Span, spans
from studies.settings.training import Schedule
from studies.share import Part, part_of
from studies.stepping import Stepper

CURVE_POINTS = 50
"""A run's loss is kept as about this many means over equal parts of the run."""


Score = Callable[[npt.ArrayLike, npt.ArrayLike], float]
"""Logits and labels to a number, higher is better."""


@dataclass
class Examples:
    """Images, uint8 ``(N, height, width, 3)`` or files that indexing reads, and labels, int64 ``(N,)``."""

    images: Images
    labels: npt.NDArray[np.int64]


def train(
    model: nn.Module,
    method: Method,
    training: Examples,
    validation: Examples,
    schedule: Schedule,
    learning_rate: float,
    seed: int,
    checkpointing: Checkpointing = NEVER,
    after_step: Callable[[int], None] = lambda step: None,
    device: str = "cpu",
    classes: int | None = None,
    score: Score = accuracy_score,
    engine: Engine = PLAIN,
    ranks: Ranks = ALONE,
) -> Progress:
    """Trains with AdamW, from the checkpoint if there is one.

    Data order and augmentation depend on seed and step alone, so every method sees the same batches.

    Args:
        model: The model that the method is attached to.
        method: Decides what trains, by which loss, in which phases.
        training: What is learnt from.
        validation: ID validation images: for the curve, for ``checkpoint_selection`` and for methods that ask, never
            for gradients.
        schedule: Steps, batch size, decay, warm-up, clipping, validation, additions.
        learning_rate: The peak.
        seed: Of the data order, of additions and of any randomness inside the model.
        checkpointing: Where to save, and when to stop.
        after_step: Told how many steps are done.
        device: Where the model lives.
        classes: Number of classes; by default one more than the largest label.
        score: What ``checkpoint_selection`` compares on ID validation: the benchmark's own metric.
        engine: How a step is carried out.
        ranks: The processes that share every batch. All call this with the same arguments; the first one saves,
            validates and is asked to stop.

    Returns:
        The finished run's progress; its ``best_weights`` are set if the best checkpoint is to be reported.

    Raises:
        Diverged: If the loss or the gradient is not finite.
        Stopped: If asked to stop; the checkpoint is written.
        ValueError: If the engine or ``layer_decay`` asks for what this model or method does not allow.
        Pruned: If a search ends it.
    """
    if engine.recomputes and device == "cpu":
        # Who computes twice to save memory is not to lose it in the heap.
        give_back_large_pieces()
    with deterministic(seed, device):
        counts = np.bincount(training.labels, minlength=classes or 0)
        recipe, part = schedule.recipe, None
        if ranks.size > 1:
            batch = min(schedule.batch_size, len(training.labels))
            part = part_of(ranks.rank, ranks.size, batch, mixes=recipe.mixup_alpha > 0 or recipe.cutmix_alpha > 0)
        run = _Run(model, method, schedule, Additions(recipe, counts, seed, device, part), device)
        run.engine, run.ranks, run.part, run.seed = engine, ranks, part, seed
        # What is augmented by the CPU travels afterwards.
        first = device if engine.augments_on == "device" else "cpu"
        run.feed = Feed(training.images, training.labels, seed, schedule.batch_size, first, recipe, part)
        run.validation, run.score = validation, score
        state = checkpoint.read(checkpointing.path, device)
        if state is not None:
            run.progress = Progress(**state["progress"])
        for span in spans(method.phases(schedule, learning_rate), schedule):
            # The last phase is entered even if it is over: its state is what a finished run reports.
            if run.progress.step < span.end or span.end == schedule.steps:
                run.through(span, state, checkpointing, after_step)
                state = None
        recompute(model, False)
        return run.progress


class _Run:
    feed: Feed
    engine: Engine
    ranks: Ranks
    part: Part | None
    seed: int
    validation: Examples
    score: Score

    def __init__(self, model: nn.Module, method: Method, schedule: Schedule, additions: Additions, device: str) -> None:
        self.model, self.method, self.schedule, self.additions = model, method, schedule, additions
        self.device = device
        self.progress = Progress()

    def through(
        self,
        span: Span,
        state: dict[str, Any] | None,
        checkpointing: Checkpointing,
        after_step: Callable[[int], None],
    ) -> None:
        method, progress = self.method, self.progress
        method.begin(span.number)
        if state is not None:
            method.load_state_dict(state["method"])
            restore_random(state)
        groups = method.parameter_groups(self.schedule.weight_decay)
        if not groups:
            return
        train_mode(self.model, self.schedule.batch_norm == "frozen")
        stepper = Stepper(method, self.additions, self.schedule, self.engine, self.device, self.ranks, self.part)
        groups = by_layer(groups, self.model, self.schedule.layer_decay)
        optimizer = torch.optim.AdamW(groups, lr=span.learning_rate, fused=True)
        # A checkpoint of a phase's end holds an optimiser that is no longer needed.
        if state is not None and progress.step > span.start:
            optimizer.load_state_dict(state["optimizer"])
            stepper.scaler.load_state_dict(state["scaler"])
        self.ranks.require_equal(self.model)
        saved_at = started_at = time.monotonic()
        earlier_s = progress.train_time_s
        for images, labels in self.batches(progress.step, span.end):
            rate = span.rate(progress.step)
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get(FACTOR, 1.0)
            self.ranks.seed(self.seed, progress.step)
            if progress.step == span.start:
                with FlopCounter() as counter, stepper.uncompiled():
                    loss = stepper.step(optimizer, images, labels, progress.step)
                progress.training_flops += counter.total * stepper.shares * (span.end - span.start)
            else:
                loss = stepper.step(optimizer, images, labels, progress.step)
            progress.step += 1
            score = self.note(loss, rate)
            if score is not None and self.is_pruned(checkpointing, score):
                steps = self.schedule.steps
                raise Pruned(f"ended after step {progress.step} of {steps}, at {score:.4f} on ID validation")
            progress.train_time_s = earlier_s + time.monotonic() - started_at
            is_over = progress.step == self.schedule.steps
            if is_over or progress.step == span.start + 1:
                floats = checkpoint.stored_floats(method, optimizer)
                progress.stored_floats = max(progress.stored_floats, floats)
            stops = not is_over and bool(self.ranks.told(checkpointing.should_stop()))
            is_due = is_over or stops or time.monotonic() - saved_at >= checkpointing.every_s
            if is_due and self.ranks.is_first:
                checkpoint.save(checkpointing.path, method, optimizer, progress, stepper.scaler.state_dict())
                saved_at = time.monotonic()
            after_step(progress.step)
            if stops:
                raise Stopped(f"stopped after step {progress.step} of {self.schedule.steps}")
        self.ranks.require_equal(self.model)

    def batches(self, start: int, end: int) -> Iterator[tuple[Tensor, Tensor]]:
        """What the steps see: batches as they are read, or with everything that is done to them already."""
        found = self.feed.batches(start, end)
        if self.engine.augments_on == "device":
            return found
        return augmented(found, self.additions, start, self.device)

    def is_pruned(self, checkpointing: Checkpointing, score: float) -> bool:
        """Whether the run ends here: asked by the first process, and told to all."""
        verdict = self.ranks.is_first and checkpointing.is_pruned(self.progress.step, score)
        return bool(self.ranks.told(verdict))

    def note(self, loss: float, rate: float) -> float | None:
        """Adds a step to the curve; looks at ID validation where the schedule says so, and returns its score."""
        progress, steps = self.progress, self.schedule.steps
        progress.loss_sum += loss
        progress.loss_count += 1
        is_last = progress.step == steps
        if progress.step % max(1, steps // CURVE_POINTS) == 0 or is_last:
            progress.curve.append((progress.step, "loss", progress.loss_sum / progress.loss_count))
            progress.curve.append((progress.step, "learning_rate", rate))
            progress.loss_sum, progress.loss_count = 0.0, 0
        every = self.schedule.validate_every
        if every is not None and (progress.step % every == 0 or is_last):
            return self.validate()
        return None

    def validate(self) -> float:
        """ID validation: the current weights' loss for the method, the reported ones' score for the choice."""
        method, progress = self.method, self.progress
        images, labels = self.validation.images, self.validation.labels
        if type(method).after_validation is not Method.after_validation:
            first = self.ranks.is_first
            own = cross_entropy_error(logits(self.model, images, self.device), labels) if first else math.nan
            method.after_validation(progress.step, self.ranks.told(own))
        if not self.ranks.is_first:
            return math.nan
        with method.reported():
            answers = logits(self.model, images, self.device)
        progress.curve.append((progress.step, "id_val_accuracy_score", accuracy_score(answers, labels)))
        progress.curve.append((progress.step, "id_val_cross_entropy_error", cross_entropy_error(answers, labels)))
        score = self.score(answers, labels)
        for name, known in SCORES.items():
            if known is self.score is not accuracy_score:
                progress.curve.append((progress.step, f"id_val_{name}_score", score))
        # Strictly better: of equals the earliest, which has moved least.
        if self.schedule.checkpoint_selection == "best_id_val" and score > progress.best_score:
            progress.best_score, progress.best_weights = score, method.reported_weights()
        return score


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
