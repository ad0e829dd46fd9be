"""Counter-based random bits: Philox4x32-10 in plain torch, bit-equal to Triton's generator.

A mask is a function of (seed, tensor, episode, position), so nothing random is ever stored: any process, device or
kernel that knows these numbers computes the same bits. The generator is that of Salmon et al., "Parallel Random
Numbers: As Easy as 1, 2, 3" (SC 2011); ``triton.language.philox`` implements the same function.
"""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

_LOW_32 = 0xFFFFFFFF
_ROUND_A, _ROUND_B = 0xD2511F53, 0xCD9E8D57
_KEY_A, _KEY_B = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10


def philox(
    seed: int | tuple[Tensor, Tensor], c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Encrypts 128-bit counters under a 64-bit key: four independent 32-bit words a counter.

    Args:
        seed: The key, in ``[0, 2**64)``; or the lower and upper halves of many, int64, which broadcast with counters.
        c0: First counter word, int64 in ``[0, 2**32)``, any shape; ``c1``, ``c2``, ``c3`` broadcast against it.
        c1: Second counter word.
        c2: Third counter word.
        c3: Fourth counter word.

    Returns:
        Four int64 tensors of the broadcast shape, values in ``[0, 2**32)``.

    Raises:
        ValueError: If ``seed`` is out of range.

    Example:
        >>> zero = torch.zeros(1, dtype=torch.int64)
        >>> [f"{int(word):08x}" for word in philox(0, zero, zero, zero, zero)]
        ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    if isinstance(seed, tuple):
        k0, k1 = seed
    elif 0 <= seed < 2**64:
        k0, k1 = (torch.tensor(half, dtype=torch.int64, device=c0.device) for half in (seed & _LOW_32, seed >> 32))
    else:
        raise ValueError(f"seed must lie in [0, 2**64), got {seed}")
    words: list[Any] = [*torch.broadcast_tensors(c0, c1, c2, c3), k0, k1]
    if c0.is_cpu and words[0].ndim and not is_compiling():
        # NumPy's loops over whole numbers are a quarter faster than torch's (one core, AVX-512, 2026-11-25).
        a0, a1, a2, a3 = (torch.from_numpy(array) for array in _rounds(*[word.numpy() for word in words]))
        return a0, a1, a2, a3
    return _rounds(*words)


def _rounds(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> tuple[Any, Any, Any, Any]:
    """The ten rounds, of tensors or of arrays, which are left as they are."""
    for _ in range(_ROUNDS):
        # int64 products wrap modulo 2**64, which leaves both 32-bit halves right.
        a, b = c0 * _ROUND_A, c2 * _ROUND_B
        # Words that enter no product keep their upper halves until the mask removes them.
        c0, c2 = b >> 32, a >> 32
        c0 ^= c1
        c0 ^= k0
        c0 &= _LOW_32
        c2 ^= c3
        c2 ^= k1
        c2 &= _LOW_32
        c1, c3 = b, a
        k0, k1 = k0 + _KEY_A, k1 + _KEY_B
    c1 &= _LOW_32
    c3 &= _LOW_32
    return c0, c1, c2, c3


def philox_words(seed: int, counter: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """`philox` of one counter in plain integers.

    Example:
        >>> [f"{word:08x}" for word in philox_words(0, (0, 0, 0, 0))]
        ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    k0, k1 = seed & _LOW_32, seed >> 32
    c0, c1, c2, c3 = (word & _LOW_32 for word in counter)
    for _ in range(_ROUNDS):
        a, b = c0 * _ROUND_A, c2 * _ROUND_B
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & _LOW_32, (a >> 32) ^ c3 ^ k1, a & _LOW_32
        k0, k1 = (k0 + _KEY_A) & _LOW_32, (k1 + _KEY_B) & _LOW_32
    return c0, c1, c2, c3


def randint4x(seed: int, offset: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four words for every 64-bit offset: the twin of ``triton.language.randint4x``.

    Args:
        seed: The key, in ``[0, 2**64)``.
        offset: int64 offsets, not negative, any shape.

    Returns:
        Four int64 tensors like ``offset``, values in ``[0, 2**32)``; Triton returns the same bits as int32.

    Example:
        >>> [int(word) for word in randint4x(42, torch.tensor(7))]
        [1539146673, 1752714373, 387999658, 778794423]
    """
    zero = torch.zeros_like(offset)
    return philox(seed, offset & _LOW_32, (offset >> 32) & _LOW_32, zero, zero)


def rand(seed: int, offset: Tensor) -> Tensor:
    """One float32 in [0, 1) for every offset: the twin of ``triton.language.rand``.

    Masks never use it: they compare integers, because the map to float drops bits.

    Args:
        seed: The key, in ``[0, 2**64)``.
        offset: int64 offsets, not negative, any shape.

    Returns:
        float32, shape of ``offset``.

    Example:
        >>> rand(42, torch.tensor([0, 1])).tolist()
        [0.7740801572799683, 0.024562695994973183]
    """
    word = randint4x(seed, offset)[0]
    signed = torch.where(word >= 2**31, word - 2**32, word)
    folded = torch.where(signed < 0, -signed - 1, signed)
    return folded.to(torch.float32) * torch.tensor(4.6566127342e-10, dtype=torch.float32)
