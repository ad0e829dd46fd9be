"""What is counted as memory: storages once, whatever autograd keeps, and the highest point of a call."""

import torch
from torch import nn

from benchmarks import live
from benchmarks.models import BACKBONES, create, masked_shapes
from benchmarks.rivals import RIVALS

CPU = torch.device("cpu")
MEGABYTE = 10**6


def test_the_peak_of_a_pattern_of_allocations():
    def pattern():
        first = torch.empty(MEGABYTE, dtype=torch.int8)
        second = torch.empty(2 * MEGABYTE, dtype=torch.int8)
        del first
        third = torch.empty(MEGABYTE // 2, dtype=torch.int8)
        del second, third
        # Less than the three megabytes that lived at once.
        return torch.empty(2 * MEGABYTE, dtype=torch.int8)

    assert live.peak_growth(pattern, CPU) == 3 * MEGABYTE


def test_what_is_alive_before_the_call_does_not_count():
    kept = torch.empty(5 * MEGABYTE, dtype=torch.int8)
    assert live.peak_growth(lambda: kept[:MEGABYTE].clone(), CPU) == MEGABYTE


def test_the_peak_holds_temporaries_of_operators():
    left = torch.ones(500, 500)
    assert live.peak_growth(lambda: (left @ left).relu().sum(), CPU) >= 2 * MEGABYTE


def test_saved_for_backward_leaves_out_what_is_kept_anyway():
    layer, inputs = nn.Linear(8, 16), torch.ones(4, 8)
    kept = live.storage_bytes([*layer.parameters(), inputs])
    with live.saved_for_backward(kept) as saved:
        layer(inputs).sigmoid().sum()
    # The sigmoid's output, and nothing of the layer.
    assert list(saved.values()) == [4 * 16 * 4]


def test_state_finds_tensors_in_closures_and_optimisers():
    run = RIVALS["mixout_naive"].build(create(BACKBONES["vit-tiny-16px"], CPU))
    found = sum(live.storage_bytes(live.tensors_within(run.forward)).values())
    weights = sum(p.numel() for p in run.model.parameters())
    anchors = sum(rows * inputs for rows, inputs in masked_shapes(run.model))
    assert found == 4 * (weights + anchors)
