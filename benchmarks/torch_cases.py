"""The method's operators in plain torch, and torch's own beside them, for `kernels.py`."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.cases import EPISODE, LEARNING_RATE, SCALE, SPARSITY, Case, Weights
from benchmarks.rivals import settings_of
from gmixout import ops, reference
from gmixout.masks import MaskPlan
from gmixout.sampling import draw_bernoulli, tensor_key
from gmixout.supports import BlockSupport, support_of


def support_cases(work: str, shapes: Sequence[tuple[int, int]], device: torch.device) -> Iterator[Case]:
    """Plain torch: draw, gather, scatter and AdamW on supports, weight by weight."""
    given = Weights(work, shapes, device)

    def draw() -> None:
        for support in given.supports:
            support.draw(EPISODE, device)

    def gather() -> None:
        for support, weight, index in given.triples():
            support.gather(weight, index)

    def scatter() -> None:
        for (support, weight, index), values in zip(given.triples(), given.values, strict=True):
            support.scatter(weight, index, values)

    yield Case("draw", "torch", work, draw, given.index_bytes)
    yield Case("gather", "torch", work, gather, given.touched(4) + 4 * given.slots + given.index_bytes)
    yield Case("scatter", "torch", work, scatter, given.touched(4, True) + 4 * given.slots + given.index_bytes)
    if work.startswith("element"):
        yield _fused_adamw(work, given.values)


def dense_cases(shapes: Sequence[tuple[int, int]], device: torch.device) -> Iterator[Case]:
    """Plain torch: Mixout's coins, mixing and its gradient on all weights as one, and AdamW on all of them."""
    total = sum(rows * inputs for rows, inputs in shapes)
    weight, anchor = torch.randn(total, device=device), torch.randn(total, device=device)
    key = tensor_key(0, "all")
    keep = draw_bernoulli(key, EPISODE, total, SPARSITY, device)
    yield Case("coins", "torch", "all", lambda: draw_bernoulli(key, EPISODE, total, SPARSITY, device), total)
    yield Case("mix", "torch", "all", lambda: reference.mix(weight, anchor, keep, SCALE), 13 * total)
    yield Case("mix_gradient", "torch", "all", lambda: reference.mix_gradient(weight, keep, SCALE), 9 * total)
    yield _fused_adamw("all, dense", [torch.randn(shape, device=device) for shape in shapes])


def product_cases(
    tokens: int, shape: tuple[int, int], dtype: torch.dtype, device: torch.device, tile: int = 64
) -> Iterator[Case]:
    """Weight gradients of a linear layer: dense, and compact on rows, columns and, in plain torch on a CPU, tiles."""
    rows, inputs = shape
    gradient, x = (torch.randn(tokens, size, device=device).to(dtype) for size in (rows, inputs))
    items, size = gradient.numel() + x.numel(), x.element_size()
    dense_bytes, dense_flops = size * (items + rows * inputs), 2.0 * tokens * rows * inputs
    named = f"{tokens} tokens, {rows} × {inputs}"
    yield Case("product", "torch", f"dense, {named}", lambda: gradient.t() @ x, dense_bytes, dense_flops)
    for density in (0.1, 0.02):
        few = max(1, round(density * inputs)), max(1, round(density * rows))
        columns, chosen = x[:, : few[0]].contiguous(), gradient[:, : few[1]].contiguous()
        for kind, left, right in (("column", columns, gradient), ("row", chosen, x)):
            flops = 2.0 * tokens * left.shape[1] * right.shape[1]
            traffic = size * (left.numel() + right.numel() + left.shape[1] * right.shape[1])
            work = f"{kind} {100 * density:g} %, {named}"
            yield Case("product", "torch", work, lambda left=left, right=right: left.t() @ right, traffic, flops)
    if device.type == "cpu":
        support = support_of(MaskPlan(1, shape, settings_of(0.1, "block", block_size=tile)))
        assert isinstance(support, BlockSupport)
        index = support.draw(EPISODE, device)
        flops = 2.0 * tokens * support.count * tile**2
        traffic = size * (items + support.count * tile**2)
        work = f"block {tile} 10 %, {named}"
        yield Case("product", "torch", work, lambda: ops.block_gradient(gradient, x, index, support), traffic, flops)


def _fused_adamw(work: str, tensors: Sequence[Tensor]) -> Case:
    parameters = [torch.nn.Parameter(tensor.clone()) for tensor in tensors]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, fused=True)
    total = sum(parameter.numel() for parameter in parameters)
    return Case("adamw", "torch", work, optimizer.step, 28 * total)
