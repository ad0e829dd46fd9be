"""Fused Mixout: a weight is mixed with its anchor, masked and cast in one pass, and no coin is ever stored.

Twins: `gmixout.reference.mix`, `gmixout.reference.mix_gradient` and `gmixout.sampling.draw_bernoulli`, whose definition
of a coin is the law: with C = ceil(total / 16) counters, the units lie in four planes of 4C, and a counter's words hold
a byte of four neighbours in each plane. So a thread moves 16 bytes of float32 at a time, and a program contiguous runs.

Key, episode and threshold are plain arguments, never specialised on: a new mask needs no new compilation.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gmixout.kernels.launch import INTERPRETED, on_device
from gmixout.kernels.storage import load_real, scalar, store_real

_WARPS = 4
# One counter a thread: four neighbours of each plane belong to one thread, so no words are exchanged between threads.
# With two a thread Triton 3.9 computes every word twice, in two layouts. An interpreted program costs milliseconds
# however few counters it has.
COUNTERS_A_PROGRAM = 8192 if INTERPRETED else 32 * _WARPS
# Triton warns where fusing of products and sums is left to its default, which is about to change.
OPTIONS = {"num_warps": _WARPS, "enable_fp_fusion": True}
_NOT_SPECIALIZED = ["key_low", "key_high", "episode", "head", "tail"]
# Kernels count in 32 bits.
_MAXIMUM_COUNTERS = 2**32


@triton.jit
def _halves(high, low, COUNTERS: tl.constexpr):
    """16 bits of each of a plane's units: a byte of its ``high`` word, then one of its ``low`` word."""
    shift = 8 * tl.arange(0, 4)[None, :]
    bits = ((high[:, None] >> shift) & 0xFF) << 8 | ((low[:, None] >> shift) & 0xFF)
    return tl.reshape(bits.to(tl.int32), (4 * COUNTERS,))


@triton.jit
def _ties(high, low, head):
    """Not zero where some byte of ``high`` and the same byte of ``low`` are the two bytes of ``head``."""
    differs = (high ^ ((head >> 8 & 0xFF) * 0x01010101)) | (low ^ ((head & 0xFF) * 0x01010101))
    # Nothing but a zero byte starts a borrow into a highest bit that was clear.
    return (differs - 0x01010101) & ~differs & 0x80808080


@triton.jit
def draw_planes(program, key_low, key_high, episode, head, tail, COUNTERS: tl.constexpr):
    """The masks of a program's units in the four planes; ``head`` and ``tail`` are the halves of the threshold."""
    key = key_high.to(tl.uint32, bitcast=True).to(tl.uint64) << 32 | key_low.to(tl.uint32, bitcast=True).to(tl.uint64)
    if episode.dtype.is_ptr():
        episode = tl.load(episode).to(tl.int32)
    counter = (program.to(tl.int64) * COUNTERS + tl.arange(0, COUNTERS)).to(tl.uint32)
    a0, a1, a2, a3 = tl.philox(key, counter, 0, episode, 0)
    b0, b1, b2, b3 = tl.philox(key, counter, 0, episode, 1)
    first0 = _halves(a0, b0, COUNTERS)
    first1 = _halves(a1, b1, COUNTERS)
    first2 = _halves(a2, b2, COUNTERS)
    first3 = _halves(a3, b3, COUNTERS)
    kept0, kept1, kept2, kept3 = first0 < head, first1 < head, first2 < head, first3 < head
    word = head.to(tl.uint32)
    tied = _ties(a0, b0, word) | _ties(a1, b1, word) | _ties(a2, b2, word) | _ties(a3, b3, word)
    # One unit in 65 536 is tied, so few programs draw the other half of the bits.
    if tl.max((tied != 0).to(tl.int32), axis=0) > 0:
        c0, c1, c2, c3 = tl.philox(key, counter, 0, episode, 2)
        d0, d1, d2, d3 = tl.philox(key, counter, 0, episode, 3)
        kept0 = kept0 | ((first0 == head) & (_halves(c0, d0, COUNTERS) < tail))
        kept1 = kept1 | ((first1 == head) & (_halves(c1, d1, COUNTERS) < tail))
        kept2 = kept2 | ((first2 == head) & (_halves(c2, d2, COUNTERS) < tail))
        kept3 = kept3 | ((first3 == head) & (_halves(c3, d3, COUNTERS) < tail))
    return kept0, kept1, kept2, kept3


