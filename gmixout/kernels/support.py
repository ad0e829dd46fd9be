"""Moves values between supports and dense weights: draw, write, absorb, redraw, and gather for gradients.

Each launcher serves all weights of a `gmixout.kernels.tables.Table` in one launch, and nothing waits for the device.
Whatever is off a support stays as it is, bit for bit.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gmixout.kernels.geometry import KINDS, Geometry
from gmixout.kernels.launch import on_device
from gmixout.kernels.slots import (
    begin,
    drawn_units,
    field,
    places,
    positions,
    slot_places,
    store_index,
    stored_support,
    support,
)
from gmixout.kernels.storage import lerp, load_real, load_weight, scalar, store_real, store_weight, widened
from gmixout.kernels.tables import BLOCK, FIELDS, Table

TYPES: dict[torch.dtype, tl.dtype] = {
    torch.float32: tl.float32,
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float64: tl.float64,
}
# Four slots a thread keep a block of 1024 within 64 registers, or 98 where it draws. Triton warns where the fusing of
# products and sums is left to its default, which is about to change.
OPTIONS: dict[str, Any] = {"num_warps": 8, "enable_fp_fusion": True}
_SLOTS = tl.constexpr(FIELDS["slots"])
_PLACES = tl.constexpr(FIELDS["places"])
_WEIGHT = tl.constexpr(FIELDS["weight"])
_LO = tl.constexpr(FIELDS["lo"])
_VALUES = tl.constexpr(FIELDS["values"])
_ANCHOR = tl.constexpr(FIELDS["anchor"])
_SHADOW = tl.constexpr(FIELDS["shadow"])
_EXP_AVG = tl.constexpr(FIELDS["exp_avg"])
_EXP_AVG_SQ = tl.constexpr(FIELDS["exp_avg_sq"])
_STEP = tl.constexpr(FIELDS["step"])


def draw(table: Table, episode: int) -> None:
    """Writes the index of every weight's support in an episode: the bits of `gmixout.sampling.draw_exact`.

    Args:
        table: The weights.
        episode: Number of the episode, in ``[0, 2**32)``.
    """
    launch(_draw_kernel, table, table.index_programs, episode)


def write(table: Table, scale: float, is_residual: bool, follow: float | None) -> None:
    """Writes the effective values ``e = a + c (u - a)`` into the weights, where the trained values are.

    Args:
        table: The weights, with values.
        scale: c; 1 writes u itself.
        is_residual: Whether values hold ``u - a`` instead of u.
        follow: Weight of the old average in ``shadow = lerp(e, shadow, follow)``; None leaves all of them alone, and so
            is a weight that has none.

    Raises:
        ValueError: If a weight has no values: two halves imply them.
    """
    table.require("values")
    launch(
        _write_kernel, table, table.programs, float(scale), 0.0 if follow is None else float(follow),
        IS_RESIDUAL=is_residual, IS_FOLLOWING=follow is not None,
    )  # fmt: skip


def absorb(table: Table, old_weight: float) -> None:
    """Ends an episode: writes the new anchor ``lerp(e, a, λ)`` into the weights, with e what they hold now.

    A weight with a running average takes that instead.

    Args:
        table: The weights, with the indices and anchors of the episode that ends.
        old_weight: λ in ``[0, 1]``, the weight of the OLD anchor.
    """
    launch(_absorb_kernel, table, table.programs, float(old_weight), IS_HILO=table.is_hilo)


def redraw(table: Table, episode: int, is_residual: bool, reset_moments: bool) -> None:
    """Starts an episode: draws its indices, and takes anchors, values and running averages from the weights there.

    Args:
        table: The weights, which hold the new anchor (see `absorb`).
        episode: Number of the episode, in ``[0, 2**32)``.
        is_residual: Whether values start at 0 instead of the anchor.
        reset_moments: Whether to set moments and step counts to 0, where there are any.
    """
    launch(
        _redraw_kernel, table, table.programs, episode,
        IS_HILO=table.is_hilo, IS_RESIDUAL=is_residual, IS_RESETTING=reset_moments,
    )  # fmt: skip


def gather(
    gradient: Tensor, index: Tensor, geometry: Geometry, scale: float = 1.0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """The values that a dense tensor has on a support, times a factor.

    Args:
        gradient: Dense, of the weight's size, contiguous; float32, float16, bfloat16 or float64.
        index: int16 or int32, ``geometry.places`` entries.
        geometry: How the support is stored.
        scale: The factor.
        dtype: Type of the result.

    Returns:
        ``scale * gradient`` on the support, shape ``geometry.shape``.

    Raises:
        ValueError: If ``gradient`` is not contiguous or a size is wrong.
    """
    if gradient.numel() != geometry.entries or index.numel() != geometry.places:
        raise ValueError(f"{geometry} does not fit {gradient.numel()} entries with {index.numel()} places")
    if not gradient.is_contiguous():
        raise ValueError(f"the gradient must be contiguous, got strides {gradient.stride()}")
    out = torch.empty(geometry.shape, dtype=dtype, device=gradient.device)
    with on_device(gradient):
        _gather_kernel[(triton.cdiv(geometry.slots, BLOCK),)](
            gradient, index, out, geometry.slots, geometry.width, geometry.length, geometry.inputs, geometry.patch,
            geometry.size, float(scale), KINDS[geometry.kind], TYPES[gradient.dtype], TYPES[dtype], BLOCK, **OPTIONS,
        )  # fmt: skip
    return out


def launch(kernel: Any, table: Table, programs: Tensor, *numbers: float, **switches: bool) -> None:
    """Runs a kernel over a table's programs; the types of the table go last."""
    if len(programs) == 0:
        return
    with on_device(table.fields):
        kernel[(len(programs),)](
            table.fields, programs, table.weights, *numbers, **switches, VALUE=TYPES[table.value_dtype],
            WEIGHT=TYPES[table.weight_dtype], BLOCK=BLOCK, **OPTIONS,
        )  # fmt: skip


