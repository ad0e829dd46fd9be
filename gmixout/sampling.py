"""Which units of a tensor a mask keeps: an exact count without a sort, or independent coin flips.

Units are numbered 0 … total-1 (entries, rows, columns or blocks: `masks.py` knows which). Both samplers are pure
functions of (key, episode) on any device, so they need no generator, no stored mask and no host synchronisation.

Exact count: the units are cut into segments of 4096. A random phase spreads the count over the segments by systematic
sampling, and inside each segment a keyed Feistel permutation turns the slots 0, 1, 2 … into distinct positions. Every
unit is kept with probability exactly count / total.
"""

import hashlib
import math

import torch
from torch import Tensor

from gmixout.philox import philox

_SEGMENT_BITS = 12
SEGMENT = 1 << _SEGMENT_BITS
# Pieces that stay in the cache: both samplers are about twice as fast as in one pass (2-core CPU, 400 000 units).
_SEGMENTS_AT_ONCE = 16
_COUNTERS_AT_ONCE = 16384
_ROUNDS = 6
_MINIMUM_BITS = 6
# The fourth counter word separates the streams, so that no two uses ever share a counter.
_COIN_STREAM, _PHASE_STREAM, _KEY_STREAM_A, _KEY_STREAM_B = 0, 1, 2, 3


def tensor_key(seed: int, name: str) -> int:
    """The 64-bit Philox key of one tensor: stable across runs, machines, devices and parameter order.

    Args:
        seed: The method's seed, any non-negative integer.
        name: Qualified name of the parameter.

    Returns:
        An integer in ``[0, 2**64)``.

    Example:
        >>> tensor_key(0, "blocks.0.attn.qkv.weight") == tensor_key(0, "blocks.0.attn.qkv.weight")
        True
        >>> tensor_key(0, "a") == tensor_key(1, "a")
        False
    """
    return int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "little")


def kept_count(total: int, sparsity: float) -> int:
    """How many of ``total`` units an exact mask keeps: ``round((1 - sparsity) * total)``, but never none.

    Example:
        >>> kept_count(1000, 0.9), kept_count(10, 0.999)
        (100, 1)
    """
    return max(1, round((1.0 - sparsity) * total))


