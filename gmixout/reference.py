"""The equations of the method in plain torch: slow and obvious, any dtype, any device. The law for every kernel."""

import torch
from torch import Tensor


def mix(weight: Tensor, anchor: Tensor, keep: Tensor, scale: float) -> Tensor:
    r"""The effective weight: the anchor plus the masked residual.

    .. math:: W = \Phi + c\, M \odot (w - \Phi)

    Held entries equal the anchor bit for bit, and with ``scale=1`` kept entries equal the weight bit for bit. With
    ``scale = 1 / (1 - p)`` this is Mixout's :math:`(m \odot w + (1 - m) \odot u - p\,u) / (1 - p)` and its mean over
    masks is the weight.

    Args:
        weight: The student's weights :math:`w = \Phi + \Delta`, any shape.
        anchor: The anchor :math:`\Phi`, same shape.
        keep: The mask :math:`M`, bool, same shape; true keeps the student's value.
        scale: The factor :math:`c`, positive.

    Returns:
        The effective weight, same shape and dtype.

    Example:
        >>> w, a = torch.tensor([2.0, 4.0]), torch.tensor([1.0, 1.0])
        >>> mix(w, a, keep=torch.tensor([True, False]), scale=2.0)
        tensor([3., 1.])
    """
    # Both forms are exact where held, and about ten times faster than a selection on a CPU. Only a student that is not
    # finite could leak through the mask, and such a run has diverged.
    mask = _as_numbers(keep, weight.dtype)
    if scale == 1.0:
        return torch.lerp(anchor, weight, mask)
    return torch.addcmul(anchor, weight - anchor, mask, value=scale)


def mix_gradient(gradient: Tensor, keep: Tensor, scale: float) -> Tensor:
    r"""The gradient of `mix` for the weight: :math:`c\, M \odot g`. The anchor is a constant and gets none.

    Args:
        gradient: :math:`g`, gradient of the loss for the effective weight, any shape.
        keep: The mask, bool, same shape.
        scale: :math:`c`; the public Mixout code leaves it out (1).

    Returns:
        Same shape and dtype as ``gradient``.
    """
    mask = _as_numbers(keep, gradient.dtype)
    return (mask if scale == 1.0 else mask.mul_(scale)).mul_(gradient)


def _as_numbers(keep: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as zeros and ones, by way of bytes: six times as fast as from bool (float32, one core, 2026-11-26)."""
    return keep.view(torch.uint8).to(dtype)


def stretch(weight: Tensor, anchor: Tensor, scale: float) -> Tensor:
    r"""Moves a weight away from its anchor: :math:`a + c\,(w - a)`; with ``scale=1`` the weight itself.

    Example:
        >>> stretch(torch.tensor(2.0), torch.tensor(1.0), scale=10.0)
        tensor(11.)
    """
    return weight if scale == 1.0 else anchor + scale * (weight - anchor)


def absorb(anchor: Tensor, weight: Tensor, old_weight: float) -> Tensor:
    r"""The new anchor: :math:`\lambda\Phi + (1 - \lambda) W`, exact at λ = 0, at λ = 1 and where both agree.

    Args:
        anchor: :math:`\Phi`, any shape.
        weight: :math:`W`, same shape.
        old_weight: λ in ``[0, 1]``, the weight of the OLD anchor.

    Example:
        >>> absorb(torch.tensor(1.0), torch.tensor(2.0), old_weight=0.75)
        tensor(1.2500)
    """
    return torch.lerp(weight, anchor, old_weight)


def block_gradient(gradient: Tensor, inputs: Tensor, tiles: Tensor, size: int) -> Tensor:
    r"""Some square tiles of the weight gradient :math:`g^\top x` of a linear layer, each a product of its own.

    Args:
        gradient: :math:`g`, gradient of the outputs, ``(tokens, outputs)``.
        inputs: :math:`x`, ``(tokens, inputs)``, same dtype.
        tiles: Numbers of the tiles, counted row by row.
        size: Rows and columns of a tile; divides outputs and inputs.

    Returns:
        ``(tiles, size, size)``.

    Example:
        >>> g, x = torch.ones(3, 4), torch.arange(12.0).view(3, 4)
        >>> block_gradient(g, x, torch.tensor([1]), size=2)
        tensor([[[18., 21.],
                 [18., 21.]]])
    """
    across = inputs.shape[1] // size
    found = gradient.new_empty(len(tiles), size, size)
    for tile, number in zip(found, tiles.tolist(), strict=True):
        row, column = number // across * size, number % across * size
        torch.mm(gradient[:, row : row + size].t(), inputs[:, column : column + size], out=tile)
    return found
