"""One operator to measure: its call, the least traffic or work that it needs, and how it is checked.

Traffic of single entries is counted in whole pieces of memory (32 bytes on a GPU, 64 on a CPU), as the hardware moves
them: at 10 % a fetched piece of 8 float32 weights holds one kept entry or more with probability 1 - 0.9⁸. A piece that
is written in part counts twice, since it is read before.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.rivals import settings_of
from gmixout.masks import MaskPlan
from gmixout.sampling import tensor_key
from gmixout.settings import Settings
from gmixout.supports import Support, support_of

PIECE_BYTES = {"cpu": 64, "cuda": 32}
SUPPORTS: dict[str, Settings] = {
    "element 10 %": settings_of(0.1),
    "element 2 %": settings_of(0.02),
    "row 10 %": settings_of(0.1, "row"),
    "column 10 %": settings_of(0.1, "column"),
    "16 columns 10 %": settings_of(0.1, "column", group_size=16),
    "block 64 10 %": settings_of(0.1, "block", block_size=64),
}
SPARSITY, SCALE, EPISODE = 0.9, 10.0, 3
LEARNING_RATE, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8


@dataclasses.dataclass(frozen=True)
class Case:
    """One operator on given tensors.

    Attributes:
        kernel: Its name.
        implementation: ``triton``, or ``torch`` for whatever torch calls.
        work: What it works on.
        call: Does the work.
        bytes: Least traffic to and from memory.
        flops: Products and sums of matrix products.
        error: Runs it once, before any other call, and returns its `deviation` from plain torch; None where there is
            nothing to compare with.
    """

    kernel: str
    implementation: str
    work: str
    call: Callable[[], object]
    bytes: float
    flops: float = 0.0
    error: Callable[[], float] | None = None


def touched_bytes(entries: int, itemsize: int, density: float, run: int, piece: int) -> float:
    """Expected bytes of the memory pieces that hold a kept entry.

    Args:
        entries: Entries of the dense tensor.
        itemsize: Bytes of an entry.
        density: Fraction that is kept.
        run: Kept entries that lie side by side.
        piece: Bytes that memory moves at once.

    Example:
        >>> round(touched_bytes(1000, 4, 0.1, run=1, piece=32) / 4000, 4)
        0.5695
        >>> touched_bytes(1000, 4, 0.1, run=64, piece=32) / 4000
        0.1
    """
    runs = max(1.0, piece / (run * itemsize))
    return entries * itemsize * (1.0 - (1.0 - density) ** runs) if runs > 1.0 else entries * itemsize * density


class Weights:
    """Random weights with a support each.

    Args:
        work: A key of `SUPPORTS`.
        shapes: Shapes of the weights.
        device: Where they lie.
    """

    def __init__(self, work: str, shapes: Sequence[tuple[int, int]], device: torch.device) -> None:
        self.work, self.device = work, device
        self.keys = [tensor_key(0, f"weight {number}") for number in range(len(shapes))]
        plans = [MaskPlan(key, shape, SUPPORTS[work]) for key, shape in zip(self.keys, shapes, strict=True)]
        self.supports: list[Support] = [support_of(plan) for plan in plans]
        self.weights = [torch.randn(shape, device=device) for shape in shapes]
        self.indices = [support.draw(EPISODE, device) for support in self.supports]
        gathered = zip(self.supports, self.weights, self.indices, strict=True)
        self.anchors = [support.gather(weight, index) for support, weight, index in gathered]
        self.values = [anchor + 0.01 * torch.randn_like(anchor) for anchor in self.anchors]
        self.slots = sum(value.numel() for value in self.values)
        self.index_bytes = sum(index.nbytes for index in self.indices)

    def triples(self) -> Iterator[tuple[Support, Tensor, Tensor]]:
        """Support, weight and index of each."""
        return zip(self.supports, self.weights, self.indices, strict=True)

    def touched(self, itemsize: int, is_written: bool = False) -> float:
        """Bytes that visiting the support moves in dense tensors of this size of entry."""
        piece, total = PIECE_BYTES[self.device.type], 0.0
        settings = SUPPORTS[self.work]
        for weight, values in zip(self.weights, self.values, strict=True):
            run = {"element": 1, "column": settings.group_size, "row": weight.shape[1], "block": settings.block_size}
            side_by_side = run[settings.granularity]
            fraction = values.numel() / weight.numel()
            once = touched_bytes(weight.numel(), itemsize, fraction, side_by_side, piece)
            total += once * (2 if is_written and side_by_side * itemsize < piece else 1)
        return total


def deviation(got: Tensor, expected: Tensor) -> float:
    """The largest difference in units of the type's resolution at the largest expected value; or how many bits differ.

    Example:
        >>> deviation(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]))
        0.0
        >>> deviation(torch.tensor([1, 2]), torch.tensor([2, 1]))
        2.0
    """
    if not got.is_floating_point():
        return float((got != expected).sum())
    if not got.isfinite().all():
        return float("inf")
    difference = (got.double() - expected.double()).abs().max().item()
    return difference and difference / (torch.finfo(got.dtype).eps * expected.abs().max().item() or 1e-45)
