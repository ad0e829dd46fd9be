"""One optimiser step: from a batch to new weights, the batch whole or in parts."""

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from studies.engine import Engine
from studies.failures import Diverged
from studies.methods.method import Method
from studies.modes import require_separable
from studies.precision import Precision
from studies.ranks import ALONE, Ranks
from studies.recipe import Additions
from studies.recomputing import recompute
from studies.settings.training import Schedule
from studies.share import Part

SMALLEST_SCALE = 2.0**-10
"""A scaler halves its scale at every gradient that overflows; from 65536 down to here these are 26 in a row."""


class Stepper:
    r"""Takes steps of a method's loss.

    A batch of N images cut into parts of :math:`n_j` gives the gradient of the whole,

    .. math:: \nabla L = \sum_j \frac{n_j}{N} \nabla L_j

    exactly but for rounding: the parts are added in another order, an error of a few units in the last place of the
    largest summand. (AdamW makes whole steps even of a gradient that is zero but for rounding, as a bias has before a
    norm; two runs part there, whatever makes them round differently.) What a model draws at random while it computes
    (dropout, stochastic depth) is drawn part by part.

    Args:
        method: Attached to the model, whose mode is set.
        additions: What is done to a batch before the model sees it.
        schedule: Gives the largest gradient norm.
        engine: Into how many parts a batch is cut, what is computed twice, what is compiled.
        device: Where the model lives.
        ranks: The processes that share every batch.
        part: This process's part of it; None is all of it.

    Attributes:
        shares: Images of the whole batch for each image of this process's.
        scaler: Keeps gradients of half precision above the smallest numbers; idle in other precisions.

    Raises:
        ValueError: If batches are to be cut and their images do not stand for themselves, or the model cannot
            recompute its blocks.
    """

    def __init__(
        self,
        method: Method,
        additions: Additions,
        schedule: Schedule,
        engine: Engine,
        device: str = "cpu",
        ranks: Ranks = ALONE,
        part: Part | None = None,
    ) -> None:
        if ranks.size > 1 or engine.parts(schedule.batch_size) > 1:
            require_separable(method)
        self.method, self.additions, self.schedule, self.engine = method, additions, schedule, engine
        self._precision = Precision(schedule.precision, device)
        self.scaler = self._precision.scaler()
        recompute(method.model, engine.recomputes)
        self._ranks = ranks
        self.shares = 1.0 if part is None else part.batch / part.trained
        self._pass = _Pass(method, additions, engine.compiles)
        self._shared = ranks.wrapped(self._pass)

    @contextmanager
    def uncompiled(self) -> Iterator[None]:
        """Steps within the context run operator by operator, so that operators can be counted."""
        compiled, self._pass.compiled = self._pass.compiled, None
        try:
            yield
        finally:
            self._pass.compiled = compiled

    def step(self, optimizer: Optimizer, images: Tensor, labels: Tensor, number: int) -> float:
        """One optimiser step.

        Args:
            optimizer: Holds what trains.
            images: Shape ``(N, 3, height, width)``.
            labels: Shape ``(N,)``. With ``augments_on: host`` both come as :meth:`Additions.batch` gives them.
            number: Steps taken before this one.

        Returns:
            The batch's loss.

        Raises:
            Diverged: If the loss or the gradient is not finite.
        """
        seen, targets = images, labels
        if self.engine.augments_on == "device":
            seen, targets = self.additions.batch(images, labels, number)
        parts = self.engine.parts(len(seen))
        if self.engine.channels_last:
            seen = seen.contiguous(memory_format=torch.channels_last)
        seen = self.additions.attack(self._attacked, seen, targets, number, parts)
        optimizer.zero_grad(set_to_none=True)
        loss = self._backward(seen, targets, parts)
        loss = self._ranks.mean(loss)
        _check_finite("loss", loss, number)
        self.scaler.unscale_(optimizer)
        if self.schedule.gradient_clip is not None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            norm = nn.utils.clip_grad_norm_(parameters, self.schedule.gradient_clip)
            if not self.scaler.is_enabled():
                _check_finite("gradient", norm, number)
        self.scaler.step(optimizer)
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < SMALLEST_SCALE:
            raise Diverged(f"the gradient overflows float16 at every scale at step {number + 1}")
        self.method.after_step(optimizer)
        return loss.item()

    def _attacked(self, images: Tensor, targets: Tensor) -> Tensor:
        with self._precision.unscaled_products():
            return self.method.loss(images, targets, self.additions.criterion)

    def _backward(self, images: Tensor, targets: Tensor, parts: int) -> Tensor:
        """Adds up the parts' gradients; returns the loss of all that this process has seen, scaled to its share."""
        pieces = list(zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True))
        # Processes average their gradients, so one with more images than others has to weigh more.
        share = self._ranks.size / self.shares
        losses = []
        for number, (some, wanted) in enumerate(pieces, 1):
            is_last = number == parts
            with contextlib.nullcontext() if is_last else self._ranks.alone(self._shared):
                with self._precision.products():
                    loss = self._shared(some, wanted)
                loss = loss if parts == 1 else loss * (len(some) / len(images))
                if is_last and (penalty := self.method.penalty()) is not None:
                    loss = loss + penalty
                loss = loss if share == 1 else loss * share
                self.scaler.scale(loss).backward()
            losses.append(loss.detach())
        return losses[0] if parts == 1 else torch.stack(losses).sum()


class _Pass(nn.Module):
    """Images and targets to the loss: what is compiled, and what processes that share a batch wrap."""

    def __init__(self, method: Method, additions: Additions, compiles: bool) -> None:
        super().__init__()
        self.model = method.model
        self.plain, self.criterion = method.loss, additions.criterion
        self.compiled: Callable[..., Tensor] | None = None
        if compiles:
            # A worker runs many cells; what was compiled for others would count against the limit of graphs.
            torch.compiler.reset()
            self.compiled = torch.compile(method.loss)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        return (self.compiled or self.plain)(images, targets, self.criterion)


def _check_finite(what: str, value: Tensor, step: int) -> None:
    if not math.isfinite(value.item()):
        raise Diverged(f"the {what} is {value.item()} at step {step + 1}")
