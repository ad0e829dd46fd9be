"""Which units of a tensor a mask keeps: an exact count without a sort, or independent coin flips.

Both samplers are pure functions of (key, episode) on any device, so they need no generator, no stored mask and no host
synchronisation. Every random word is Philox's, at a counter that nothing else uses.

Exact count: units lie in segments of equal length, and every segment keeps the same number. Inside a segment a keyed
Feistel permutation of a power of two turns the slots 0, 1, 2 … into distinct positions; a position beyond the segment's
end is permuted again until it lies within, and a random rotation makes every unit's chance exactly count / length.

Coin flips: a unit is kept when its 32-bit word lies below a threshold. The words are compared byte by byte, from the
highest: one call of the generator gives the first bytes of 16 units, which decide all but one unit in 256.
"""

import hashlib
import sys
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.compiler import is_compiling

from gmixout.philox import philox

_ROUNDS = 6
# Four rounds, or smaller permutations, leave pairs visibly dependent.
_MINIMUM_BITS = 6
_MULTIPLIER_A, _MULTIPLIER_B = 0x7FEB352D, 0x297A2D39
# The fourth counter word separates the streams: 0 to 3 are the bytes of a coin's word, from the highest.
_KEY_STREAMS = (4, 5)
_COINS = 16
# Pieces that stay in the cache, large enough for the work to outweigh the calls (2-core CPU).
_SLOTS_AT_ONCE = 131072
_COUNTERS_AT_ONCE = 32768


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


