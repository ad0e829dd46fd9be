"""Values move between supports and weights as plain torch moves them, for every kind of support in one launch."""

import dataclasses

import pytest
import torch

from gmixout import hilo, reference
from gmixout.kernels.geometry import Geometry
from gmixout.kernels.support import absorb, gather, redraw, write
from gmixout.kernels.tables import Table
from tests.gmixout.kernels.weights import (
    DTYPES,
    GEOMETRIES,
    KEYS,
    assert_as_close,
    drawn,
    entries_of,
    index_of,
    poison,
    positions_of,
    support_of,
)


def copies(entries):
    return [
        dataclasses.replace(
            entry, **{name: value.clone() for name, value in vars(entry).items() if isinstance(value, torch.Tensor)}
        )
        for entry in entries
    ]


def halved(entries):
    """The same weights, each in two halves."""
    return [
        dataclasses.replace(entry, weight=hi, lo=lo)
        for entry, (hi, lo) in zip(entries, (hilo.split(entry.weight) for entry in entries), strict=True)
    ]


def whole(entry):
    return entry.weight if entry.lo is None else hilo.join(entry.weight, entry.lo)


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def assert_untouched_off_the_support(before, after, support):
    off = torch.ones(before.weight.numel(), dtype=torch.bool)
    off[support] = False
    for name in ("weight", "lo"):
        was, now = getattr(before, name), getattr(after, name)
        if was is not None:
            assert torch.equal(bits(was.view(-1)[off]), bits(now.view(-1)[off])), f"{name}, {before.geometry}"


def effective(values, anchor, scale, is_residual):
    return reference.stretch(anchor + values if is_residual else values, anchor, scale)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("scale", "is_residual", "follow"), [(10.0, False, 0.3), (2.5, True, 0.9), (1.0, False, None)])
def test_write(dtype, scale, is_residual, follow):
    entries = entries_of(dtype, values=drawn, shadow=drawn)
    before = copies(entries)
    write(Table(entries, "cpu"), scale, is_residual, follow)
    for old, new in zip(before, entries, strict=True):
        support = support_of(old)
        plain = effective(old.values, old.anchor, scale, is_residual)
        exact = effective(old.values.double(), old.anchor.double(), scale, is_residual)
        got = new.weight.view(-1)[support]
        assert_as_close("weight", got, plain.view(-1), exact.view(-1))
        assert_untouched_off_the_support(old, new, support)
        if follow is None:
            assert torch.equal(new.shadow, old.shadow)
        else:
            plain, exact = (reference.absorb(old.shadow.to(e.dtype), e, follow) for e in (plain, exact))
            assert_as_close("shadow", new.shadow, plain, exact)
        if scale == 1.0 and not is_residual:
            assert torch.equal(bits(got), bits(old.values.view(-1)))


def test_write_in_a_coarser_type_than_the_values():
    entries = entries_of(torch.bfloat16, torch.float32, values=drawn)
    write(Table(entries, "cpu"), 3.0, False, None)
    for entry in entries:
        exact = effective(entry.values, entry.anchor, 3.0, False).view(-1)
        # The product may be fused into the sum, so a number beside a tie may round either way.
        assert_as_close("weight", entry.weight.view(-1)[support_of(entry)], exact.bfloat16(), exact.double(), slack=1.0)


def test_write_needs_values():
    entries = halved(entries_of(anchor=drawn))
    with pytest.raises(ValueError, match="values"):
        write(Table(entries, "cpu"), 1.0, False, None)


def test_a_running_average_may_be_missing_in_some_weights():
    entries = entries_of(values=drawn, shadow=drawn)
    entries[::2] = [dataclasses.replace(entry, shadow=None) for entry in entries[::2]]
    before = copies(entries)
    table = Table(entries, "cpu")
    write(table, 1.0, False, 0.5)
    absorb(table, old_weight=1.0)
    for old, new in zip(before, entries, strict=True):
        expected = old.anchor if old.shadow is None else torch.lerp(old.values, old.shadow, 0.5)
        torch.testing.assert_close(new.weight.view(-1)[support_of(old)], expected.view(-1))