@triton.jit
def plane_positions(program, plane: tl.constexpr, total, counters, COUNTERS: tl.constexpr):
    """Flat int64 positions of a program's units in a plane, and whether they exist."""
    length = tl.cast(counters, tl.int64) * 4
    place = program.to(tl.int64) * (4 * COUNTERS) + tl.arange(0, 4 * COUNTERS)
    position = plane * length + place
    return position, (place < length) & (position < total)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def _mix_kernel(
    WEIGHT, ANCHOR, KEEP, OUT, total, counters, key_low, key_high, episode, head, tail, scale: tl.float64,
    STRETCHED: tl.constexpr, COMPUTE: tl.constexpr, COUNTERS: tl.constexpr,
):  # fmt: skip
    if KEEP is None:
        drawn = draw_planes(tl.program_id(0), key_low, key_high, episode, head, tail, COUNTERS)
    for plane in tl.static_range(4):
        position, exists = plane_positions(tl.program_id(0), plane, total, counters, COUNTERS)
        weight = load_real(WEIGHT, position, exists, WEIGHT.dtype.element_ty).to(COMPUTE)
        anchor = load_real(ANCHOR, position, exists, ANCHOR.dtype.element_ty).to(COMPUTE)
        if KEEP is None:
            kept = drawn[plane]
        else:
            kept = tl.load(KEEP + position, mask=exists, other=0) != 0
        # A factor of one would round; the weight itself does not.
        if STRETCHED:
            weight = anchor + scalar(scale, COMPUTE) * (weight - anchor)
        mixed = tl.where(kept, weight, anchor)
        store_real(OUT, position, mixed, exists, OUT.dtype.element_ty)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def _mix_gradient_kernel(
    GRADIENT, KEEP, OUT, total, counters, key_low, key_high, episode, head, tail, scale: tl.float64,
    COMPUTE: tl.constexpr, COUNTERS: tl.constexpr,
):  # fmt: skip
    if KEEP is None:
        drawn = draw_planes(tl.program_id(0), key_low, key_high, episode, head, tail, COUNTERS)
    for plane in tl.static_range(4):
        position, exists = plane_positions(tl.program_id(0), plane, total, counters, COUNTERS)
        gradient = load_real(GRADIENT, position, exists, GRADIENT.dtype.element_ty).to(COMPUTE)
        if KEEP is None:
            kept = drawn[plane]
        else:
            kept = tl.load(KEEP + position, mask=exists, other=0) != 0
        masked = tl.where(kept, gradient * scalar(scale, COMPUTE), 0.0)
        store_real(OUT, position, masked, exists, OUT.dtype.element_ty)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def _coins_kernel(OUT, total, counters, key_low, key_high, episode, head, tail, COUNTERS: tl.constexpr):
    drawn = draw_planes(tl.program_id(0), key_low, key_high, episode, head, tail, COUNTERS)
    for plane in tl.static_range(4):
        position, exists = plane_positions(tl.program_id(0), plane, total, counters, COUNTERS)
        tl.store(OUT + position, drawn[plane].to(tl.uint8), mask=exists)


def mix(
    weight: Tensor,
    anchor: Tensor,
    scale: float,
    *,
    key: int | None = None,
    episode: int | Tensor | None = None,
    threshold: int | None = None,
    keep: Tensor | None = None,
    out_dtype: torch.dtype,
) -> Tensor:
    r"""The effective weight, cast: :math:`\Phi + c\, M \odot (w - \Phi)`.

    Held entries equal the anchor bit for bit before the cast, and with ``scale=1`` kept ones equal the weight. The
    arithmetic is float32, or float64 from float64 to float64 or float32.

    Args:
        weight: The student's weights :math:`w`, any shape, floating.
        anchor: The anchor :math:`\Phi`, same shape, floating.
        scale: The factor :math:`c`.
        key: From `gmixout.sampling.tensor_key`. Coins are drawn in the kernel.
        episode: Number of the episode, in ``[0, 2**32)``; or one int64 beside the weight, which is read only when the
            kernel runs, so that a captured graph sees the next one.
        threshold: From `gmixout.sampling.coin_threshold`, in ``[0, 2**32]``.
        keep: In place of these three: the mask :math:`M`, bool, same shape.
        out_dtype: Dtype of the result.

    Returns:
        Same shape, contiguous.

    Raises:
        ValueError: If the shapes differ, or unless ``keep`` or all of ``key``, ``episode``, ``threshold`` are given, or
            of more than 2**36 entries.

    Example:
        >>> w, a = torch.tensor([2.0, 4.0]), torch.tensor([1.0, 1.0])
        >>> mix(w, a, 2.0, keep=torch.tensor([True, False]), out_dtype=torch.float32)
        tensor([3., 1.])
    """
    _check(weight, key, episode, threshold, anchor=anchor, keep=keep)
    arguments = _arguments(weight.numel(), key, episode, threshold)
    out = torch.empty(weight.shape, dtype=out_dtype, device=weight.device)
    if not out.numel():
        return out
    with on_device(out):
        _mix_kernel[_grid(out)](
            weight.contiguous(), anchor.contiguous(), _bytes(keep), out, *arguments,
            float(scale), STRETCHED=scale != 1.0, COMPUTE=_compute(weight, out_dtype),
            COUNTERS=COUNTERS_A_PROGRAM, **OPTIONS,
        )  # fmt: skip
    return out