def draw_exact(
    key: int, episode: int, segments: int, length: int, count: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Draws ``count`` distinct units of every segment, each unit with probability exactly ``count / length``.

    Segments are independent. Pairs within one are uniform to the quality of a six-round Feistel network (tested by
    chi-square).

    Args:
        key: From `tensor_key`.
        episode: Number of the episode, in ``[0, 2**32)``.
        segments: Number of segments, from 1.
        length: Units of a segment, in ``[1, 2**30]``.
        count: Units to keep of each, in ``[1, length]``.
        device: Where to compute; the result does not depend on it.

    Returns:
        int32 positions within the segments, shape ``(segments, count)``, no two of a row equal, in random order.

    Raises:
        ValueError: If ``length`` or ``count`` is out of range.

    Example:
        >>> kept = draw_exact(tensor_key(0, "weight"), episode=0, segments=2, length=10, count=3)
        >>> kept.shape, [len(set(row)) for row in kept.tolist()]
        (torch.Size([2, 3]), [3, 3])
    """
    return draw_exact_many([key], episode, segments, length, count, device)[0]


def draw_exact_many(
    keys: Sequence[int], episode: int, segments: int, length: int, count: int, device: torch.device | str = "cpu"
) -> Tensor:
    """`draw_exact` for tensors of one size at once, which saves most of the calls when they are small.

    Args:
        keys: From `tensor_key`, one a tensor.
        episode: As in `draw_exact`, like the further arguments.
        segments: Number of segments of each.
        length: Units of a segment.
        count: Units to keep of each segment.
        device: Where to compute.

    Returns:
        int32, shape ``(len(keys), segments, count)``.

    Raises:
        ValueError: As `draw_exact`.

    Example:
        >>> both = draw_exact_many([1, 2], episode=0, segments=2, length=9, count=3)
        >>> torch.equal(both[1], draw_exact(2, episode=0, segments=2, length=9, count=3))
        True
    """
    if not 1 <= length <= 2**30:
        raise ValueError(f"length must lie in [1, 2**30], got {length}")
    if not 1 <= count <= length:
        raise ValueError(f"count must lie in [1, {length}], got {count}")
    slots = torch.arange(count, dtype=torch.int32, device=device)
    if count == length:
        return slots.repeat(len(keys), segments, 1)
    round_keys, offsets = segment_keys(keys, episode, segments, length, device)
    drawn = torch.empty(len(keys) * segments, count, dtype=torch.int32, device=device)
    step = max(1, _SLOTS_AT_ONCE // count)
    for start in range(0, len(drawn), step):
        piece = slice(start, min(start + step, len(drawn)))
        drawn[piece] = _draw_segments(slots, round_keys[:, piece], offsets[piece], length)
    return drawn.view(len(keys), segments, count)


def draw_bernoulli(key: int, episode: int, total: int, sparsity: float, device: torch.device | str = "cpu") -> Tensor:
    """Keeps every unit independently with probability ``1 - sparsity``: the count varies, and may be zero.

    With C = ceil(total / 16) counters, unit ``i`` has byte ``i % 4``, from the lowest, of word ``i // 4C`` of counter
    ``i % 4C // 4``, in each of the streams 0 to 3. These four bytes, from the highest, are its 32-bit word, and it is
    kept when that lies below `coin_threshold`: integers are compared, so every device agrees.

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
    return draw_bernoulli_many([key], episode, total, sparsity, device)[0]


def draw_bernoulli_many(
    keys: Sequence[int], episode: int, total: int, sparsity: float, device: torch.device | str = "cpu"
) -> Tensor:
    """`draw_bernoulli` for tensors of one size at once, which saves most of the calls when they are small.

    Args:
        keys: From `tensor_key`, one a tensor.
        episode: Number of the episode, in ``[0, 2**32)``.
        total: Number of units of each.
        sparsity: Probability of being held at the anchor, in ``[0, 1)``.
        device: Where to compute.

    Returns:
        bool, shape ``(len(keys), total)``.

    Example:
        >>> both = draw_bernoulli_many([1, 2], episode=0, total=5, sparsity=0.5)
        >>> torch.equal(both[1], draw_bernoulli(2, episode=0, total=5, sparsity=0.5))
        True
    """
    threshold = coin_threshold(sparsity)
    if threshold == 2**32:
        return torch.ones(len(keys), total, dtype=torch.bool, device=device)
    counters = (total + _COINS - 1) // _COINS
    kept = torch.empty(len(keys), 4, 4 * counters, dtype=torch.bool, device=device)
    low, high = _halves(keys, device)
    at_once = max(1, _COUNTERS_AT_ONCE // max(1, counters))
    tied = []
    for row in range(0, len(keys), at_once):
        rows = slice(row, row + at_once)
        for start in range(0, counters, _COUNTERS_AT_ONCE):
            piece = torch.arange(start, min(start + _COUNTERS_AT_ONCE, counters), device=device)
            first = _coin_bytes((low[rows], high[rows]), episode, piece[None, :], stream=0)
            _less(first, threshold >> 24, out=kept[rows, :, 4 * start : 4 * (start + len(piece))])
            tied.append(_where(first, threshold >> 24) + torch.tensor([[row], [0], [4 * start]], device=device))
    # Nothing lies below a threshold whose further bytes are all zero.
    if threshold & 0xFFFFFF and counters:
        _resolve(kept, torch.cat(tied, dim=1), (low[:, 0], high[:, 0]), episode, threshold)
    return kept.view(len(keys), -1)[:, :total]


def coin_threshold(sparsity: float) -> int:
    """``round((1 - sparsity) * 2**32)``: coins whose 32-bit word lies below it are kept."""
    return round((1.0 - sparsity) * 2**32)


def segment_keys(
    keys: Sequence[int], episode: int, segments: int, length: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """The random words of all tensors' segments: int32 round keys ``(rounds, all)`` and rotations ``(all,)``."""
    low, high = _halves(keys, device)
    segment = torch.arange(segments, device=device).view(1, 1, -1)
    stream = torch.tensor(_KEY_STREAMS, device=device).view(-1, 1, 1)
    zero = torch.zeros(1, dtype=torch.int64, device=device)
    words = torch.stack(philox((low, high), segment.expand(1, len(keys), -1), zero, zero + episode, stream))
    words = words.transpose(0, 1).reshape(-1, len(keys) * segments)
    return words[:_ROUNDS].to(torch.int32), ((words[_ROUNDS] * length) >> 32).to(torch.int32)


def _halves(keys: Sequence[int], device: torch.device | str) -> tuple[Tensor, Tensor]:
    """The lower and upper 32 bits of keys, int64, shape ``(keys, 1)``."""
    low, high = torch.tensor([[key & 0xFFFFFFFF, key >> 32] for key in keys], dtype=torch.int64).to(device).unbind(1)
    return low[:, None], high[:, None]


def _draw_segments(slots: Tensor, keys: Tensor, offsets: Tensor, length: int) -> Tensor:
    bits = permutation_bits(length)
    drawn = _feistel(slots.expand(len(offsets), -1), keys[:, :, None], bits)
    flat = drawn.view(-1)
    outside = (flat >= length).nonzero().reshape(-1)
    # Permuted again until it lies within the segment; the start of the cycle does, so this ends.
    while len(outside):
        walked = _feistel(flat[outside], keys[:, outside // len(slots)], bits)
        flat[outside] = walked
        outside = outside[walked >= length]
    drawn += offsets[:, None]
    drawn -= (drawn >= length).to(torch.int32).mul_(length)
    return drawn


def permutation_bits(length: int) -> int:
    """Bits of the permuted domain: the smallest power of two that holds a segment, but not too small."""
    return max(_MINIMUM_BITS, (length - 1).bit_length())


def _feistel(value: Tensor, keys: Tensor, bits: int) -> Tensor:
    """A keyed permutation of 0 … 2**bits - 1, int32; ``keys`` holds one key a round along its first dimension."""
    widths = (bits // 2, bits - bits // 2)
    left, right = value >> widths[1], value & ((1 << widths[1]) - 1)
    for number, key in enumerate(keys):
        width = widths[number % 2]
        # Shifts of int32 copy the sign, so every shift is masked; products wrap modulo 2**32 as they should.
        mixed = right ^ key
        mixed.bitwise_xor_((mixed >> 16).bitwise_and_(0xFFFF)).mul_(_MULTIPLIER_A)
        mixed.bitwise_xor_((mixed >> 15).bitwise_and_(0x1FFFF)).mul_(_MULTIPLIER_B)
        mixed.bitwise_right_shift_(32 - width).bitwise_and_((1 << width) - 1)
        left, right = right, mixed.bitwise_xor_(left)
    return (left << widths[1]).bitwise_or_(right)


def _less(drawn: Tensor, byte: int, out: Tensor) -> None:
    """Writes which of the drawn bytes lie below one. NumPy compares bytes on a CPU ten times as fast as torch."""
    if drawn.is_cpu and not is_compiling():
        out.numpy()[...] = drawn.numpy() < byte
    else:
        torch.lt(drawn, byte, out=out)


def _where(drawn: Tensor, byte: int) -> Tensor:
    """Tensor, plane and place of the coins that drew a byte, int64, shape ``(3, coins)``."""
    if drawn.is_cpu and not is_compiling():
        found = torch.from_numpy((drawn.numpy() == byte).reshape(-1).nonzero()[0])
    else:
        found = (drawn == byte).view(-1).nonzero().view(-1)
    plane = found // drawn.shape[2]
    return torch.stack([plane // 4, plane % 4, found % drawn.shape[2]])


def _resolve(kept: Tensor, tied: Tensor, keys: tuple[Tensor, Tensor], episode: int, threshold: int) -> None:
    """Decides, in place, the coins whose first byte equals the threshold's, by their further bytes."""
    below = torch.zeros_like(tied[0], dtype=torch.bool)
    left = torch.arange(len(below), device=kept.device)
    for stream, shift in ((1, 16), (2, 8), (3, 0)):
        tensor, plane, place = tied[:, left]
        drawn = _coin_bytes((keys[0][tensor], keys[1][tensor]), episode, place // 4, stream).view(4, -1, 4)
        drawn = drawn[plane, torch.arange(len(left), device=kept.device), place % 4]
        byte = threshold >> shift & 0xFF
        below[left] = drawn < byte
        left = left[drawn == byte]
        # One coin in 256 of those that are left needs the next byte.
        if not len(left):
            break
    kept[tied[0], tied[1], tied[2]] = below


def _coin_bytes(keys: tuple[Tensor, Tensor], episode: int, counters: Tensor, stream: int) -> Tensor:
    """One byte of 16 coins a counter: uint8, ``(…, 4, 4 * counters)``, a row for each of the generator's words."""
    one = torch.ones(1, dtype=torch.int64, device=counters.device)
    shape = torch.broadcast_shapes(keys[0].shape, counters.shape)
    words = philox(keys, (counters & 0xFFFFFFFF).expand(shape), counters >> 32, one * episode, one * stream)
    packed = torch.empty(*shape[:-1], 4, shape[-1], dtype=torch.int32, device=counters.device)
    for row, word in enumerate(words):
        packed[..., row, :].copy_(word)
    planes = packed.view(torch.uint8)
    return planes if sys.byteorder == "little" else planes.view(*packed.shape, 4).flip(-1).reshape(planes.shape)
