"""The weight gradient of chosen square tiles only: a grouped product that never forms the dense gradient.

Twin: ``dy.T @ x``, of which the tiles are cut out. Tokens are split over programs where few tiles would leave the
device idle; the parts are summed in a fixed order, so the result does not depend on scheduling.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gmixout.kernels.columns import entries
from gmixout.kernels.launch import INTERPRETED, on_device
from gmixout.kernels.storage import store_real

SIZES = (64, 128)
# Without tensor cores the products of a step are unrolled, so float32 takes smaller steps.
TOKENS_A_STEP = {torch.bfloat16: 64, torch.float16: 64, torch.float32: 16}
# Triton warns where fusing of products and sums is left to its default, which is about to change.
OPTIONS = {size: {"num_warps": size // 16, "num_stages": 3, "enable_fp_fusion": True} for size in SIZES}
# About two programs a multiprocessor of the largest devices, each with enough tokens to pay for its partial result.
_PROGRAMS = 256
_MINIMUM_TOKENS = 512


@triton.jit(do_not_specialize=["tokens", "part"])
def _block_kernel(DY, X, TILES, PARTS, tokens, outputs, inputs, part, scale, SIZE: tl.constexpr, TOKENS: tl.constexpr):
    tile = tl.load(TILES + tl.program_id(0)).to(tl.int32)
    grid_width = inputs // SIZE
    output = (tile // grid_width) * SIZE + tl.arange(0, SIZE)
    input = (tile % grid_width) * SIZE + tl.arange(0, SIZE)
    start = tl.program_id(1) * part
    stop = tl.minimum(start + part, tokens)
    total = tl.zeros((SIZE, SIZE), dtype=tl.float32)
    for first in range(start, stop, TOKENS):
        token = first + tl.arange(0, TOKENS)
        exists = token < stop
        dy = tl.load(DY + entries(token[None, :], outputs, output[:, None]), mask=exists[None, :], other=0.0)
        x = tl.load(X + entries(token[:, None], inputs, input[None, :]), mask=exists[:, None], other=0.0)
        total = tl.dot(dy, x, total, input_precision="ieee")
    entry = tl.arange(0, SIZE)[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    written = entries(tl.program_id(1) * tl.num_programs(0) + tl.program_id(0), SIZE * SIZE, entry)
    store_real(PARTS, written, total * scale, None, PARTS.dtype.element_ty)


def block_gradient(dy: Tensor, x: Tensor, tiles: Tensor, size: int, scale: float, out_dtype: torch.dtype) -> Tensor:
    r"""The gradient of a linear layer's weight on some tiles: ``scale * dy[:, rows].T @ x[:, columns]`` of each.

    Sums are float32, whatever the dtype; float32 inputs are multiplied without TF32.

    Args:
        dy: Gradient of the outputs, shape ``(..., outputs)``; bfloat16, float16 or float32.
        x: Inputs, shape ``(..., inputs)``, same leading shape and dtype.
        tiles: Numbers of the chosen tiles, int16, int32 or int64, shape ``(count,)``: row by row in a grid of
            ``(outputs / size, inputs / size)`` tiles. Not checked.
        size: Rows and columns of a tile, 64 or 128; divides both outputs and inputs.
        scale: Factor of the gradient.
        out_dtype: Dtype of the result.

    Returns:
        Shape ``(count, size, size)``, contiguous.

    Raises:
        ValueError: If ``size`` is neither, or does not divide the layer; or if the leading shapes differ.
        TypeError: If the dtypes differ or are none of the three.
        RuntimeError: For bfloat16 when kernels are interpreted: Triton's interpreter multiplies its bits.

    Example:
        >>> dy, x = torch.ones(3, 64), torch.ones(3, 128)
        >>> gradient = block_gradient(dy, x, torch.tensor([1]), size=64, scale=2.0, out_dtype=torch.float32)
        >>> gradient.shape, gradient.unique()
        (torch.Size([1, 64, 64]), tensor([6.]))
    """
    dy, x = dy.reshape(-1, dy.shape[-1]).contiguous(), x.reshape(-1, x.shape[-1]).contiguous()
    (tokens, outputs), inputs, count = dy.shape, x.shape[1], len(tiles)
    if len(x) != tokens:
        raise ValueError(f"dy and x must have as many tokens, got {tokens} tokens and {len(x)}")
    if size not in SIZES or outputs % size or inputs % size:
        raise ValueError(f"size must be one of {SIZES} and divide {outputs} and {inputs}, got {size}")
    if dy.dtype != x.dtype or x.dtype not in TOKENS_A_STEP:
        raise TypeError(f"dy and x must both be bfloat16, float16 or float32, got {dy.dtype} and {x.dtype}")
    if INTERPRETED and x.dtype == torch.bfloat16:
        raise RuntimeError("Triton's interpreter multiplies bfloat16 wrongly; use float16 or float32")
    if not tokens or not count:
        return torch.zeros(count, size, size, dtype=out_dtype, device=x.device)
    step = TOKENS_A_STEP[x.dtype]
    splits = max(1, min(_PROGRAMS // count, tokens // _MINIMUM_TOKENS))
    part = triton.cdiv(triton.cdiv(tokens, splits), step) * step
    splits = triton.cdiv(tokens, part)
    parts_dtype = out_dtype if splits == 1 else torch.float32
    parts = torch.empty(splits, count, size, size, dtype=parts_dtype, device=x.device)
    with on_device(x):
        _block_kernel[(count, splits)](
            dy, x, tiles.contiguous(), parts, tokens, outputs, inputs, part, float(scale),
            SIZE=size, TOKENS=step, **OPTIONS[size],
        )  # fmt: skip
    return parts[0] if splits == 1 else parts.sum(0).to(out_dtype)