def mix_gradient(
    gradient: Tensor,
    scale: float,
    *,
    key: int | None = None,
    episode: int | Tensor | None = None,
    threshold: int | None = None,
    keep: Tensor | None = None,
    out_dtype: torch.dtype,
) -> Tensor:
    r"""The gradient of `mix` for the weight, cast: :math:`c\, M \odot g`; exactly zero where held, whatever g is.

    Args:
        gradient: :math:`g`, gradient of the loss for the effective weight, any shape, floating.
        scale: :math:`c`; the public Mixout code leaves it out (1).
        key: As in `mix`, like the further arguments.
        episode: As in `mix`.
        threshold: From `gmixout.sampling.coin_threshold`.
        keep: In place of these three: the mask, bool, same shape.
        out_dtype: Dtype of the result.

    Returns:
        Same shape, contiguous.

    Raises:
        ValueError: As `mix`.

    Example:
        >>> mix_gradient(torch.tensor([2.0, 4.0]), 10.0, keep=torch.tensor([True, False]), out_dtype=torch.float32)
        tensor([20.,  0.])
    """
    _check(gradient, key, episode, threshold, keep=keep)
    arguments = _arguments(gradient.numel(), key, episode, threshold)
    out = torch.empty(gradient.shape, dtype=out_dtype, device=gradient.device)
    if not out.numel():
        return out
    with on_device(out):
        _mix_gradient_kernel[_grid(out)](
            gradient.contiguous(), _bytes(keep), out, *arguments,
            float(scale), COMPUTE=_compute(gradient, out_dtype),
            COUNTERS=COUNTERS_A_PROGRAM, **OPTIONS,
        )  # fmt: skip
    return out


def coins(total: int, key: int, episode: int, threshold: int, device: torch.device | str = "cpu") -> Tensor:
    """Draws the mask itself, for masks that are stored: the bits of `gmixout.sampling.draw_bernoulli`.

    Args:
        total: Number of units.
        key: From `gmixout.sampling.tensor_key`.
        episode: Number of the episode, in ``[0, 2**32)``.
        threshold: From `gmixout.sampling.coin_threshold`, in ``[0, 2**32]``.
        device: Where to draw.

    Returns:
        bool, shape ``(total,)``; true where the unit is trainable.

    Raises:
        ValueError: If ``total`` exceeds 2**36.

    Example:
        >>> coins(3, key=0, episode=0, threshold=2**32)
        tensor([True, True, True])
    """
    arguments = _arguments(total, key, episode, threshold)
    out = torch.empty(total, dtype=torch.bool, device=device)
    if total:
        with on_device(out):
            _coins_kernel[_grid(out)](_bytes(out), *arguments, COUNTERS=COUNTERS_A_PROGRAM, **OPTIONS)
    return out


def _check(
    tensor: Tensor, key: int | None, episode: int | Tensor | None, threshold: int | None, **others: Tensor | None
) -> None:
    for name, other in others.items():
        if other is not None and other.shape != tensor.shape:
            raise ValueError(f"{name} must have the shape {tuple(tensor.shape)}, got {tuple(other.shape)}")
    drawn = [number is not None for number in (key, episode, threshold)]
    if (others["keep"] is None and not all(drawn)) or (others["keep"] is not None and any(drawn)):
        raise ValueError("give either keep, or all of key, episode and threshold")


def _arguments(
    total: int, key: int | None, episode: int | Tensor | None, threshold: int | None
) -> tuple[int | Tensor, ...]:
    """The kernels' numbers from ``total`` to ``tail``."""
    counters = triton.cdiv(total, 16)
    if counters > _MAXIMUM_COUNTERS:
        raise ValueError(f"a kernel handles at most {16 * _MAXIMUM_COUNTERS} entries, got {total}")
    key, threshold = key or 0, threshold or 0
    number = episode if isinstance(episode, Tensor) else _signed(episode or 0)
    return total, counters, _signed(key), _signed(key >> 32), number, _signed(threshold >> 16), threshold & 0xFFFF


def _signed(word: int) -> int:
    """The lower 32 bits as a signed word, so that arguments have one type, whatever their value."""
    return (word + 2**31) % 2**32 - 2**31


def _grid(out: Tensor) -> tuple[int]:
    return (triton.cdiv(out.numel(), 16 * COUNTERS_A_PROGRAM),)


def _bytes(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.contiguous().view(torch.uint8)


def _compute(tensor: Tensor, out_dtype: torch.dtype) -> tl.dtype:
    # Like torch, from float64 to half precision by way of float32.
    return tl.float64 if tensor.dtype == torch.float64 and out_dtype.itemsize >= 4 else tl.float32
