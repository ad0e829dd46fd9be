"""The method's Triton kernels, for `kernels.py`; each is checked against plain torch on the same device."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.cases import (
    BETAS,
    EPISODE,
    EPS,
    LEARNING_RATE,
    PIECE_BYTES,
    SCALE,
    SPARSITY,
    SUPPORTS,
    Case,
    Weights,
    deviation,
    touched_bytes,
)
from benchmarks.rivals import settings_of
from gmixout import hilo, reference
from gmixout.kernels import adamw, blocks, columns, mixing, support
from gmixout.kernels.geometry import Geometry
from gmixout.kernels.tables import Entry, Table
from gmixout.masks import MaskPlan
from gmixout.sampling import coin_threshold, draw_bernoulli, tensor_key
from gmixout.supports import Support, support_of


def mixing_kernels(rows: int, inputs: int, device: torch.device) -> Iterator[Case]:
    """Fused Mixout on one large weight, so that nothing but the kernel is timed."""
    total = rows * inputs
    weight, anchor = (torch.randn(rows, inputs, device=device) for _ in range(2))
    gradient = torch.randn(rows, inputs, device=device).bfloat16()
    key, threshold = tensor_key(0, "all"), coin_threshold(SPARSITY)
    drawn = {"key": key, "episode": EPISODE, "threshold": threshold}
    work = f"{rows} × {inputs}"

    def keep() -> Tensor:
        return draw_bernoulli(key, EPISODE, total, SPARSITY, device).view(rows, inputs)

    def mix() -> Tensor:
        return mixing.mix(weight, anchor, SCALE, **drawn, out_dtype=torch.bfloat16)

    def mix_gradient() -> Tensor:
        return mixing.mix_gradient(gradient, SCALE, **drawn, out_dtype=torch.float32)

    def coins() -> Tensor:
        return mixing.coins(total, key, EPISODE, threshold, device)

    def mix_error() -> float:
        return deviation(mix(), reference.mix(weight, anchor, keep(), SCALE).bfloat16())

    def gradient_error() -> float:
        return deviation(mix_gradient(), reference.mix_gradient(gradient.float(), keep(), SCALE))

    def coins_error() -> float:
        return deviation(coins(), keep().view(-1))

    yield Case("mix", "triton", work, mix, 10 * total, error=mix_error)
    yield Case("mix_gradient", "triton", work, mix_gradient, 6 * total, error=gradient_error)
    yield Case("coins", "triton", work, coins, total, error=coins_error)


def layer_kernels(
    tokens: int, shape: tuple[int, int], dtype: torch.dtype, device: torch.device, tile: int = 64
) -> Iterator[Case]:
    """The input of a column-masked layer, and the tiles of a weight gradient."""
    rows, inputs = shape
    x = torch.randn(tokens, inputs, device=device)
    cast, gradient = x.to(dtype), torch.randn(tokens, rows, device=device).to(dtype)
    support = support_of(MaskPlan(1, shape, SUPPORTS["column 10 %"]))
    index, named = support.draw(EPISODE, device), f"{tokens} tokens, {rows} × {inputs}"
    half, piece = cast.element_size(), PIECE_BYTES[device.type]
    picked = half * tokens * len(index)
    scattered = touched_bytes(cast.numel(), half, len(index) / inputs, 1, piece)

    def cast_error() -> float:
        got = columns.cast_and_gather(x, index, dtype)
        return max(deviation(a, b) for a, b in zip(got, (cast, cast.index_select(1, index)), strict=True))

    def gather_error() -> float:
        return deviation(columns.gather_columns(cast, index), cast.index_select(1, index))

    yield Case(
        "cast_and_gather", "triton", f"column 10 %, {named}", lambda: columns.cast_and_gather(x, index, dtype),
        (4 + half) * x.numel() + picked, error=cast_error,
    )  # fmt: skip
    yield Case(
        "gather_columns", "triton", f"column 10 %, {named}", lambda: columns.gather_columns(cast, index),
        scattered + picked, error=gather_error,
    )  # fmt: skip
    chosen = support_of(MaskPlan(1, shape, settings_of(0.1, "block", block_size=tile)))
    tiles = chosen.draw(EPISODE, device)

    def tile_gradient() -> Tensor:
        return blocks.block_gradient(gradient, cast, tiles, tile, 1.0, torch.float32)

    def tile_error() -> float:
        exact = chosen.gather(gradient.double().t() @ cast.double(), tiles)
        # Sums of so many products differ by their order.
        return deviation(tile_gradient(), exact.float()) / tokens**0.5

    flops = 2.0 * tokens * len(tiles) * tile**2
    traffic = half * (cast.numel() + gradient.numel()) + 4 * len(tiles) * tile**2
    yield Case("block_gradient", "triton", f"block {tile} 10 %, {named}", tile_gradient, traffic, flops, tile_error)


def geometry_of(place: Support) -> Geometry:
    """How kernels see a support of a matrix."""
    settings = place.plan.settings
    size = {"column": settings.group_size, "block": settings.block_size}.get(settings.granularity, 1)
    numbers = (place.segments, place.length, place.count, place.rows, place.inputs)
    return Geometry(settings.granularity, *numbers, size=size)


class Tabled:
    """Copies of weights in a table, with all that an optimiser step needs.

    Args:
        given: The weights.
        is_hilo: Whether they are kept in two halves.
    """

    def __init__(self, given: Weights, is_hilo: bool = False) -> None:
        self.given = given
        self.entries: list[Entry] = []
        for key, (place, weight, index), anchor, values in zip(
            given.keys, given.triples(), given.anchors, given.values, strict=True
        ):
            hi, lo = hilo.split(weight) if is_hilo else (weight.clone(), None)
            entry = Entry(
                geometry_of(place), key, hi, index.clone(), anchor.clone(),
                values=None if is_hilo else values.clone(), lo=lo,
                exp_avg=0.1 * torch.randn_like(anchor), exp_avg_sq=torch.rand_like(anchor),
                step=torch.ones((), device=weight.device), gradient=torch.randn_like(anchor),
            )  # fmt: skip
            self.entries.append(entry)
        self.table = Table(self.entries, given.device)

    def error(self, run: Callable[[], object], expected: Callable[[], dict[str, list[Tensor]]]) -> float:
        """The largest deviation after a run from what plain torch expects before it, over all weights."""
        by_name = expected()
        run()
        errors = [
            deviation(got, exact)
            for name, tensors in by_name.items()
            for got, exact in zip(self.found(name), tensors, strict=True)
        ]
        return max(errors)

    def found(self, name: str) -> list[Tensor]:
        """A tensor of every entry by name; ``on_support`` is the weight where the index says."""
        if name != "on_support":
            return [getattr(entry, name) for entry in self.entries]
        places = self.given.supports
        wholes = [entry.weight if entry.lo is None else hilo.join(entry.weight, entry.lo) for entry in self.entries]
        return [p.gather(w, e.index) for p, w, e in zip(places, wholes, self.entries, strict=True)]

    def written(self) -> dict[str, list[Tensor]]:
        """What `write` leaves."""
        effective = [reference.stretch(e.values, e.anchor, SCALE) for e in self.entries if e.values is not None]
        return {"on_support": effective}

    def absorbed(self) -> dict[str, list[Tensor]]:
        """What `absorb` leaves."""
        pairs = zip(self.entries, self.found("on_support"), strict=True)
        return {"on_support": [reference.absorb(entry.anchor, weight, 0.9) for entry, weight in pairs]}

    def redrawn(self) -> dict[str, list[Tensor]]:
        """What `redraw` leaves."""
        places = self.given.supports
        indices = [place.draw(EPISODE + 1, self.given.device) for place in places]
        anchors = [p.gather(e.weight, index) for p, e, index in zip(places, self.entries, indices, strict=True)]
        zeros = [torch.zeros_like(anchor) for anchor in anchors]
        return {"index": indices, "anchor": anchors, "values": anchors, "exp_avg": zeros, "exp_avg_sq": zeros}

    def stepped(self) -> dict[str, list[Tensor]]:
        """What `adamw` leaves."""
        effective = []
        for entry, old in zip(self.entries, self.found("on_support"), strict=True):
            assert entry.exp_avg is not None
            assert entry.exp_avg_sq is not None
            assert entry.gradient is not None
            student = entry.anchor + (old - entry.anchor) / SCALE if entry.values is None else entry.values
            values = torch.nn.Parameter(student.clone())
            optimizer = torch.optim.AdamW([values], lr=LEARNING_RATE, betas=BETAS, eps=EPS, weight_decay=0.0)
            moments = {"exp_avg": entry.exp_avg.clone(), "exp_avg_sq": entry.exp_avg_sq.clone()}
            optimizer.state[values] = {"step": torch.zeros(()), **moments}
            values.grad = entry.gradient.clone()
            optimizer.step()
            effective.append(reference.stretch(values.detach(), entry.anchor, SCALE))
        return {"on_support": effective}


def table_kernels(work: str, shapes: Sequence[tuple[int, int]], device: torch.device) -> Iterator[Case]:
    """Everything that moves values of all weights in one launch. Each case starts from the same weights."""
    given = Weights(work, shapes, device)
    slots, index = given.slots, given.index_bytes
    drawn = {"index": [place.draw(EPISODE + 1, device) for place in given.supports]}

    def case(
        kernel: str,
        tabled: Tabled,
        launch: Callable[[Table], None],
        expected: Callable[[], dict[str, list[Tensor]]],
        traffic: float,
        suffix: str = "",
    ) -> Case:
        def call() -> None:
            launch(tabled.table)

        return Case(kernel, "triton", work + suffix, call, traffic, error=lambda: tabled.error(call, expected))

    def step(table: Table) -> None:
        adamw.adamw(table, LEARNING_RATE, *BETAS, EPS, 0.0, SCALE, False, None)

    tabled = Tabled(given)
    yield case("draw", tabled, lambda table: support.draw(table, EPISODE + 1), lambda: drawn, index)
    tabled = Tabled(given)
    traffic = 8 * slots + index + given.touched(4, is_written=True)
    yield case("write", tabled, lambda table: support.write(table, SCALE, False, None), tabled.written, traffic)
    tabled = Tabled(given)
    traffic = 4 * slots + index + 2 * given.touched(4)
    yield case("absorb", tabled, lambda table: support.absorb(table, 0.9), tabled.absorbed, traffic)
    tabled = Tabled(given)
    traffic = 16 * slots + index + given.touched(4)
    yield case("redraw", tabled, lambda t: support.redraw(t, EPISODE + 1, False, True), tabled.redrawn, traffic)
    tabled = Tabled(given)
    traffic = 32 * slots + index + given.touched(4, is_written=True)
    yield case("adamw", tabled, step, tabled.stepped, traffic)
    tabled = Tabled(given, is_hilo=True)
    traffic = 24 * slots + index + 4 * given.touched(2)
    yield case("adamw", tabled, step, tabled.stepped, traffic, ", hilo")


def gather_kernel(work: str, shape: tuple[int, int], device: torch.device) -> Case:
    """The gradient of one large weight, gathered: its launch takes little beside the work."""
    given = Weights(work, [shape], device)
    (place, weight, index), geometry = next(given.triples()), geometry_of(given.supports[0])
    gradient = weight.bfloat16()
    traffic = given.touched(2) + 4 * given.slots + given.index_bytes

    def call() -> Tensor:
        return support.gather(gradient, index, geometry, SCALE)

    def error() -> float:
        return deviation(call(), place.gather(gradient, index).float() * SCALE)

    return Case("gather", "triton", f"{work}, {shape[0]} × {shape[1]}", call, traffic, error=error)
