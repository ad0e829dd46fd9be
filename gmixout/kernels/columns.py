"""The input of a column-masked layer in one pass: its cast for the product, and the chosen columns for the gradient.

Twin: ``x.to(dtype)`` and ``x.index_select(-1, columns).to(dtype)``. Only the chosen columns are saved for the backward
pass, so they are written compactly; their reading comes just after the cast's and hits the cache.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gmixout.kernels.launch import INTERPRETED, on_device
from gmixout.kernels.storage import load_real, store_real

# An interpreted program costs milliseconds however few rows it has.
ROWS_A_PROGRAM, COLUMNS_A_STEP = (64, 512) if INTERPRETED else (4, 256)
# Triton warns where fusing of products and sums is left to its default, which is about to change.
OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}


@triton.jit
def entries(row, width, column):
    """Flat int64 positions of columns in rows of ``width`` entries."""
    return row.to(tl.int64) * width + column


@triton.jit
def _copy(X, source, OUT, target, exists):
    # Numbers that need no cast keep every bit, those of a NaN as well.
    if X.dtype.element_ty == OUT.dtype.element_ty:
        tl.store(OUT + target, tl.load(X + source, mask=exists), mask=exists)
    else:
        value = load_real(X, source, exists, X.dtype.element_ty)
        # Like torch, from float64 to half precision by way of float32.
        value = value.to(tl.float64 if OUT.dtype.element_ty == tl.float64 else tl.float32)
        store_real(OUT, target, value, exists, OUT.dtype.element_ty)


@triton.jit(do_not_specialize=["rows"])
def _columns_kernel(
    X, CHOSEN, CAST, COMPACT, rows, inputs, count, CASTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    if CASTS:
        for start in range(0, inputs, COLUMNS):
            column = start + tl.arange(0, COLUMNS)[None, :]
            whole = entries(row, inputs, column)
            _copy(X, whole, CAST, whole, (row < rows) & (column < inputs))
    for start in range(0, count, COLUMNS):
        slot = start + tl.arange(0, COLUMNS)[None, :]
        column = tl.load(CHOSEN + slot, mask=slot < count, other=0)
        _copy(X, entries(row, inputs, column), COMPACT, entries(row, count, slot), (row < rows) & (slot < count))


def cast_and_gather(x: Tensor, columns: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Casts an input and copies some of its columns, reading it once.

    Args:
        x: Input, shape ``(..., inputs)``, floating.
        columns: Numbers of the chosen columns, int16, int32 or int64, shape ``(count,)``, in any order. Not checked.
        dtype: Dtype of both results.

    Returns:
        The input, shape ``(..., inputs)``, and its columns, shape ``(..., count)``, contiguous.

    Example:
        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> cast_and_gather(x, torch.tensor([2, 0]), torch.float16)
        (tensor([[1., 2., 3.]], dtype=torch.float16), tensor([[3., 1.]], dtype=torch.float16))
    """
    cast = torch.empty(x.shape, dtype=dtype, device=x.device)
    compact = torch.empty(*x.shape[:-1], len(columns), dtype=dtype, device=x.device)
    _launch(x, columns, cast, compact)
    return cast, compact


def gather_columns(x: Tensor, columns: Tensor) -> Tensor:
    """Copies some columns of an input that needs no cast.

    Args:
        x: Input, shape ``(..., inputs)``, floating.
        columns: As in `cast_and_gather`.

    Returns:
        The columns, shape ``(..., count)``, contiguous, dtype of ``x``.

    Example:
        >>> gather_columns(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([2, 0]))
        tensor([[3., 1.]])
    """
    compact = torch.empty(*x.shape[:-1], len(columns), dtype=x.dtype, device=x.device)
    _launch(x, columns, None, compact)
    return compact


def _launch(x: Tensor, columns: Tensor, cast: Tensor | None, compact: Tensor) -> None:
    if not x.numel():
        return
    inputs = x.shape[-1]
    rows = x.numel() // inputs
    with on_device(x):
        _columns_kernel[(triton.cdiv(rows, ROWS_A_PROGRAM),)](
            x.contiguous(), columns.contiguous(), cast, compact, rows, inputs, len(columns),
            CASTS=cast is not None, ROWS=ROWS_A_PROGRAM, COLUMNS=COLUMNS_A_STEP, **OPTIONS,
        )  # fmt: skip
