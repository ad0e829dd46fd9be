"""Weights of every kind for the kernels' tests, their positions by brute force, and how close a kernel must come."""

import torch

from gmixout.kernels.geometry import Geometry
from gmixout.kernels.tables import Entry
from gmixout.sampling import draw_exact

GEOMETRIES = {
    "element": Geometry("element", segments=3, length=154, count=15, rows=6, inputs=77),
    "element of one segment": Geometry("element", segments=1, length=39501, count=9001, rows=77, inputs=513),
    "row": Geometry("row", segments=1, length=13, count=4, rows=13, inputs=21),
    "column": Geometry("column", segments=1, length=19, count=7, rows=5, inputs=19),
    "column groups of a convolution": Geometry("column", 1, length=5, count=2, rows=7, inputs=60, patch=4, size=3),
    "block": Geometry("block", segments=1, length=6, count=2, rows=8, inputs=12, size=4),
    "all rows": Geometry("row", segments=1, length=5, count=5, rows=5, inputs=3),
    "one entry": Geometry("element", segments=1, length=1, count=1, rows=1, inputs=1),
}
KEYS = (0x9ABCDEF012345678, 7, 2**64 - 1, 2**63, 0, 2**32, 1, 12345)
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def index_of(geometry, key, episode):
    """The index of an episode, from the law of sampling."""
    drawn = draw_exact(key, episode, geometry.segments, geometry.length, geometry.count)
    if geometry.kind == "column":
        drawn = torch.tensor(
            [unit * geometry.size + i for unit in drawn.view(-1).tolist() for i in range(geometry.size)]
        )
    is_narrow = geometry.kind == "element" and geometry.length <= 2**15
    return drawn.to(torch.int16 if is_narrow else torch.int32).view(geometry.segments, -1)


def positions_of(geometry, index):
    """Flat positions of all slots, as the table of `Geometry` has them, in plain integers."""
    units, g = index.view(-1).tolist(), geometry
    found = []
    for slot in range(g.slots):
        a, b = divmod(slot, g.slots // g.shape[0])
        if g.kind == "element":
            found.append(a * g.length + units[slot])
        elif g.kind == "row":
            found.append(units[a] * g.inputs + b)
        elif g.kind == "column":
            found.append(a * g.inputs + units[b // g.patch] * g.patch + b % g.patch)
        else:
            tile_row, tile_column = divmod(units[a], g.inputs // g.size)
            found.append((tile_row * g.size + b // g.size) * g.inputs + tile_column * g.size + b % g.size)
    return torch.tensor(found)


def support_of(entry):
    return positions_of(entry.geometry, entry.index)


def entries_of(dtype=torch.float32, value_dtype=None, episode=0, **given):
    """One weight of every kind, on the support of an episode; ``given`` names tensors to add, by how to fill them."""
    entries = []
    for number, (geometry, key) in enumerate(zip(GEOMETRIES.values(), KEYS, strict=True)):
        random = torch.Generator().manual_seed(number)

        def normal(size, random=random, into=dtype):
            return torch.randn(size, generator=random, dtype=torch.float64).to(into)

        values = {
            name: fill(geometry.shape, lambda size, normal=normal: normal(size, into=value_dtype or dtype))
            for name, fill in {"anchor": lambda shape, normal: normal(shape), **given}.items()
        }
        weight = normal((geometry.rows, geometry.inputs))
        entries.append(Entry(geometry, key, weight, index_of(geometry, key, episode), **values))
    return entries


def drawn(shape, normal):
    """A filling: random numbers."""
    return normal(shape)


def poison(shape, normal):
    """A filling: NaN, for what a kernel must write."""
    return normal(shape) * torch.nan


def assert_as_close(name, got, plain, exact, slack=2.0):
    """The kernel may err at most ``slack`` times as much as plain torch does in the same dtype."""

    def error(x):
        return (x.double() - exact).abs().max().item()

    floor = torch.finfo(got.dtype).eps * exact.abs().max().item()
    allowed = slack * max(error(plain), floor)
    assert error(got) <= allowed, f"{name}: error {error(got):.1e} exceeds {allowed:.1e}"
