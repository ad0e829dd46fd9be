"""One optimiser step: from a batch to new weights, the batch whole or in parts."""

import math

from torch import Tensor, nn
from torch.optim import Optimizer

from studies.engine import Engine
from studies.failures import Diverged
from studies.methods.method import Method
from studies.modes import require_separable
from studies.recipe import Additions
from studies.settings.training import Schedule


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
        engine: Into how many parts a batch is cut.

    Raises:
        ValueError: If batches are to be cut and their images do not stand for themselves.
    """

    def __init__(self, method: Method, additions: Additions, schedule: Schedule, engine: Engine) -> None:
        if engine.parts(schedule.batch_size) > 1:
            require_separable(method)
        self.method, self.additions, self.schedule, self.engine = method, additions, schedule, engine

    def step(self, optimizer: Optimizer, images: Tensor, labels: Tensor, number: int) -> float:
        """One optimiser step.

        Args:
            optimizer: Holds what trains.
            images: Shape ``(N, 3, height, width)``.
            labels: Shape ``(N,)``.
            number: Steps taken before this one.

        Returns:
            The batch's loss.

        Raises:
            Diverged: If the loss or the gradient is not finite.
        """
        parts = self.engine.parts(len(images))
        seen, targets = self.additions.batch(images, labels, number)
        seen = self.additions.attack(self._loss, seen, targets, number, parts)
        optimizer.zero_grad(set_to_none=True)
        loss = self._backward(seen, targets, parts)
        _check_finite("loss", loss, number)
        if self.schedule.gradient_clip is not None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            norm = nn.utils.clip_grad_norm_(parameters, self.schedule.gradient_clip)
            _check_finite("gradient", norm, number)
        optimizer.step()
        self.method.after_step(optimizer)
        return loss.item()

    def _loss(self, images: Tensor, targets: Tensor) -> Tensor:
        return self.method.loss(images, targets, self.additions.criterion)

    def _backward(self, images: Tensor, targets: Tensor, parts: int) -> Tensor:
        """Adds up the parts' gradients; returns the whole loss."""
        penalty = self.method.penalty()
        if parts == 1:
            loss = self._loss(images, targets)
            loss = loss if penalty is None else loss + penalty
            loss.backward()
            return loss.detach()
        total = images.new_zeros(())
        if penalty is not None:
            penalty.backward()
            total += penalty.detach()
        for some, wanted in zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True):
            loss = self._loss(some, wanted) * (len(some) / len(images))
            loss.backward()
            total += loss.detach()
        return total


def _check_finite(what: str, value: Tensor, step: int) -> None:
    if not math.isfinite(value.item()):
        raise Diverged(f"the {what} is {value.item()} at step {step + 1}")
