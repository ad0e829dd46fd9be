"""The kernels' cases: their traffic by brute force, and that a wrong kernel is noticed."""

import pytest
import torch

from benchmarks import cases, triton_cases
from benchmarks.kernels import ALLOWED_ERROR, PLANS, row_of

CPU = torch.device("cpu")
SHAPES = [(64, 64), (128, 64)]


@pytest.mark.parametrize("run", [1, 2, 8])
def test_touched_bytes_are_those_of_pieces_with_a_kept_entry(run):
    random = torch.Generator().manual_seed(0)
    kept = (torch.rand(400_000 // run, generator=random) < 0.1).repeat_interleave(run)
    pieces = kept.view(-1, 8).any(dim=1).sum().item() * 32
    assert cases.touched_bytes(kept.numel(), 4, 0.1, run, piece=32) == pytest.approx(pieces, rel=0.02)


def test_a_piece_written_in_part_counts_twice():
    for work, factor in {"element 10 %": 2.0, "16 columns 10 %": 1.0, "row 10 %": 1.0}.items():
        given = cases.Weights(work, SHAPES, CPU)
        assert given.touched(4, is_written=True) == factor * given.touched(4)


@pytest.mark.parametrize("work", ["element 10 %", "16 columns 10 %"])
def test_kernels_of_tables_agree_with_torch(work):
    found = [(case.kernel, case.error()) for case in triton_cases.table_kernels(work, SHAPES, CPU)]
    assert [name for name, _ in found] == ["draw", "write", "absorb", "redraw", "adamw", "adamw"]
    assert all(error <= ALLOWED_ERROR for _, error in found), found


def test_kernels_of_layers_and_of_mixout_agree_with_torch():
    found = [*triton_cases.mixing_kernels(64, 48, CPU), *triton_cases.layer_kernels(8, (64, 128), torch.float16, CPU)]
    found.append(triton_cases.gather_kernel("column 10 %", (64, 64), CPU))
    errors = {case.kernel: case.error() for case in found}
    assert len(errors) == 7
    assert all(error <= ALLOWED_ERROR for error in errors.values()), errors


def test_a_kernel_that_writes_elsewhere_is_noticed():
    tabled = triton_cases.Tabled(cases.Weights("row 10 %", SHAPES, CPU))
    assert tabled.error(lambda: None, tabled.written) > 1000 * ALLOWED_ERROR


def test_deviation_sees_nan_and_zeros():
    zeros = torch.zeros(2)
    assert cases.deviation(zeros, zeros) == 0.0
    assert cases.deviation(torch.tensor([0.0, torch.nan]), zeros) == float("inf")
    assert cases.deviation(torch.ones(2), zeros) > ALLOWED_ERROR


def test_the_floor_is_the_larger_of_two_times():
    case = cases.Case("a", "torch", "b", lambda: None, bytes=100.0, flops=1000.0)
    by_memory = row_of(case, [4.0, 5.0, 6.0], rates=(50.0, 1000.0), error=0.0)
    assert (by_memory["bound"], by_memory["floor_ms"], by_memory["peak_share"]) == ("memory", 2.0, 0.4)
    by_products = row_of(case, [4.0], rates=(50.0, 250.0), error=0.0)
    assert (by_products["bound"], by_products["floor_ms"], by_products["peak_share"]) == ("arithmetic", 4.0, 1.0)


def test_shapes_are_those_of_a_vision_transformer():
    assert PLANS["cuda"].shapes[:4] == [(2304, 768), (768, 768), (3072, 768), (768, 3072)]
    assert PLANS["cuda"].stacked[0] == sum(rows for rows, inputs in PLANS["cuda"].shapes if inputs == 768)
