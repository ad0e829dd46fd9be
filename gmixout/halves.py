"""A sparse form that keeps a float32 weight as bfloat16 and the 16 bits that it lacks (``storage="hilo"``).

Products in bfloat16 read the upper half as it is, so no pass over the weight casts it and no cast copy is kept. And the
weight implies the trained values, which need no storage of their own: what an optimiser sees of them is a parameter
without storage that carries the gradient. So only `gmixout.AdamW` can take the steps.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gmixout import hilo, ops
from gmixout.form import is_sparse
from gmixout.masks import MaskPlan
from gmixout.sparse import SparseForm
from gmixout.targets import Target


def check(targets: Sequence[Target], plans: Sequence[MaskPlan]) -> None:
    """Raises a ValueError where a weight to mask cannot be kept as two halves."""
    for target, plan in zip(targets, plans, strict=True):
        if plan.settings.storage != "hilo":
            continue
        if target.parameter.dtype != torch.float32:
            raise ValueError(
                f"storage='hilo' splits float32 weights, got {target.parameter.dtype} of {target.name}; "
                "convert the model to float32 first, or use storage='plain'"
            )
        if not is_sparse(plan):
            raise ValueError(
                f"storage='hilo' needs the sparse form, which {target.name} cannot take under these settings; use "
                "residual='reset', count='exact' and a group_size or block_size that divides it, or storage='plain'"
            )


class HalvesForm(SparseForm):
    """Keeps the upper half of the weight in the module's parameter, and the lower half beside it.

    Args:
        name: Qualified name of the weight.
        plan: How it is masked.
        weight: The module's parameter, float32; it becomes bfloat16.
    """

    lo: Tensor

    def __init__(self, name: str, plan: MaskPlan, weight: nn.Parameter) -> None:
        super().__init__(name, plan, weight)
        weight.data, lo = hilo.split(weight.detach())
        self.register_buffer("lo", lo, persistent=False)
        self.values = nn.Parameter(torch.zeros((), device=weight.device).expand(self.support.shape))
        # Whichever other optimiser meets values without storage would fail in words that help nobody.
        self._guard: Any = self.values.register_post_accumulate_grad_hook(_refuse)

    def bind(self) -> None:
        """Lets gradients in, because an optimiser that can use them is there."""
        if self._guard is not None:
            self._guard.remove()
            self._guard = None

    def forward(self, weight: Tensor) -> Tensor:
        if self.override is not None:
            return self.override
        dtype = self.use_dtype(weight)
        return ops.route(self._as(weight, dtype), self.values, self.index, self.support, self.gradient_scale, dtype)

    def use_dtype(self, weight: Tensor) -> torch.dtype:
        device = weight.device.type
        is_cast = self.casts and torch.is_autocast_enabled(device)
        return torch.get_autocast_dtype(device) if is_cast else torch.float32

    def _as(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        hi = weight.detach()
        return hi if dtype == torch.bfloat16 else hilo.join(hi, self.lo).to(dtype)

    def weight_as(self, dtype: torch.dtype) -> Tensor:
        return self._as(self.weight, dtype)

    def dense(self) -> Tensor:
        return hilo.join(self.weight.detach(), self.lo)

    def read(self, index: Tensor) -> Tensor:
        hi = self.support.gather(self.weight.detach(), index)
        return hilo.join(hi, self.support.gather(self.lo, index))

    def write(self, index: Tensor, values: Tensor) -> None:
        hi, lo = hilo.split(values)
        self.support.scatter(self.weight.detach(), index, hi)
        self.support.scatter(self.lo, index, lo)

    def current_values(self) -> Tensor:
        student = self.anchor + (self.read(self.index) - self.anchor) / self.settings.scale
        return self.trained_of(student, self.anchor)

    def _effective_values(self) -> Tensor:
        return self.read(self.index)

    def written(self, step: int) -> None:
        self.finished = None
        if self.shadow is not None:
            self.follow(self._effective_values(), step)

    def restart(self) -> None:
        self.anchor.copy_(self.read(self.index))
        if self.shadow is not None:
            self.shadow.copy_(self.anchor)

    def tensors(self) -> dict[str, Tensor | None]:
        return super().tensors() | {"values": None, "lo": self.lo}

    @torch.no_grad()
    def adamw(self, state: dict[str, Any], options: Mapping[str, Any]) -> None:
        r"""One step of AdamW on the values that the weight implies: the law of `gmixout.kernels.adamw`.

        With :math:`W = \Phi + c\,(u - \Phi)` a change d of u changes the weight by c d, so the weight takes the step
        itself and nothing is divided by c.

        Args:
            state: ``exp_avg``, ``exp_avg_sq`` and ``step``, which counts this step already.
            options: A parameter group's.
        """
        gradient = self.values.grad
        assert gradient is not None
        gradient = -gradient if options["maximize"] else gradient
        (beta1, beta2), scale = options["betas"], self.settings.scale
        rate, decay = float(options["lr"]), float(options["lr"]) * float(options["weight_decay"])
        steps = float(state["step"])
        first = state["exp_avg"].lerp_(gradient, 1.0 - beta1)
        second = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
        root = (second.sqrt() / math.sqrt(1.0 - beta2**steps)).add_(options["eps"])
        change = first / root * (-rate / (1.0 - beta1**steps))
        old = self.read(self.index)
        stretched = old - self.anchor
        if self.settings.decay_to == "zero":
            stretched = stretched + scale * self.anchor
        self.write(self.index, old + (scale * change - decay * stretched))

    def state(self) -> dict[str, Any]:
        return super().state() | {"trained": None, "lo": self.lo}

    def _restore_weight(self, state: Mapping[str, Any]) -> None:
        self.weight.copy_(state["weight"])
        self.lo.copy_(state["lo"])


def _refuse(values: Tensor) -> None:
    raise RuntimeError(
        "with storage='hilo' only the method's own optimiser can train masked weights, for they have no values of "
        "their own; build gmixout.AdamW(method, ...) before the first backward pass, or use storage='plain'"
    )
