"""The operators with gradients: the one place that picks an implementation and owns autograd. No mathematics."""

from typing import Any

import torch
from torch import Tensor

from gmixout import reference
from gmixout.supports import BlockSupport, Support


def route(weight: Tensor, values: Tensor, index: Tensor, support: Support, scale: float, dtype: torch.dtype) -> Tensor:
    """Hands out a dense weight whose gradient arrives at the values on the support only.

    The dense gradient of one weight lives until it is gathered here; nothing dense is kept.

    Args:
        weight: The effective weight, contiguous. Gets no gradient.
        values: Trained values, of the support's shape. Not read: they receive the gradient.
        index: The support's index.
        support: Where the values lie.
        scale: Factor c from a trained value to the weight.
        dtype: What to hand out; the gradient arrives in it, too.

    Returns:
        A view of ``weight``, or its copy in another dtype; its gradient g reaches ``values`` as ``scale * g`` gathered.
    """
    return _Route.apply(weight, values, index, support, scale, dtype)


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


def cast_and_pick(inputs: Tensor, index: Tensor, dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The inputs in a dtype, and their chosen features along a dimension, compactly."""
    cast = inputs.to(dtype)
    return cast, cast.index_select(dim, index)


def block_gradient(gradient: Tensor, inputs: Tensor, index: Tensor, support: BlockSupport) -> Tensor:
    """The tiles of the weight gradient ``gradientᵀ @ inputs`` on the support, shape ``support.shape``.

    Args:
        gradient: Gradient of the outputs, ``(tokens, rows)``.
        inputs: ``(tokens, inputs)``, same dtype.
        index: Numbers of the chosen tiles.
        support: Where they lie.
    """
    size = support.size
    tiles = gradient.new_empty(support.shape)
    for tile, number in zip(tiles, index.tolist(), strict=True):
        row, column = number // support.across * size, number % support.across * size
        torch.mm(gradient[:, row : row + size].t(), inputs[:, column : column + size], out=tile)
    return tiles


# One method for forward and context: torch binds the arguments anew at every call where ``setup_context`` is separate,
# which cost 0.04 ms a weight and step (torch 2.15, CPU).
class _Route(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, weight: Tensor, values: Tensor, index: Tensor, support: Support, scale: float, dtype: torch.dtype
    ) -> Tensor:
        ctx.save_for_backward(index)
        ctx.support, ctx.scale, ctx.values_dtype = support, scale, values.dtype
        return weight.view_as(weight) if dtype == weight.dtype else weight.to(dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (index,) = ctx.saved_tensors
        on_support = ctx.support.gather(gradients[0].contiguous(), index).to(ctx.values_dtype)
        return None, on_support if ctx.scale == 1.0 else on_support * ctx.scale, None, None, None, None


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