@triton.jit(do_not_specialize=["weights", "episode"])
def _draw_kernel(
    fields, programs, weights, episode: tl.uint32, VALUE: tl.constexpr, WEIGHT: tl.constexpr, BLOCK: tl.constexpr
):
    column, place, live = begin(fields, programs, weights, _PLACES, BLOCK)
    store_index(column, weights, place, drawn_units(column, weights, place, episode), live)


@triton.jit(do_not_specialize=["weights"])
def _write_kernel(
    fields, programs, weights, scale: tl.float64, follow: tl.float64,
    IS_RESIDUAL: tl.constexpr, IS_FOLLOWING: tl.constexpr,
    VALUE: tl.constexpr, WEIGHT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    column, slot, live = begin(fields, programs, weights, _SLOTS, BLOCK)
    anchor = load_real(field(column, weights, _ANCHOR), slot, live, VALUE)
    values = load_real(field(column, weights, _VALUES), slot, live, VALUE)
    e = effective(values, anchor, scale, IS_RESIDUAL)
    store_real(field(column, weights, _WEIGHT), stored_support(column, weights, slot, live), e, live, WEIGHT)
    if IS_FOLLOWING:
        follow_step(column, weights, slot, live, e, follow, VALUE)


@triton.jit(do_not_specialize=["weights"])
def _absorb_kernel(
    fields, programs, weights, old_weight: tl.float64,
    IS_HILO: tl.constexpr, VALUE: tl.constexpr, WEIGHT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    column, slot, live = begin(fields, programs, weights, _SLOTS, BLOCK)
    weight, lo = field(column, weights, _WEIGHT), field(column, weights, _LO)
    position = stored_support(column, weights, slot, live)
    e = load_weight(weight, lo, position, live, WEIGHT, IS_HILO)
    anchor = load_real(field(column, weights, _ANCHOR), slot, live, VALUE)
    shadow = field(column, weights, _SHADOW)
    has_average = present(shadow, live)
    average = load_real(shadow, slot, has_average, VALUE)
    new = tl.where(has_average, average, lerp(e, anchor, scalar(old_weight, anchor.dtype)))
    store_weight(weight, lo, position, new, live, WEIGHT, IS_HILO)


@triton.jit(do_not_specialize=["weights", "episode"])
def _redraw_kernel(
    fields, programs, weights, episode: tl.uint32,
    IS_HILO: tl.constexpr, IS_RESIDUAL: tl.constexpr, IS_RESETTING: tl.constexpr,
    VALUE: tl.constexpr, WEIGHT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    column, slot, live = begin(fields, programs, weights, _SLOTS, BLOCK)
    place = slot_places(column, weights, slot)
    unit = drawn_units(column, weights, place, episode)
    # Slots that share an entry of the index write the same number to it.
    store_index(column, weights, place, unit, live)
    position = support(column, weights, slot, unit)
    anchor = load_weight(field(column, weights, _WEIGHT), field(column, weights, _LO), position, live, WEIGHT, IS_HILO)
    zero = tl.zeros_like(anchor)
    store_real(field(column, weights, _ANCHOR), slot, anchor, live, VALUE)
    store_present(field(column, weights, _SHADOW), slot, anchor, live, VALUE)
    store_present(field(column, weights, _VALUES), slot, zero if IS_RESIDUAL else anchor, live, VALUE)
    if IS_RESETTING:
        store_present(field(column, weights, _EXP_AVG), slot, zero, live, VALUE)
        store_present(field(column, weights, _EXP_AVG_SQ), slot, zero, live, VALUE)
        store_present(field(column, weights, _STEP), slot, zero, live & (slot == 0), tl.float32)


@triton.jit(do_not_specialize=["width", "length", "inputs", "patch", "size"])
def _gather_kernel(
    gradient, index, out, slots, width, length, inputs, patch, size, scale: tl.float64,
    KIND: tl.constexpr, GRADIENT: tl.constexpr, OUT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    slot = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = slot < slots
    slot = tl.where(live, slot, 0)
    unit = tl.load(index + places(KIND, slot, width, patch), mask=live, other=0).to(tl.int32)
    position = positions(KIND, slot, unit, width, length, inputs, patch, size)
    found = widened(load_real(gradient, position, live, GRADIENT), OUT)
    store_real(out, slot, found * scalar(scale, found.dtype), live, OUT)


@triton.jit
def effective(values, anchor, scale, IS_RESIDUAL: tl.constexpr):
    """``a + c (u - a)``, and u itself where c is 1."""
    student = anchor + values if IS_RESIDUAL else values
    factor = scalar(scale, values.dtype)
    return tl.where(factor == 1.0, student, anchor + factor * (student - anchor))


@triton.jit
def follow_step(column, weights, slot, live, e, follow, VALUE: tl.constexpr):
    """Moves the running average of a weight that has one."""
    shadow = field(column, weights, _SHADOW)
    average = load_real(shadow, slot, present(shadow, live), VALUE)
    store_present(shadow, slot, lerp(e, average, scalar(follow, e.dtype)), live, VALUE)


@triton.jit
def store_present(address, slot, value, live, VALUE: tl.constexpr):
    """Writes to a tensor of the table, unless there is none."""
    store_real(address, slot, value, present(address, live), VALUE)


@triton.jit
def present(address, live):
    """Which slots are live and belong to a tensor that is there."""
    # Compared as a block: Triton 3.9's interpreter spoils a truth value that it spreads over one.
    return tl.where(live, address, 0) != 0
