"""The kernels as operators of torch, so that compiled graphs and exported programs hold each as one opaque call.

`gmixout.ops` decides who is asked. On a CPU they run interpreted; only `block_gradient` has a plain form as well.
None of them has a derivative: the functions of `gmixout.ops` and `gmixout.compact` call them in their own.
"""

from typing import Any

import torch
from torch import Tensor

from gmixout import reference
from gmixout.kernels.geometry import KINDS, Geometry
from gmixout.kernels.launch import is_chosen

_KINDS = tuple(KINDS)


def as_numbers(geometry: Geometry) -> list[int]:
    """A geometry as operators take it."""
    g = geometry
    return [KINDS[g.kind], g.segments, g.length, g.count, g.rows, g.inputs, g.patch, g.size]


@torch.library.custom_op("gmixout::gather", mutates_args=())
def gather(dense: Tensor, index: Tensor, geometry: list[int], scale: float, dtype: torch.dtype) -> Tensor:
    """``scale * dense`` on a support: see `gmixout.kernels.support.gather`."""
    from gmixout.kernels import support

    return support.gather(dense, index, Geometry(_KINDS[geometry[0]], *geometry[1:]), scale, dtype)


@gather.register_fake
def _(dense: Tensor, index: Tensor, geometry: list[int], scale: float, dtype: torch.dtype) -> Tensor:
    return dense.new_empty(Geometry(_KINDS[geometry[0]], *geometry[1:]).shape, dtype=dtype)


@torch.library.custom_op("gmixout::cast_and_gather", mutates_args=())
def cast_and_gather(inputs: Tensor, columns: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The inputs in a dtype, and their chosen columns: see `gmixout.kernels.columns.cast_and_gather`."""
    from gmixout.kernels import columns as kernels

    return kernels.cast_and_gather(inputs, columns, dtype)


@cast_and_gather.register_fake
def _(inputs: Tensor, columns: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    chosen = inputs.new_empty(*inputs.shape[:-1], columns.shape[0], dtype=dtype)
    return inputs.new_empty(inputs.shape, dtype=dtype), chosen


@torch.library.custom_op("gmixout::gather_columns", mutates_args=())
def gather_columns(inputs: Tensor, columns: Tensor) -> Tensor:
    """The chosen columns of the inputs: see `gmixout.kernels.columns.gather_columns`."""
    from gmixout.kernels import columns as kernels

    return kernels.gather_columns(inputs, columns)


@gather_columns.register_fake
def _(inputs: Tensor, columns: Tensor) -> Tensor:
    return inputs.new_empty(*inputs.shape[:-1], columns.shape[0])


@torch.library.custom_op("gmixout::block_gradient", mutates_args=())
def block_gradient(gradient: Tensor, inputs: Tensor, tiles: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """The tiles of ``gradientᵀ @ inputs``, by `gmixout.kernels.blocks` or `gmixout.reference`."""
    # Triton's interpreter multiplies bfloat16 wrongly, and tensor cores know no float64.
    has_kernel = inputs.dtype in (torch.float16, torch.float32) or (inputs.is_cuda and inputs.dtype == torch.bfloat16)
    if has_kernel and is_chosen(inputs):
        from gmixout.kernels import blocks

        return blocks.block_gradient(gradient, inputs, tiles, size, 1.0, dtype)
    return reference.block_gradient(gradient, inputs, tiles, size).to(dtype)


@block_gradient.register_fake
def _(gradient: Tensor, inputs: Tensor, tiles: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    return gradient.new_empty(tiles.shape[0], size, size, dtype=dtype)


@torch.library.custom_op("gmixout::mix", mutates_args=())
def mix(
    weight: Tensor,
    anchor: Tensor,
    episode: Tensor | None,
    key: int,
    threshold: int,
    keep: Tensor | None,
    scale: float,
    dtype: torch.dtype,
) -> Tensor:
    """The effective weight under coins that are drawn on the fly, or a stored mask: see `gmixout.kernels.mixing.mix`.

    ``key`` is signed, as operators' integers are; ``episode`` lies on the device, so that a graph sees the next one.
    """
    from gmixout.kernels import mixing

    return mixing.mix(weight, anchor, scale, **_coins(episode, key, threshold, keep), out_dtype=dtype)


@mix.register_fake
def _(
    weight: Tensor,
    anchor: Tensor,
    episode: Tensor | None,
    key: int,
    threshold: int,
    keep: Tensor | None,
    scale: float,
    dtype: torch.dtype,
) -> Tensor:
    return weight.new_empty(weight.shape, dtype=dtype)


@torch.library.custom_op("gmixout::mix_gradient", mutates_args=())
def mix_gradient(
    gradient: Tensor,
    episode: Tensor | None,
    key: int,
    threshold: int,
    keep: Tensor | None,
    scale: float,
    dtype: torch.dtype,
) -> Tensor:
    """The gradient of `mix` for the weight: see `gmixout.kernels.mixing.mix_gradient`."""
    from gmixout.kernels import mixing

    return mixing.mix_gradient(gradient, scale, **_coins(episode, key, threshold, keep), out_dtype=dtype)


@mix_gradient.register_fake
def _(
    gradient: Tensor,
    episode: Tensor | None,
    key: int,
    threshold: int,
    keep: Tensor | None,
    scale: float,
    dtype: torch.dtype,
) -> Tensor:
    return gradient.new_empty(gradient.shape, dtype=dtype)


def _coins(episode: Tensor | None, key: int, threshold: int, keep: Tensor | None) -> dict[str, Any]:
    if keep is not None:
        return {"keep": keep}
    return {"key": key % 2**64, "episode": episode, "threshold": threshold}
