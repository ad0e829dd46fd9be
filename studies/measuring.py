"""Steps of one backbone with each kind of method: seconds, and bytes that are kept, held and passed by."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from studies import backbones, shapes
from studies.checkpoint import stored_floats
from studies.engine import Engine
from studies.evaluate import BATCH_SIZE, logits, to_input
from studies.fit import ADAPTERS
from studies.methods import METHODS, Method, attach
from studies.needs import Measured, period_of
from studies.precision import Precision
from studies.recomputing import recompute
from studies.saved import Saved
from studies.settings import CellSettings, traits_of
from studies.train import Examples, train

STEPS = 8
"""Steps that are timed where whole batches are quick; the first two are not."""

WHOLE_S = 0.3
"""Ten steps of a whole batch that take no longer than this are taken; else a step on one image stands for it."""

LONG_S = 0.1
"""A step of small batches takes at least so long, where the batch is large enough: less would time the clock."""


class Bench:
    """Fresh networks of one backbone, and how long a plain step of them takes.

    Attributes:
        image_s: Seconds to evaluate an image.
        weights: Bytes of the network's weights.
    """

    def __init__(
        self,
        backbone: str,
        classes: tuple[str, ...],
        device: str,
        engine: Engine,
        precision: str,
        runs_on: str,
    ) -> None:
        # As many images as one process sees, and nothing compiled: that alone would take minutes.
        self._backbone, self._classes, self._device = backbone, classes, device
        self._engine, self._processes = dataclasses.replace(engine, compiles=False, processes=1), engine.processes
        self._measures_in = "float32" if device == "cpu" else precision
        self._precision = Precision(self._measures_in, device)
        self._is_as_run = self._measures_in == precision
        self._fresh = {False: self._blank(False)}
        self.weights = _bytes(self._fresh[False])
        self._side = backbones.view_of(backbone).crop
        self._clock: Callable[[], float] = time.process_time if device == "cpu" else time.perf_counter
        self._plain = self._grown()
        recompute(self._fresh[False], engine.recomputes)
        self._pass = shapes.measured(self._fresh[False], self._side, precision)
        recompute(self._fresh[False], False)
        # A step's products; what is done to weights is in single precision everywhere.
        self._slower = 1.0 if self._is_as_run or runs_on != device else slowdown(precision)
        self._has_batch_norm = any(isinstance(part, _BatchNorm) for part in self._fresh[False].modules())
        few = min(BATCH_SIZE, 2 * self._plain.images) if self._plain.image_s < LONG_S else 1
        some = self._random(few).images
        started_at = self._now()
        logits(self._fresh[False], some, device)
        self.image_s = (self._now() - started_at) / few

    def is_quick(self, cell: CellSettings) -> bool:
        """Whether ten steps of the cell's whole batch are."""
        assert cell.training is not None
        images = cell.training.batch_size // self._processes
        return self._processes == 1 and self._is_as_run and self._plain.image_s * images * (STEPS + 2) <= WHOLE_S

    def measure(self, rare: CellSettings, often: CellSettings) -> Measured:
        """Measures a method by two of its cells: that with the longest episodes and that with the shortest."""
        assert rare.training is not None
        batch_size = -(-rare.training.batch_size // self._processes)
        part = -(-batch_size // self._engine.parts(batch_size))
        weights = _bytes(self._fresh_of(rare))
        # Layer by layer a few tensors of a batch live at once: the largest, four times, is more than they take.
        forward = 4 * BATCH_SIZE * self._plain.largest
        pixels = 2 * 4 * 3 * self._side**2
        each_s, is_masked = 0.0, bool(rare.levers)
        if self.is_quick(rare):
            ran = self._run(rare, batch_size, _whole_steps(rare))
            if math.isfinite(period_of(often)):
                each_s = (self._run(often, batch_size, _whole_steps(often)).step_s - ran.step_s) * period_of(often)
            step_s, kept = ran.step_s, 0
            image = ran.saved // ran.part + self._pass.image - self._pass.kept
        elif traits_of(rare.method).couples_images or self._has_batch_norm:
            small, ran = self._run(rare, self._plain.images), self._run(rare, 2 * self._plain.images)
            more_s = max(0.0, ran.step_s - small.step_s) * (batch_size / self._plain.images - 2)
            step_s = self._slower * (ran.step_s + more_s)
            seen = max(0, ran.saved - small.saved) // max(1, ran.part - small.part)
            kept = max(0, ran.saved - seen * ran.part) + self._pass.copies
            image = self._scaled(seen)
        else:
            ran = self._single(rare)
            step_s, kept = ran.step_s + self._slower * ran.image_s * batch_size, ran.saved + self._pass.copies
            image = self._scaled(ran.image)
            if math.isfinite(period_of(often)) and period_of(often) > 1:
                each_s = self._redraw(often, 1.0) - self._redraw(often, period_of(often))
        # Of two noisy numbers the difference may come out negative.
        return Measured(
            step_s, max(0.0, each_s), ran.held, ran.gradients, ran.trained, image + pixels, part, kept, weights,
            forward, is_masked,
        )  # fmt: skip

    def _scaled(self, kept: int) -> int:
        """Bytes of an image in the cells' precision, with what passes by, from what it keeps as it is measured."""
        return round(kept * self._pass.image / max(1, self._plain.saved))

    def _single(self, cell: CellSettings) -> _Ran:
        """A step of a method on a single image: what is done for weights, once a step, is most of it.

        What a further image adds is the plain network's, as far as gradients are formed: forward one part, back to the
        inputs another, to the weights a third, less where few of them train. Seconds and bytes are those without it.
        """
        assert cell.training is not None
        assert cell.learning_rate is not None
        model = copy.deepcopy(self._fresh_of(cell))
        whole = _matrices(model)
        method = attach(model, cell.model_copy(update={"training": cell.training.model_copy(update={"steps": 2})}))
        some = self._random(1)
        images, labels = to_input(np.asarray(some.images), self._device), torch.from_numpy(some.labels).to(self._device)
        recompute(method.model, self._engine.recomputes)
        # Only what a method does beside the network's passes is asked: for the usual loss these need no repetition.
        is_usual = _is_usual(cell, method)
        step_s = image_s = 0.0
        image = held = kept = 0
        for number, phase in enumerate(method.phases(cell.training, cell.learning_rate)):
            method.begin(number)
            optimizer = torch.optim.AdamW(method.parameter_groups(cell.training.weight_decay), lr=1e-6, fused=True)
            saved, started_at = Saved(model), self._now()
            with saved.counting():
                with self._precision.products():
                    loss = method.loss(images, labels, functional.cross_entropy)
                if is_usual:
                    # The network's own way back, whose time is known.
                    del loss
                elif (penalty := method.penalty()) is not None:
                    (loss + penalty).backward()
                else:
                    loss.backward()
            forward_s = self._now() - started_at
            if is_usual:
                _zero_gradients(optimizer)
                if (penalty := method.penalty()) is not None:
                    penalty.backward()
            if cell.training.gradient_clip is not None:
                nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
            optimizer.step()
            method.after_step(optimizer)
            taken_s = self._now() - started_at - (forward_s if is_usual else 0.0)
            is_deep = bool(cell.levers) or any(
                value.requires_grad for name, value in model.named_parameters() if not name.startswith("head.")
            )
            parts = 2 + self._formed(cell, model, whole) if is_deep else 1
            own_s = self._plain.image_s * parts / 3
            share = phase.steps / cell.training.steps
            step_s += share * max(0.0, taken_s - (0.0 if is_usual else own_s))
            image_s += share * own_s
            own = min(saved.peak, self._plain.saved if is_deep else 0)
            kept, image = max(kept, saved.peak - own), max(image, own)
            held = max(held, 4 * stored_floats(method, optimizer))
        recipe = cell.training.recipe
        image_s *= 1 + recipe.adversarial_steps if recipe.adversarial_epsilon > 0 else 1
        return _Ran(step_s, kept, 1, held, _gradients(method), _trained(method), image_s, image)

    def _redraw(self, cell: CellSettings, period: float) -> float:
        """Seconds that follow a method's step, with a mask that lives so long; gradients of zero do for it."""
        assert cell.training is not None
        levers = cell.levers | {"resample_every": period}
        method = attach(copy.deepcopy(self._fresh_of(cell)), cell.model_copy(update={"levers": levers}))
        method.begin(0)
        optimizer = torch.optim.AdamW(method.parameter_groups(cell.training.weight_decay), lr=1e-6, fused=True)
        _zero_gradients(optimizer)
        optimizer.step()
        started_at = self._now()
        method.after_step(optimizer)
        return self._now() - started_at

    def _formed(self, cell: CellSettings, model: nn.Module, whole: int) -> float:
        """The part of the weights' gradients that is formed."""
        if not cell.levers:
            return _matrices(model, trained=True) / whole
        return 1.0 if cell.levers["granularity"] == "element" else 1.0 - float(cell.levers["sparsity"])

    def _fresh_of(self, cell: CellSettings) -> nn.Module:
        needs_text = traits_of(cell.method).needs_text
        if needs_text not in self._fresh:
            self._fresh[needs_text] = self._blank(needs_text)
        return self._fresh[needs_text]

    def _run(self, cell: CellSettings, images: int, steps: int = 0) -> _Ran:
        """Takes steps of a cell's method on so many images; by default one a phase, of which the time is the share."""
        assert cell.training is not None
        assert cell.learning_rate is not None
        changes: dict[str, Any] = {"batch_size": images, "validate_every": None, "warmup_steps": 0}
        changes["checkpoint_selection"] = "last"
        changes |= {} if self._is_as_run else {"precision": self._measures_in}
        # Losses that weigh classes want images of all of them, and so few images have not; they cost the same.
        changes["recipe"] = cell.training.recipe.model_copy(update={"loss": "cross_entropy"})
        model = copy.deepcopy(self._fresh_of(cell))
        phases = attach(copy.deepcopy(model), cell).phases(cell.training, cell.learning_rate) if not steps else ()
        schedule = cell.training.model_copy(update=changes | {"steps": steps or len(phases)})
        method = attach(model, cell.model_copy(update={"training": schedule}))
        saved, times = Saved(model), [self._now()]
        with ExitStack() as stack:
            stack.enter_context(saved.counting())

            def after_step(step: int) -> None:
                # Counting takes time: it ends before the first step that is timed, if others follow.
                if steps:
                    stack.close()
                times.append(self._now())

            some = self._random(images)
            progress = train(
                model, method, some, some, schedule, 1e-6, cell.seed, after_step=after_step, device=self._device,
                classes=len(self._classes), engine=self._engine,
            )  # fmt: skip
        if steps:
            step_s = (times[-1] - times[2]) / (steps - 2)
        else:
            shares = [phase.steps / cell.training.steps for phase in phases]
            step_s = sum(share * (end - start) for share, start, end in zip(shares, times[:-1], times[1:], strict=True))
        part = -(-images // self._engine.parts(images))
        held = 4 * progress.stored_floats
        return _Ran(step_s, saved.peak, part, held, _gradients(method), _trained(method))

    def _grown(self) -> _Plain:
        """A number of images that takes a plain step long enough to be timed, and what an image more takes."""
        images, taken_s = 1, self._plain_step(1)[0]
        # The first is slow for other reasons, too; where it is very slow these do not matter.
        if taken_s > 5 * LONG_S:
            return _Plain(1, taken_s, self._plain_kept.peak, self._plain_kept.largest)
        taken_s = self._plain_step(1)[0]
        while taken_s < LONG_S and images < BATCH_SIZE:
            images *= 2
            taken_s = self._plain_step(images)[0]
        kept = self._plain_kept
        twice_s, twice = self._plain_step(2 * images)
        image_s = max(twice_s - taken_s, 0.1 * twice_s) / images
        return _Plain(images, image_s, (twice.peak - kept.peak) // images, twice.largest // (2 * images))

    def _plain_step(self, images: int) -> tuple[float, Saved]:
        model = self._fresh[False]
        pixels = torch.rand(images, 3, self._side, self._side, device=self._device)
        recompute(model, self._engine.recomputes)
        saved = Saved(model)
        started_at = self._now()
        with saved.counting():
            with self._precision.products():
                loss = model(pixels).float().sum()
            loss.backward()
        taken_s = self._now() - started_at
        model.zero_grad(set_to_none=True)
        recompute(model, False)
        self._plain_kept = saved
        return taken_s, saved

    def _random(self, images: int) -> Examples:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (images, self._side, self._side, 3), dtype=np.uint8)
        return Examples(pixels, np.arange(images, dtype=np.int64) % len(self._classes))

    def _blank(self, keeps_text: bool) -> nn.Module:
        return backbones.blank(self._backbone, self._classes, keep_text=keeps_text).to(self._device)

    def _now(self) -> float:
        if self._device == "cuda":
            torch.cuda.synchronize()
        return self._clock()


@dataclass(frozen=True)
class _Plain:
    """The bare network: images to time it with, then of one image seconds, bytes kept, bytes of the largest tensor."""

    images: int
    image_s: float
    saved: int
    largest: int


@dataclass(frozen=True)
class _Ran:
    """What steps took: seconds a step, bytes kept at most, images at once; bytes held between steps, of gradients, of
    what trains. Of a step on one image, what that image adds stands apart."""

    step_s: float
    saved: int
    part: int
    held: int
    gradients: int
    trained: int
    image_s: float = 0.0
    image: int = 0


def slowdown(precision: str) -> float:
    """How many times as long this CPU takes for a layer's products, forward and back, as in single precision."""
    times = []
    for name in ("float32", precision):
        inputs, weight = torch.rand(128, 768, requires_grad=True), torch.rand(768, 768, requires_grad=True)
        for _ in range(2):
            started_at = time.process_time()
            with Precision(name, "cpu").products():
                functional.linear(inputs, weight).float().sum().backward()
            taken_s = time.process_time() - started_at
        times.append(taken_s)
    return max(1.0, times[1] / max(times[0], 1e-4))


def _whole_steps(cell: CellSettings) -> int:
    # Whole episodes, if short, so that each timed step carries its share of the resampling.
    return 2 + (max(STEPS, int(period_of(cell))) if period_of(cell) <= 4 * STEPS else STEPS)


def _zero_gradients(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for value in group["params"]:
            value.grad = torch.zeros_like(value)


def _is_usual(cell: CellSettings, method: Method) -> bool:
    """Whether a method leaves the network and its loss as they are: of ours only, a user's may do anything."""
    is_ours = METHODS.get(cell.method) is type(method)
    return is_ours and type(method).loss is Method.loss and not cell.levers and cell.method not in ADAPTERS


def _gradients(method: Method) -> int:
    grouped = [value for group in method.parameter_groups(0.0) for value in group["params"]]
    found = {id(value): value.grad for value in (*grouped, *method.model.parameters())}
    return sum(gradient.nbytes for gradient in found.values() if gradient is not None)


def _trained(method: Method) -> int:
    return 4 * method.accounting().trained_per_episode


def _matrices(model: nn.Module, trained: bool = False) -> int:
    """Entries of weights below the head that take part in products: all, or those that train."""
    return sum(
        value.numel()
        for name, value in model.named_parameters()
        if value.ndim > 1 and not name.startswith("head.") and (value.requires_grad or not trained)
    )


def _bytes(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
