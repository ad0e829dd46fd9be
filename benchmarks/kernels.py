"""How close does each operator come to what the device can do: its traffic at the rate of a large copy, or its products
at that of a large matrix product?

The floor of an operator is the larger of both times, and its share of the peak is floor / time. On a GPU: the Triton
kernels with cold caches, each compared with plain torch first, and plain torch beside them. On a CPU: plain torch, one
thread, in CPU time. There shares may exceed 1: a copy makes the processor fetch its target, too, which work in place
does not, and small data come from the cache.

    python benchmarks/kernels.py [--device cpu|cuda] [--quick] [--rivals KERNEL …] [--rounds N] [--out DIR]
"""

import dataclasses
import pathlib
import sys
from collections.abc import Iterator, Sequence

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import pandas as pd
import torch

from benchmarks import models, record, timing, torch_cases
from benchmarks.cases import SUPPORTS, Case
from gmixout.kernels.launch import INTERPRETED

QUESTION = "kernels"
SECONDS = {"cpu": 60, "cuda": 45, "quick": 60}
# In units of the result's resolution at its largest value. A wrong mask or position is off by millions.
ALLOWED_ERROR = 16.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """How large everything is.

    Attributes:
        blocks: Blocks of a vision transformer whose weights are used.
        width: Its features.
        tokens: Tokens of a layer's input.
        copied_bytes: Size of the copy whose rate is the peak of memory.
        product_size: Side of the matrix product whose rate is the peak of arithmetic.
        times: Timed calls of each operator.
    """

    blocks: int
    width: int
    tokens: int
    copied_bytes: int
    product_size: int
    times: int

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Of the weights: qkv, proj, fc1, fc2 of every block."""
        w = self.width
        return [(3 * w, w), (w, w), (4 * w, w), (w, 4 * w)] * self.blocks

    @property
    def stacked(self) -> tuple[int, int]:
        """All weights that read the block's features, as one."""
        return 8 * self.width * self.blocks, self.width


PLANS = {
    "cpu": Plan(blocks=2, width=768, tokens=1024, copied_bytes=2**28, product_size=1024, times=5),
    # 25 216 tokens are 128 pictures.
    "cuda": Plan(blocks=12, width=768, tokens=25_216, copied_bytes=2**30, product_size=8192, times=20),
    "quick": Plan(blocks=1, width=64, tokens=32, copied_bytes=2**20, product_size=64, times=2),
}


def main(arguments: Sequence[str] | None = None) -> pathlib.Path:
    """Measures both peaks and every operator, and writes the table.

    Raises:
        RuntimeError: If a kernel deviates from plain torch; the table is written all the same.
    """
    options = record.options(__doc__ or "", arguments, SECONDS)
    record.announce(QUESTION, options)
    plan, device = PLANS[options.plan], options.device
    if options.rounds:
        plan = dataclasses.replace(plan, times=options.rounds)
    rows, rates = peaks(plan, device)
    for case in cases(plan, device):
        if options.rivals and case.kernel not in options.rivals:
            continue
        if options.budget.is_spent:
            record.say(QUESTION, f"the time is spent: {case.kernel}, {case.work} and what follows are left out")
            break
        record.progress(QUESTION, f"{case.kernel}, {case.implementation}: {case.work}")
        error = case.error() if case.error else float("nan")
        times = timing.cold_milliseconds(case.call, plan.times, device)
        rows.append(row_of(case, times, rates, error))
        del case
        models.release(device)
    table = pd.DataFrame(rows)
    shown = ["kernel", "implementation", "work", "time_ms", "floor_ms", "gb_per_s", "tflop_per_s", "peak_share"]
    print(table[shown].to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    path = record.write(QUESTION, rows, device, options.out)
    wrong = table[table["error"] > ALLOWED_ERROR]
    if len(wrong):
        named = "; ".join(f"{row.kernel} ({row.work}): {row.error:.3g}" for row in wrong.itertuples())
        raise RuntimeError(f"kernels deviate from plain torch by more than {ALLOWED_ERROR:g} units: {named}")
    return path


def peaks(plan: Plan, device: torch.device) -> tuple[list[dict[str, object]], tuple[float, float]]:
    """Rows of the large copy and of the large product, and their best rates: bytes and FLOP a ms."""
    measured = []
    for case in (_copy(plan, device), _product(plan, device)):
        times = timing.cold_milliseconds(case.call, max(plan.times, 5), device)
        measured.append((case, times))
    (copy, copy_times), (product, product_times) = measured
    rates = copy.bytes / min(copy_times), product.flops / min(product_times)
    return [row_of(case, times, rates, float("nan")) for case, times in measured], rates


def cases(plan: Plan, device: torch.device) -> Iterator[Case]:
    """Everything to measure, one after the other; what a case holds is made when it is asked for."""
    if device.type == "cuda" or (INTERPRETED and plan is PLANS["quick"]):
        yield from _kernels(plan, device)
    product_shape = 4 * plan.width, plan.width
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    yield from torch_cases.dense_cases(plan.shapes, device)
    yield from torch_cases.product_cases(plan.tokens, product_shape, dtype, device)
    for work in SUPPORTS:
        yield from torch_cases.support_cases(work, plan.shapes, device)


def _kernels(plan: Plan, device: torch.device) -> Iterator[Case]:
    from benchmarks import triton_cases

    shape = 4 * plan.width, plan.width
    yield from triton_cases.mixing_kernels(*plan.stacked, device)
    # Triton's interpreter multiplies bfloat16 wrongly.
    yield from triton_cases.layer_kernels(plan.tokens, shape, torch.float16 if INTERPRETED else torch.bfloat16, device)
    for work in SUPPORTS:
        yield from triton_cases.table_kernels(work, plan.shapes, device)
        yield triton_cases.gather_kernel(work, plan.stacked, device)


def row_of(case: Case, times: list[float], rates: tuple[float, float], error: float) -> dict[str, object]:
    """A case's row; ``rates`` are the peaks of memory and of arithmetic, a ms."""
    floors = {"memory": case.bytes / rates[0], "arithmetic": case.flops / rates[1]}
    bound = max(floors, key=lambda name: floors[name])
    median, fast, slow = pd.Series(times).quantile([0.5, 0.25, 0.75])
    return {
        "kernel": case.kernel,
        "implementation": case.implementation,
        "work": case.work,
        "bound": bound,
        "bytes": case.bytes,
        "flops": case.flops,
        "time_ms": median,
        "floor_ms": floors[bound],
        "gb_per_s": case.bytes / median / 1e6,
        "tflop_per_s": case.flops / median / 1e9,
        "peak_share": floors[bound] / median,
        "peak_share_q25": floors[bound] / slow,
        "peak_share_q75": floors[bound] / fast,
        "error": error,
    }


def _copy(plan: Plan, device: torch.device) -> Case:
    source = torch.zeros(plan.copied_bytes, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    return Case(
        "peak copy",
        "torch",
        f"{plan.copied_bytes / 2**20:.0f} MiB",
        lambda: target.copy_(source),
        2 * plan.copied_bytes,
    )


def _product(plan: Plan, device: torch.device) -> Case:
    size, dtype = plan.product_size, torch.bfloat16 if device.type == "cuda" else torch.float32
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)

    def call() -> object:
        return torch.mm(left, right, out=out)

    return Case(
        "peak product", "torch", f"{size}³, {str(dtype).removeprefix('torch.')}", call, 3 * left.nbytes, 2.0 * size**3
    )


if __name__ == "__main__":
    main()
