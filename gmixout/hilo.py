"""A float32 weight as bfloat16 and the 16 bits that it lacks: products read half the bytes, nothing is lost.

Floats are seen as integers: ``bits(w) = (bits(hi) << 16) + lo``. The low part is signed, so ``hi`` is the nearest
bfloat16. A tie goes away from zero, not to the even neighbour: that one would be the nearest of 65 537 values, and 16
bits tell only 65 536 apart.
"""

import torch
from torch import Tensor

_ROUND = 0x8000


def split(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest bfloat16 and the rest, from which `join` restores every value but NaN bit for bit.

    Finite values beyond the largest bfloat16 (3.39e38) have an infinite ``hi`` and are still restored. A NaN stays one
    in ``hi`` and in the restored value, but loses its payload.

    Args:
        weight: float32, any shape.

    Returns:
        ``hi``, bfloat16, and ``lo``, int16, of the same shape.

    Raises:
        TypeError: If ``weight`` is not float32.

    Example:
        >>> hi, lo = split(torch.tensor([1.0, 1.001, -0.0]))
        >>> hi, lo
        (tensor([1., 1., -0.], dtype=torch.bfloat16), tensor([   0, 8389,    0], dtype=torch.int16))
        >>> join(hi, lo)
        tensor([1.0000, 1.0010, -0.0000])
    """
    if weight.dtype != torch.float32:
        raise TypeError(f"only float32 weights have 16 bits beyond bfloat16, got {weight.dtype}")
    # Carrying into a NaN's sign bit would turn it into a zero.
    bits = torch.where(weight.isnan(), torch.nan, weight).view(torch.int32)
    hi = (bits + _ROUND) >> 16
    return hi.to(torch.int16).view(torch.bfloat16), (bits - (hi << 16)).to(torch.int16)


def join(hi: Tensor, lo: Tensor) -> Tensor:
    """The float32 that `split` took apart.

    Args:
        hi: bfloat16, any shape.
        lo: int16, same shape.

    Example:
        >>> weight = torch.tensor([3.14159, 1e-40, 3.4e38])
        >>> bool((join(*split(weight)) == weight).all())
        True
    """
    return ((hi.view(torch.int16).to(torch.int32) << 16) + lo).view(torch.float32)
