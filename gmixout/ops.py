"""The operators with gradients: the one place that picks an implementation and owns autograd. No mathematics."""

from typing import Any

import torch
from torch import Tensor

from gmixout import reference


def route(weight: Tensor, values: Tensor, index: Tensor, scale: float) -> Tensor:
    """Hands out a dense weight whose gradient arrives at the values on the support only.

    The dense gradient of one weight lives until it is gathered here; nothing dense is kept.

    Args:
        weight: The effective weight, any shape, contiguous. Gets no gradient.
        values: Trained values on the support, shape ``(count,)``. Not read: they receive the gradient.
        index: Flat positions of the support, int32 or int64, shape ``(count,)``.
        scale: Factor c from a trained value to the weight.

    Returns:
        A view of ``weight``; its gradient g reaches ``values`` as ``scale * g[index]``.
    """
    return _Route.apply(weight, values, index, scale)


def mix(weight: Tensor, anchor: Tensor, keep: Tensor, scale: float, gradient_scale: float) -> Tensor:
    """The effective weight of `gmixout.reference.mix`; its gradient reaches ``weight`` on the mask only.

    Args:
        weight: The student's weights, any shape.
        anchor: Same shape; gets no gradient.
        keep: The mask, bool, same shape.
        scale: Factor c of the residual.
        gradient_scale: The same for the exact gradient, 1 for the published one.
    """
    return _Mix.apply(weight, anchor, keep, scale, gradient_scale)


# One method for forward and context: torch binds the arguments anew at every call where ``setup_context`` is separate,
# which cost 0.04 ms a weight and step (torch 2.15, CPU).
class _Route(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, values: Tensor, index: Tensor, scale: float) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(index)
        ctx.scale = scale
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (index,) = ctx.saved_tensors
        on_support = gradients[0].reshape(-1).index_select(0, index)
        return None, on_support if ctx.scale == 1.0 else on_support * ctx.scale, None, None


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, weight: Tensor, anchor: Tensor, keep: Tensor, scale: float, gradient_scale: float
    ) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.gradient_scale = gradient_scale
        return reference.mix(weight, anchor, keep, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (keep,) = ctx.saved_tensors
        return reference.mix_gradient(gradients[0], keep, ctx.gradient_scale), None, None, None, None
