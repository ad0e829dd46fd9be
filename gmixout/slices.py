"""The backward pass of a masked linear layer in slices of tokens that stay in a CPU's cache.

Three results need the outputs' gradient: that of the inputs, that of the bias and that of the support. On a CPU each
would fetch it from memory anew; a slice that is still in the cache serves all three.
"""

import torch
from torch import Tensor
from torch.compiler import is_compiling

_SLICE_BYTES = 3 * 2**19
"""Of the outputs' gradient, which three products share; what meets it is read once (best of 1 to 16 MiB)."""

_ROWS_AT_ONCE = 4
"""Matrix products on a CPU take rows in fours: 20 rows cost less than 19 (AVX2 and AVX-512, 2026-11-26)."""

_EXACT = (torch.float32, torch.float64)
"""Sums over slices are kept in the dtype of the products, which costs half precision too much."""


def can_slice(gradient: Tensor) -> bool:
    """Whether `linear_backward` serves a gradient: on a CPU, in single or double precision, not empty, run eagerly.

    Example:
        >>> can_slice(torch.ones(3, 4)), can_slice(torch.ones(3, 4, dtype=torch.bfloat16))
        (True, False)
    """
    # A compiler fuses better by itself, and would fix the number of tokens.
    return gradient.is_cpu and gradient.dtype in _EXACT and gradient.numel() > 0 and not is_compiling()


def linear_backward(
    gradient: Tensor, saved: Tensor, weight: Tensor, index: Tensor, by_rows: bool, needs: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor]:
    """Gradients of the inputs, the bias and the kept rows or columns of a linear layer's weight.

    Args:
        gradient: Of the outputs, ``(tokens, outputs)``.
        saved: The inputs, ``(tokens, inputs)``; of them only the kept ones, ``(tokens, kept)``, with columns.
        weight: ``(outputs, inputs)``.
        index: The kept rows or columns, ``(kept,)``.
        by_rows: Whether rows are kept; else columns.
        needs: Whether the inputs, and the bias, need a gradient.

    Returns:
        ``(tokens, inputs)`` or None, ``(outputs,)`` or None, and ``(kept, inputs)`` or ``(outputs, kept)``.

    Example:
        >>> g, x, w = torch.ones(2, 3), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.zeros(3, 2)
        >>> linear_backward(g, x, w, torch.tensor([1]), by_rows=True, needs=(False, True))
        (None, tensor([2., 2., 2.]), tensor([[4., 6.]]))
    """
    tokens, outputs = gradient.shape
    for_inputs = gradient.new_empty(tokens, weight.shape[1]) if needs[0] else None
    for_bias = gradient.new_zeros(outputs) if needs[1] else None
    kept = len(index)
    if by_rows:
        # Some row again; what it adds is cut off at the end.
        index = torch.cat([index, index[:1].expand(-kept % _ROWS_AT_ONCE)])
    for_values = gradient.new_zeros((len(index), saved.shape[1]) if by_rows else (saved.shape[1], outputs))
    at_once = max(1, _SLICE_BYTES // (gradient.element_size() * outputs))
    for start in range(0, tokens, at_once):
        piece, known = gradient[start : start + at_once], saved[start : start + at_once]
        if for_bias is not None:
            # As a product with ones it costs a percent less, and one running sum of a thousand numbers loses a digit.
            for_bias += piece.sum(0)
        if by_rows:
            for_values.addmm_(piece.index_select(1, index).t(), known)
        else:
            # The few inputs first: twice as fast as the other order (4160 tokens, 19 of 192 inputs, 2026-11-24).
            for_values.addmm_(known.t(), piece)
        if for_inputs is not None:
            torch.mm(piece, weight, out=for_inputs[start : start + at_once])
    for_values = for_values[:kept].clone() if by_rows and len(index) != kept else for_values
    return (
        for_inputs,
        for_bias,
        for_values if by_rows else for_values.t().contiguous(),
    )