@pytest.mark.parametrize("dtype", [*DTYPES, "hilo"], ids=str)
@pytest.mark.parametrize("old_weight", [0.0, 0.3, 0.9, 1.0])
def test_absorb(dtype, old_weight):
    entries = halved(entries_of()) if dtype == "hilo" else entries_of(dtype)
    before = copies(entries)
    absorb(Table(entries, "cpu"), old_weight)
    for old, new in zip(before, entries, strict=True):
        support = support_of(old)
        e, anchor = whole(old).view(-1)[support], old.anchor.view(-1)
        got = whole(new).view(-1)[support]
        exact = reference.absorb(anchor.double(), e.double(), old_weight)
        assert_as_close("weight", got, reference.absorb(anchor, e, old_weight), exact)
        assert_untouched_off_the_support(old, new, support)
        if old_weight in (0.0, 1.0):
            assert torch.equal(bits(got), bits(anchor if old_weight else e))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_absorb_takes_the_running_average(dtype):
    entries = entries_of(dtype, shadow=drawn)
    absorb(Table(entries, "cpu"), old_weight=0.5)
    for entry in entries:
        assert torch.equal(entry.weight.view(-1)[support_of(entry)], entry.shadow.view(-1))


@pytest.mark.parametrize("dtype", [*DTYPES, "hilo"], ids=str)
@pytest.mark.parametrize(("is_residual", "reset_moments"), [(False, True), (True, False)])
def test_redraw(dtype, is_residual, reset_moments):
    fills = {"anchor": poison, "shadow": poison, "exp_avg": drawn, "exp_avg_sq": drawn}
    if dtype == "hilo":
        entries = halved(entries_of(**fills))
    else:
        entries = entries_of(dtype, values=poison, **fills)
    entries = [dataclasses.replace(entry, step=torch.tensor(3.0)) for entry in entries]
    for entry in entries:
        entry.index.fill_(-1)
    before = copies(entries)
    redraw(Table(entries, "cpu"), 4, is_residual, reset_moments)
    for old, new, key in zip(before, entries, KEYS, strict=True):
        index = index_of(new.geometry, key, 4)
        assert torch.equal(new.index, index)
        anchor = whole(old).view(-1)[positions_of(new.geometry, index)].view(new.geometry.shape)
        assert torch.equal(bits(new.anchor), bits(anchor))
        assert torch.equal(bits(new.shadow), bits(anchor))
        if new.values is not None:
            assert torch.equal(bits(new.values), bits(torch.zeros_like(anchor) if is_residual else anchor))
        assert torch.equal(bits(new.weight), bits(old.weight))
        factor = 0.0 if reset_moments else 1.0
        for name in ("exp_avg", "exp_avg_sq", "step"):
            assert torch.equal(getattr(new, name), getattr(old, name) * factor), name


def test_redraw_before_an_optimiser_has_moments():
    entries = entries_of(values=poison)
    redraw(Table(entries, "cpu"), 1, is_residual=False, reset_moments=True)
    assert all(entry.values.isfinite().all() for entry in entries)


@pytest.fixture
def _fresh_memory_is_nan():
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_fresh_memory_is_nan")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("out_dtype", DTYPES, ids=str)
def test_gather(dtype, out_dtype):
    for geometry, key in zip(GEOMETRIES.values(), KEYS, strict=True):
        gradient = torch.randn(geometry.rows, geometry.inputs, dtype=torch.float64).to(dtype)
        index = index_of(geometry, key, 2)
        got = gather(gradient, index, geometry, 2.5, out_dtype)
        assert got.shape == geometry.shape
        assert got.dtype == out_dtype
        found = gradient.view(-1)[positions_of(geometry, index)].view(geometry.shape)
        plain = (found.to(torch.promote_types(torch.float32, out_dtype)) * 2.5).to(out_dtype)
        assert_as_close("gradient", got, plain, found.double() * 2.5, slack=1.0)
        assert torch.equal(gather(gradient, index, geometry, dtype=dtype), found)


def test_gather_refuses_what_it_would_misread():
    geometry = Geometry("row", segments=1, length=4, count=2, rows=4, inputs=6)
    index = torch.zeros(2, dtype=torch.int32)
    with pytest.raises(ValueError, match="contiguous"):
        gather(torch.zeros(6, 4).T, index, geometry)
    with pytest.raises(ValueError, match="does not fit"):
        gather(torch.zeros(4, 5), index, geometry)


def test_an_empty_table_is_nothing_to_do():
    table = Table([], "cpu")
    write(table, 1.0, False, 0.5)
    absorb(table, 0.5)
    redraw(table, 1, False, True)
