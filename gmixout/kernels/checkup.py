"""Runs every kernel against plain torch on one device: is each right there, and how fast?

``python -m gmixout.kernels.checkup [DEVICE]`` prints a JSON object a kernel; without a GPU set ``TRITON_INTERPRET=1``.
Masks must agree bit for bit. Numbers may be at most twice as far from float64 as plain torch's are.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gmixout import reference
from gmixout.kernels import adamw, blocks, columns, mixing, support
from gmixout.kernels.launch import INTERPRETED
from gmixout.kernels.tables import Entry, Table
from gmixout.masks import MaskPlan
from gmixout.sampling import coin_threshold, draw_bernoulli
from gmixout.settings import Settings
from gmixout.supports import Support, support_of

KEY, EPISODE, SPARSITY, SCALE, RATE = 0x9ABCDEF012345678, 5, 0.9, 10.0, 1e-3
# The linear layer of a ViT-B's block, and one that an interpreter gets through.
SHAPES = {False: (3072, 768), True: (128, 192)}
_ROUNDING = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-8}


@dataclasses.dataclass(frozen=True)
class Finding:
    """What became of one kernel.

    Attributes:
        kernel: Its name.
        is_right: Whether it agrees with plain torch.
        error: Largest distance from float64, relative to the largest number; 0 where bits must agree and do.
        allowed: Largest error that counts as right.
        kernel_ms: Milliseconds of a call; None when interpreted, which says nothing about a device.
        torch_ms: The same of plain torch.
    """

    kernel: str
    is_right: bool
    error: float
    allowed: float
    kernel_ms: float | None
    torch_ms: float


@dataclasses.dataclass(frozen=True)
class Case:
    """A kernel and its law: each call returns what is compared.

    Attributes:
        kernel: Runs the kernel.
        plain: Plain torch in the same dtype.
        exact: Plain torch in float64, or None where bits must agree.
    """

    kernel: Callable[[], Tensor]
    plain: Callable[[], Tensor]
    exact: Callable[[], Tensor] | None = None


def examine(device: torch.device | str) -> list[Finding]:
    """Runs every kernel on a device.

    Example:
        >>> all(finding.is_right for finding in examine("cpu")) if INTERPRETED else True
        True
    """
    return [_judge(name, case, torch.device(device)) for name, case in cases(torch.device(device)).items()]


def cases(device: torch.device) -> dict[str, Case]:
    """Every kernel on tensors of a usual layer."""
    rows, inputs = SHAPES[INTERPRETED]
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random).to(device)

    weight, anchor, gradient, tokens = (
        normal(rows, inputs),
        normal(rows, inputs),
        normal(rows, inputs),
        normal(512, inputs),
    )
    outputs = normal(512, rows)
    plans = {kind: MaskPlan(KEY, (rows, inputs), Settings(granularity=kind)) for kind in ("element", "column", "block")}
    element, column, block = (support_of(plan) for plan in plans.values())
    places = {kind: one.draw(EPISODE, device) for kind, one in zip(plans, (element, column, block), strict=True)}
    coins: dict[str, Any] = {"key": KEY, "episode": EPISODE, "threshold": coin_threshold(SPARSITY)}
    keep = draw_bernoulli(KEY, EPISODE, weight.numel(), SPARSITY, device).view_as(weight)
    w64, a64, g64 = weight.double(), anchor.double(), gradient.double()
    low, chosen = torch.bfloat16, places["column"]
    found = {
        "draw": Case(lambda: _drawn(element, device), lambda: element.draw(EPISODE, device)),
        "coins": Case(
            lambda: mixing.coins(weight.numel(), **coins, device=device),
            lambda: draw_bernoulli(KEY, EPISODE, weight.numel(), SPARSITY, device),
        ),
        "mix": Case(
            lambda: mixing.mix(weight, anchor, SCALE, **coins, out_dtype=low),
            lambda: reference.mix(weight, anchor, keep, SCALE).to(low),
            lambda: reference.mix(w64, a64, keep, SCALE),
        ),
        "mix_gradient": Case(
            lambda: mixing.mix_gradient(gradient.to(low), SCALE, **coins, out_dtype=torch.float32),
            lambda: reference.mix_gradient(gradient.to(low).float(), keep, SCALE),
            lambda: reference.mix_gradient(gradient.to(low).double(), keep, SCALE),
        ),
        "gather": Case(
            lambda: support.gather(gradient, places["element"], element.geometry, SCALE),
            lambda: element.gather(gradient, places["element"]) * SCALE,
            lambda: element.gather(g64, places["element"]) * SCALE,
        ),
        "cast_and_gather": Case(
            lambda: columns.cast_and_gather(tokens, chosen, low)[1], lambda: tokens.to(low).index_select(1, chosen)
        ),
        "block_gradient": Case(
            lambda: blocks.block_gradient(outputs, tokens, places["block"], 64, 1.0, torch.float32),
            lambda: block.gather(outputs.t() @ tokens, places["block"]),
            lambda: block.gather(outputs.t().double() @ tokens.double(), places["block"]),
        ),
    }
    return found | _steps("element", element, weight, places["element"]) | _steps("column", column, weight, chosen)


def _drawn(of: Support, device: torch.device) -> Tensor:
    index = torch.empty(of.shape, dtype=of.index_dtype, device=device)
    anchor = torch.zeros(of.shape, device=device)
    dense = torch.zeros(of.plan.shape, device=device)
    support.draw(Table([Entry(of.geometry, of.plan.key, dense, index, anchor)], device), EPISODE)
    return index


def _steps(kind: str, of: Support, weight: Tensor, index: Tensor) -> dict[str, Case]:
    """AdamW with the write, and the end of an episode."""
    random = torch.Generator().manual_seed(1)
    start = of.gather(weight, index)
    gradient = torch.randn(of.shape, generator=random).to(weight.device)

    def entry() -> Entry:
        zero = {name: torch.zeros_like(start) for name in ("exp_avg", "exp_avg_sq")}
        step = torch.ones((), device=weight.device)
        return Entry(
            of.geometry, of.plan.key, weight.clone(), index.clone(), start.clone(), values=start.clone(), step=step,
            gradient=gradient, **zero,
        )  # fmt: skip

    ours = entry()
    table = Table([ours], weight.device)

    def kernel_step() -> Tensor:
        for name in ("weight", "values", "exp_avg", "exp_avg_sq"):
            getattr(ours, name).copy_(
                weight if name == "weight" else start if name == "values" else torch.zeros_like(start)
            )
        adamw.adamw(table, RATE, 0.9, 0.999, 1e-8, 0.01, SCALE, False, None)
        return ours.weight

    def law_step(dtype: torch.dtype) -> Tensor:
        values = torch.nn.Parameter(start.to(dtype))
        values.grad = gradient.to(dtype)
        torch.optim.AdamW([values], lr=RATE, weight_decay=0.01).step()
        written = weight.to(dtype)
        of.scatter(written, index, reference.stretch(values.detach(), start.to(dtype), SCALE))
        return written

    def kernel_end() -> Tensor:
        moved = entry()
        moved.weight.mul_(1.5)
        fresh = Table([moved], weight.device)
        support.absorb(fresh, 0.9)
        support.redraw(fresh, EPISODE + 1, False, True)
        return torch.cat([moved.weight.view(-1), moved.anchor.view(-1)])

    def law_end(dtype: torch.dtype) -> Tensor:
        moved = weight.to(dtype) * 1.5
        of.scatter(moved, index, reference.absorb(start.to(dtype), of.gather(moved, index), 0.9))
        return torch.cat([moved.view(-1), of.gather(moved, of.draw(EPISODE + 1, weight.device)).view(-1)])

    f32, f64 = torch.float32, torch.float64
    return {
        f"adamw, {kind}": Case(kernel_step, lambda: law_step(f32), lambda: law_step(f64)),
        f"absorb and redraw, {kind}": Case(kernel_end, lambda: law_end(f32), lambda: law_end(f64)),
    }


def _judge(name: str, case: Case, device: torch.device) -> Finding:
    ours, plain = case.kernel(), case.plain()
    if case.exact is None:
        error, allowed = float(not torch.equal(ours, plain)), 0.0
    else:
        exact = case.exact()
        size = float(exact.abs().max())
        error = float((ours.double() - exact).abs().max()) / size
        # Where plain torch happens to be exact, one rounding is still right.
        allowed = max(2.0 * float((plain.double() - exact).abs().max()) / size, _ROUNDING[plain.dtype])
    kernel_ms = None if INTERPRETED else _milliseconds(case.kernel, device)
    return Finding(name, error <= allowed, error, allowed, kernel_ms, _milliseconds(case.plain, device))


def _milliseconds(call: Callable[[], object], device: torch.device, calls: int = 20) -> float:
    for _ in range(3):
        call()
    _wait(device)
    began = time.perf_counter()
    for _ in range(calls):
        call()
    _wait(device)
    return 1e3 * (time.perf_counter() - began) / calls


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(arguments: list[str]) -> None:
    """Prints what became of every kernel, as JSON."""
    for finding in examine(arguments[0] if arguments else "cpu"):
        sys.stdout.write(json.dumps(dataclasses.asdict(finding)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
