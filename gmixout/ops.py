"""The operators with gradients: the one place that picks an implementation and owns autograd. No mathematics."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from gmixout import operators, reference
from gmixout.kernels.launch import is_chosen
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


def mix(
    weight: Tensor, anchor: Tensor, mask: "Mask", scale: float, gradient_scale: float, dtype: torch.dtype
) -> Tensor:
    """The effective weight of `gmixout.reference.mix`; its gradient reaches ``weight`` on the mask only.

    Args:
        weight: The student's weights, any shape.
        anchor: Same shape; gets no gradient.
        mask: The mask, stored or drawn on the fly.
        scale: Factor c of the residual.
        gradient_scale: The same for the exact gradient, 1 for the published one.
        dtype: What to hand out; the gradient arrives in it, too.
    """
    key, threshold = mask.coins
    return _Mix.apply(weight, anchor, mask.keep, mask.episode, key, threshold, scale, gradient_scale, dtype)


@dataclasses.dataclass(frozen=True)
class Mask:
    """A mask of a dense form, as operators take it.

    Attributes:
        keep: The mask itself, bool, or None where a kernel draws it.
        episode: Number of the episode, int64, one element, on the weight's device.
        coins: Philox key, as a signed integer, and threshold of the coins; not used where ``keep`` is there.
    """

    keep: Tensor | None = None
    episode: Tensor | None = None
    coins: tuple[int, int] = (0, 0)


def cast_and_pick(inputs: Tensor, index: Tensor, dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The inputs in a dtype, and their chosen features along a dimension, compactly."""
    if is_chosen(inputs) and dim == inputs.ndim - 1:
        if inputs.dtype == dtype:
            return inputs, operators.gather_columns(inputs, index)
        return operators.cast_and_gather(inputs, index, dtype)
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
    # An operator without kernels, too: plain torch must read the tiles' numbers, which a compiled graph cannot.
    return operators.block_gradient(gradient, inputs, index, support.size, inputs.dtype)


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
        gradient = gradients[0].contiguous()
        if is_chosen(gradient):
            numbers = operators.as_numbers(ctx.support.geometry)
            on_support = operators.gather(gradient, index, numbers, ctx.scale, ctx.values_dtype)
        else:
            on_support = ctx.support.gather(gradient, index).to(ctx.values_dtype)
            on_support = on_support if ctx.scale == 1.0 else on_support * ctx.scale
        return None, on_support, None, None, None, None


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        weight: Tensor,
        anchor: Tensor,
        keep: Tensor | None,
        episode: Tensor | None,
        key: int,
        threshold: int,
        scale: float,
        gradient_scale: float,
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.save_for_backward(episode, keep)
        ctx.coins, ctx.gradient_scale, ctx.weight_dtype = (key, threshold), gradient_scale, weight.dtype
        if keep is None or is_chosen(weight):
            return operators.mix(weight, anchor, episode, key, threshold, keep, scale, dtype)
        return reference.mix(weight, anchor, keep, scale).to(dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        episode, keep = ctx.saved_tensors
        if keep is None or is_chosen(gradients[0]):
            numbers = (*ctx.coins, keep, ctx.gradient_scale, ctx.weight_dtype)
            masked = operators.mix_gradient(gradients[0], episode, *numbers)
        else:
            masked = reference.mix_gradient(gradients[0].to(ctx.weight_dtype), keep, ctx.gradient_scale)
        return masked, None, None, None, None, None, None, None, None