def draw_exact(key: int, episode: int, total: int, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Draws ``count`` distinct units, each unit with probability ``count / total``.

    The order is segment by segment and random inside a segment. Inclusion is exactly uniform; pairs are uniform to
    the quality of a six-round Feistel network (tested by chi-square).

    Args:
        key: From `tensor_key`.
        episode: Number of the episode, in ``[0, 2**32)``.
        total: Number of units, at least 1.
        count: Units to keep, in ``[1, total]``.
        device: Where to compute; the result does not depend on it.

    Returns:
        int64 unit numbers, shape ``(count,)``, no two equal.

    Raises:
        ValueError: If ``count`` is out of range.

    Example:
        >>> kept = draw_exact(tensor_key(0, "weight"), episode=0, total=10, count=3)
        >>> len(set(kept.tolist()))
        3
    """
    if not 1 <= count <= total:
        raise ValueError(f"count must lie in [1, {total}], got {count}")
    if count == total:
        return torch.arange(total, device=device)
    full = (total - 1) // SEGMENT
    phase, keys = _randomness(key, episode, full + 1)
    ends = _segment_ends(total, count, phase % total)
    keys = keys.to(device)
    parts = []
    for start in range(0, full, _SEGMENTS_AT_ONCE):
        stop = min(start + _SEGMENTS_AT_ONCE, full)
        parts.append(_draw_segments(ends, keys, start, stop))
    rest = count - (int(ends[-2]) if full else 0)
    if rest:
        parts.append(full * SEGMENT + _draw_last(rest, keys[:, full], total - full * SEGMENT))
    return torch.cat(parts)


def draw_bernoulli(key: int, episode: int, total: int, sparsity: float, device: torch.device | str = "cpu") -> Tensor:
    """Keeps every unit independently with probability ``1 - sparsity``: the count varies, and may be zero.

    Unit ``i`` is kept when word ``i % 4`` of counter ``i // 4`` lies below ``round((1 - sparsity) * 2**32)``: integers
    are compared, so every device agrees.

    Args:
        key: From `tensor_key`.
        episode: Number of the episode, in ``[0, 2**32)``.
        total: Number of units.
        sparsity: Probability of being held at the anchor, in ``[0, 1)``.
        device: Where to compute; the result does not depend on it.

    Returns:
        bool, shape ``(total,)``; true where the unit is trainable.

    Example:
        >>> kept = draw_bernoulli(tensor_key(0, "weight"), episode=0, total=100_000, sparsity=0.9)
        >>> round(kept.float().mean().item(), 2)
        0.1
    """
    threshold = round((1.0 - sparsity) * 2**32)
    counters = torch.arange((total + 3) // 4, device=device)
    stream = torch.full_like(counters[:1], _COIN_STREAM)
    episodes = torch.full_like(stream, episode)
    kept = torch.empty(len(counters), 4, dtype=torch.bool, device=device)
    for start in range(0, len(counters), _COUNTERS_AT_ONCE):
        piece = counters[start : start + _COUNTERS_AT_ONCE]
        words = philox(key, piece & 0xFFFFFFFF, piece >> 32, episodes, stream)
        for column, word in enumerate(words):
            kept[start : start + _COUNTERS_AT_ONCE, column] = word < threshold
    return kept.reshape(-1)[:total]


def _randomness(key: int, episode: int, segments: int) -> tuple[int, Tensor]:
    """All random words of one exact draw, on the host: a 64-bit phase, and the round keys ``(rounds, segments)``."""
    segment = torch.arange(segments).repeat(2)
    stream = torch.tensor([_KEY_STREAM_A, _KEY_STREAM_B]).repeat_interleave(segments)
    words = philox(
        key,
        torch.cat([torch.zeros(1, dtype=torch.int64), segment]),
        torch.tensor([0]),
        torch.tensor([episode]),
        torch.cat([torch.tensor([_PHASE_STREAM]), stream]),
    )
    phase = (int(words[0][0]) << 32) | int(words[1][0])
    keys = torch.stack(words)[:, 1:].reshape(4, 2, segments).transpose(0, 1).reshape(8, segments)
    return phase, keys[:_ROUNDS]


def _segment_ends(total: int, count: int, phase: int) -> Tensor:
    """Slots used up to the end of every segment: ``floor((count * end + phase) / total)``, phase in [0, total)."""
    # Python integers where count * end could leave 64 bits.
    if count * total >= 2**62:
        ends = [(count * min(end, total) + phase) // total for end in range(SEGMENT, total + SEGMENT, SEGMENT)]
        return torch.tensor(ends, dtype=torch.int64)
    end = torch.arange(SEGMENT, total + SEGMENT, SEGMENT).clamp_(max=total)
    return (end * count + phase) // total


def _draw_segments(ends: Tensor, keys: Tensor, start: int, stop: int) -> Tensor:
    """The kept units of the full segments start … stop-1: one row of slots a segment, spare slots dropped."""
    sizes = ends[start:stop] - torch.cat([ends.new_zeros(1), ends])[start:stop]
    longest = int(sizes.max())
    rank = torch.arange(longest, device=keys.device).expand(stop - start, longest)
    first = torch.arange(start, stop, device=keys.device)[:, None] * SEGMENT
    units = _feistel(rank, keys[:, start:stop, None], _SEGMENT_BITS // 2) + first
    # Sizes differ by at most one, so only the last column can hold spare slots.
    if int(sizes.min()) == longest:
        return units.reshape(-1)
    return units[rank < sizes.to(keys.device)[:, None]]


def _draw_last(count: int, keys: Tensor, length: int) -> Tensor:
    """The kept units of the last segment, of any length: cycles of a larger permutation are walked."""
    bits = max(_MINIMUM_BITS, 2 * math.ceil(math.log2(max(length, 2)) / 2))
    table = _feistel(torch.arange(1 << bits, device=keys.device), keys[:, None], bits // 2)
    position = table[:count]
    # At most one walk through the whole table, whatever the keys.
    for _ in range(1 << bits):
        outside = position >= length
        if not bool(outside.any()):
            break
        position = torch.where(outside, table[position], position)
    return position


def _feistel(value: Tensor, keys: Tensor, half_bits: int) -> Tensor:
    """A keyed permutation of 0 … 2**(2 * half_bits) - 1; ``keys`` holds one key a round along its first dimension."""
    low_mask, shift = (1 << half_bits) - 1, 32 - half_bits
    left, right = value >> half_bits, value & low_mask
    for key in keys:
        # Multipliers below 2**31 keep the products of 32-bit words inside int64.
        mixed = right ^ key
        mixed.bitwise_xor_(mixed >> 16).mul_(0x7FEB352D).bitwise_and_(0xFFFFFFFF)
        mixed.bitwise_xor_(mixed >> 15).mul_(0x297A2D39).bitwise_and_(0xFFFFFFFF)
        left, right = right, left ^ mixed.bitwise_right_shift_(shift)
    return (left << half_bits).bitwise_or_(right)
