"""The exact sampler inside kernels: bit for bit the positions of `gmixout.sampling.draw_exact`.

Slot k of a segment knows its position from (key, episode, segment, k) alone, so no lane needs another one, and nothing
is sorted, counted or stored. All arithmetic is that of uint32, which wraps as it should.
"""

import triton
import triton.language as tl

_MULTIPLIER_A = tl.constexpr(0x7FEB352D)
_MULTIPLIER_B = tl.constexpr(0x297A2D39)
_KEY_STREAM_A = tl.constexpr(4)
_KEY_STREAM_B = tl.constexpr(5)
_MAXIMUM_WALKS = tl.constexpr(1024)


@triton.jit
def segment_position(key, episode, segment, slot, length, count, bits):
    """The position that a slot of a segment keeps.

    Args:
        key: Scalar int64 with the bits of the 64-bit key.
        episode: Scalar uint32.
        segment: Block of uint32.
        slot: Block of uint32, each below ``count``.
        length: Scalar uint32, units of a segment, at most 2**30.
        count: Scalar uint32, slots of a segment.
        bits: Scalar uint32, `gmixout.sampling.permutation_bits` of ``length``.

    Returns:
        Block of int32 in ``[0, length)``.
    """
    zero = segment * 0
    k0, k1, k2, k3 = tl.philox(key, segment, zero, zero + episode, zero + _KEY_STREAM_A)
    k4, k5, rotation, _ = tl.philox(key, segment, zero, zero + episode, zero + _KEY_STREAM_B)
    walked = _permute(slot, k0, k1, k2, k3, k4, k5, bits)
    outside = walked >= length
    # Each slot lies on a cycle whose start, the slot itself, lies within the segment, so this ends: after at most 64
    # walks in the smallest domain; in larger ones, where half the positions lie within, far before the limit.
    walks = 0
    while (tl.max(outside.to(tl.int32), axis=0) > 0) & (walks < _MAXIMUM_WALKS):
        walked = tl.where(outside, _permute(walked, k0, k1, k2, k3, k4, k5, bits), walked)
        outside = walked >= length
        walks += 1
    turned = walked + tl.umulhi(rotation, zero + length)
    turned = tl.where(turned >= length, turned - length, turned)
    return tl.where(count == length, slot, turned).to(tl.int32)


@triton.jit
def _permute(value, k0, k1, k2, k3, k4, k5, bits):
    narrow = bits // 2
    wide = bits - narrow
    left = value >> wide
    right = value - (left << wide)
    left, right = right, left ^ _mixed(right ^ k0, narrow)
    left, right = right, left ^ _mixed(right ^ k1, wide)
    left, right = right, left ^ _mixed(right ^ k2, narrow)
    left, right = right, left ^ _mixed(right ^ k3, wide)
    left, right = right, left ^ _mixed(right ^ k4, narrow)
    left, right = right, left ^ _mixed(right ^ k5, wide)
    return (left << wide) | right


@triton.jit
def _mixed(value, width):
    value = tl.mul(value ^ (value >> 16), _MULTIPLIER_A, sanitize_overflow=False)
    value = tl.mul(value ^ (value >> 15), _MULTIPLIER_B, sanitize_overflow=False)
    return value >> (32 - width)
