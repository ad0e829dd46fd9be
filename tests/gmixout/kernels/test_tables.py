"""Tables refuse what a kernel could not read; positions are right for every kind and beyond 32 bits."""

import dataclasses

import pytest
import torch
import triton
import triton.language as tl

from gmixout.kernels.geometry import KINDS, Geometry
from gmixout.kernels.slots import places, positions
from gmixout.kernels.tables import FIELDS, Entry, Table
from tests.gmixout.kernels.weights import GEOMETRIES, drawn, entries_of, index_of, positions_of

ROW = Geometry("row", segments=1, length=4, count=2, rows=4, inputs=6)


@triton.jit
def _positions_kernel(out, slots, units, kind, width, length, inputs, patch, size, LANES: tl.constexpr):
    lanes = tl.arange(0, LANES)
    slot, unit = tl.load(slots + lanes), tl.load(units + lanes)
    tl.store(out + lanes, positions(kind, slot, unit, width, length, inputs, patch, size))


@triton.jit
def _places_kernel(out, slots, kind, width, patch, LANES: tl.constexpr):
    lanes = tl.arange(0, LANES)
    tl.store(out + lanes, places(kind, tl.load(slots + lanes), width, patch))


def kernel_positions(geometry, slots, units):
    out = torch.full((len(slots),), -1, dtype=torch.int64)
    slots, units = torch.tensor(slots, dtype=torch.int32), torch.tensor(units, dtype=torch.int32)
    g = geometry
    numbers = KINDS[g.kind], g.width, g.length, g.inputs, g.patch, g.size
    _positions_kernel[(1,)](out, slots, units, *numbers, LANES=len(slots))
    return out


def row_entry(**changes):
    entry = Entry(ROW, 7, torch.zeros(4, 6), torch.zeros(2, dtype=torch.int32), torch.zeros(2, 6))
    return dataclasses.replace(entry, **changes)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_positions_by_brute_force(geometry):
    index = index_of(geometry, key=5, episode=0)
    lanes = 16
    slots = [slot % geometry.slots for slot in range(0, 97 * lanes, 97)]
    found = torch.full((lanes,), -1, dtype=torch.int32)
    wanted = torch.tensor(slots, dtype=torch.int32)
    _places_kernel[(1,)](found, wanted, KINDS[geometry.kind], geometry.width, geometry.patch, LANES=lanes)
    units = index.view(-1)[found.long()].tolist()
    assert torch.equal(kernel_positions(geometry, slots, units), positions_of(geometry, index)[slots])


@pytest.mark.parametrize(
    ("geometry", "slots", "units", "expected"),
    [
        (Geometry("element", 2**22, 2**12, 400, 2**22, 2**12), [400 * (2**22 - 1) + 3], [17], (2**22 - 1) * 2**12 + 17),
        (Geometry("row", 1, 2**20, 3, 2**20, 5000), [5000 + 77], [2**20 - 2], (2**20 - 2) * 5000 + 77),
        (Geometry("column", 1, 2**18, 2, 2**17, 9 * 2**18, patch=9), [18 * 99_999 + 11], [2**18 - 1],
         99_999 * 9 * 2**18 + (2**18 - 1) * 9 + 2),
        (Geometry("block", 1, 2**22, 5, 2**17, 2**17, size=64), [3 * 4096 + 65], [2**22 - 1],
         (2**17 - 63) * 2**17 + 2**17 - 63),
    ],
)  # fmt: skip
def test_positions_beyond_32_bits(geometry, slots, units, expected):
    assert expected > 2**31
    assert kernel_positions(geometry, slots, units).tolist() == [expected]


def test_fields_hold_keys_bit_for_bit_and_nulls():
    table = Table([row_entry(key=2**64 - 2), row_entry(key=3)], "cpu")
    assert table.fields[FIELDS["key"]].tolist() == [-2, 3]
    assert table.fields[FIELDS["shadow"]].tolist() == [0, 0]
    assert table.has("anchor")
    assert not table.has("gradient")
    with pytest.raises(ValueError, match=r"no gradient.*Table\.point"):
        table.require("anchor", "gradient")


def test_programs_cover_every_slot_once():
    table = Table(entries_of(values=drawn), "cpu")
    programs = table.programs.tolist()
    assert programs == sorted(programs)
    assert {weight for weight, _ in programs} == set(range(len(GEOMETRIES)))
    assert [0, 1] not in programs
    assert [1, 1] in programs


def test_pointers_follow_tensors_and_leave_the_rest():
    table = Table([row_entry(), row_entry()], "cpu")
    before = table.fields.clone()
    gradients = [torch.zeros(2, 6), torch.zeros(2, 6)]
    table.point("gradient", gradients)
    assert table.fields[FIELDS["gradient"]].tolist() == [gradient.data_ptr() for gradient in gradients]
    table.fields[FIELDS["gradient"]] = 0
    assert torch.equal(table.fields, before)
    table.point("gradient", gradients)
    assert torch.equal(table.fields, before), "nothing moved, so nothing is copied"
    table.point("gradient", gradients[::-1])
    assert table.fields[FIELDS["gradient"]].tolist() == [gradient.data_ptr() for gradient in gradients[::-1]]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"values": torch.zeros(6, 2).T}, ValueError, "contiguous"),
        ({"values": torch.zeros(5)}, ValueError, "12 elements"),
        ({"values": torch.zeros(2, 6, dtype=torch.float64)}, TypeError, "values must be of"),
        ({"index": torch.zeros(2, dtype=torch.int64)}, TypeError, "index must be of"),
        ({"weight": torch.zeros(4, 6, dtype=torch.float64)}, TypeError, "float64"),
        ({"weight": torch.zeros(4, 6, dtype=torch.int32)}, TypeError, "int32"),
        ({"lo": torch.zeros(4, 6, dtype=torch.int16)}, TypeError, "two halves"),
    ],
)
def test_what_a_kernel_could_not_read_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        Table([row_entry(**changes)], "cpu")


def test_weights_of_two_types_need_two_tables():
    with pytest.raises(TypeError, match="share"):
        Table([row_entry(), row_entry(weight=torch.zeros(4, 6).half())], "cpu")


def test_a_moved_gradient_is_checked():
    table = Table([row_entry()], "cpu")
    with pytest.raises(ValueError, match="contiguous"):
        table.point("gradient", [torch.zeros(6, 2).T])
    with pytest.raises(ValueError, match="each of 1 weights"):
        table.point("gradient", [])


@pytest.mark.parametrize(
    "changes", [{"kind": "entry"}, {"count": 5}, {"segments": 2}, {"inputs": 7, "kind": "column"}, {"rows": 5}]
)
def test_contradicting_geometries_are_refused(changes):
    with pytest.raises(ValueError, match=r"must|describes|segment"):
        dataclasses.replace(ROW, **changes)
