"""How a program finds its way from slots of the values to entries of the index and positions in the weight.

A program handles ``BLOCK`` slots of one weight. ``column`` points to that weight's number in the first row of a
`gmixout.kernels.tables.Table`, whose rows are ``weights`` numbers apart.
"""

import triton
import triton.language as tl

from gmixout.kernels.draw import segment_position
from gmixout.kernels.geometry import KINDS
from gmixout.kernels.tables import FIELDS

_ELEMENT = tl.constexpr(KINDS["element"])
_ROW = tl.constexpr(KINDS["row"])
_COLUMN = tl.constexpr(KINDS["column"])
_KIND = tl.constexpr(FIELDS["kind"])
_KEY = tl.constexpr(FIELDS["key"])
_WIDTH = tl.constexpr(FIELDS["width"])
_LENGTH = tl.constexpr(FIELDS["length"])
_COUNT = tl.constexpr(FIELDS["count"])
_BITS = tl.constexpr(FIELDS["bits"])
_GROUP = tl.constexpr(FIELDS["group"])
_INPUTS = tl.constexpr(FIELDS["inputs"])
_PATCH = tl.constexpr(FIELDS["patch"])
_SIZE = tl.constexpr(FIELDS["size"])
_IS_NARROW = tl.constexpr(FIELDS["is_narrow"])
_INDEX = tl.constexpr(FIELDS["index"])


@triton.jit
def field(column, weights, NAME: tl.constexpr):
    """A number of the table: scalar int64."""
    return tl.load(column + NAME * weights)


@triton.jit
def number(column, weights, NAME: tl.constexpr):
    """A number of the table that fits int32."""
    return field(column, weights, NAME).to(tl.int32)


@triton.jit
def begin(fields, programs, weights, TOTAL: tl.constexpr, BLOCK: tl.constexpr):
    """This program's weight and slots: ``column``, int32 slots (0 where there are none left) and whether there are."""
    program = programs + 2 * tl.program_id(0)
    column = fields + tl.load(program)
    slot = tl.load(program + 1) * BLOCK + tl.arange(0, BLOCK)
    live = slot < number(column, weights, TOTAL)
    return column, tl.where(live, slot, 0), live


@triton.jit
def places(kind, slot, width, patch):
    """Which entry of the index each slot belongs to: int32."""
    place = slot
    if kind == _COLUMN:
        place = slot % width // patch
    elif kind != _ELEMENT:
        place = slot // width
    return place


@triton.jit
def positions(kind, slot, unit, width, length, inputs, patch, size):
    """Flat positions in the weight, int64, of slots whose entries of the index are ``unit``.

    Args:
        kind: Scalar, a code of `gmixout.kernels.geometry.KINDS`.
        slot: Block of int32.
        unit: Block of int32.
        width, length, inputs, patch, size: Scalars int32, those of `gmixout.kernels.geometry.Geometry`.
    """
    row = slot // width
    across = slot - row * width
    if kind == _ELEMENT:
        position = row.to(tl.int64) * length + unit
    elif kind == _ROW:
        position = unit.to(tl.int64) * inputs + across
    elif kind == _COLUMN:
        position = row.to(tl.int64) * inputs + (unit * patch + across % patch)
    else:
        tiles = inputs // size
        tile_row = unit // tiles
        weight_row = tile_row * size + across // size
        position = weight_row.to(tl.int64) * inputs + ((unit - tile_row * tiles) * size + across % size)
    return position


@triton.jit
def slot_places(column, weights, slot):
    """`places` in this program's weight."""
    return places(
        number(column, weights, _KIND), slot, number(column, weights, _WIDTH), number(column, weights, _PATCH)
    )


@triton.jit
def support(column, weights, slot, unit):
    """`positions` in this program's weight."""
    return positions(
        number(column, weights, _KIND),
        slot,
        unit,
        number(column, weights, _WIDTH),
        number(column, weights, _LENGTH),
        number(column, weights, _INPUTS),
        number(column, weights, _PATCH),
        number(column, weights, _SIZE),
    )


@triton.jit
def stored_support(column, weights, slot, live):
    """Flat positions, int64, that the stored index gives the slots."""
    place = slot_places(column, weights, slot)
    index = field(column, weights, _INDEX)
    if number(column, weights, _IS_NARROW) == 1:
        unit = tl.load(index.to(tl.pointer_type(tl.int16)) + place, mask=live, other=0).to(tl.int32)
    else:
        unit = tl.load(index.to(tl.pointer_type(tl.int32)) + place, mask=live, other=0)
    return support(column, weights, slot, unit)


@triton.jit
def drawn_units(column, weights, place, episode):
    """What the index holds in an episode, int32: drawn anew from nothing but the place in it."""
    group = number(column, weights, _GROUP)
    count = number(column, weights, _COUNT)
    chosen = place // group
    segment = chosen // count
    drawn = segment_position(
        field(column, weights, _KEY),
        episode.to(tl.uint32),
        segment.to(tl.uint32),
        (chosen - segment * count).to(tl.uint32),
        number(column, weights, _LENGTH).to(tl.uint32),
        count.to(tl.uint32),
        number(column, weights, _BITS).to(tl.uint32),
    )
    return drawn * group + (place - chosen * group)


@triton.jit
def store_index(column, weights, place, unit, live):
    """Writes entries of the index."""
    index = field(column, weights, _INDEX)
    if number(column, weights, _IS_NARROW) == 1:
        tl.store(index.to(tl.pointer_type(tl.int16)) + place, unit.to(tl.int16), mask=live)
    else:
        tl.store(index.to(tl.pointer_type(tl.int32)) + place, unit, mask=live)
