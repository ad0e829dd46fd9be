"""Compact values in and out of a weight, against the mask and the flat positions."""

import pytest
import torch

from gmixout.masks import MaskPlan
from gmixout.settings import Settings
from gmixout.supports import support_of

CASES = [
    ("element", (1, 1), {}),
    ("element", (77, 513), {}),
    ("element", (40, 2000), {"sparsity": 0.9999}),
    ("element", (1021, 67), {"sparsity": 0.999}),
    ("element", (16, 8, 3, 3), {}),
    ("element", (2304,), {}),
    ("row", (77, 513), {}),
    ("row", (5,), {}),
    ("row", (16, 8, 3, 3), {}),
    ("column", (77, 513), {}),
    ("column", (77, 513), {"group_size": 27}),
    ("column", (16, 8, 3, 3), {"group_size": 2}),
    ("block", (128, 192), {}),
    ("block", (64, 64), {}),
    ("block", (256, 16, 4, 4), {"block_size": 128}),
]


def case(granularity, shape, changes):
    settings = Settings(**({"sparsity": 0.7, "granularity": granularity} | changes))
    support = support_of(MaskPlan(2**63 + 11, shape, settings))
    return support, support.draw(episode=3)


@pytest.mark.parametrize(("granularity", "shape", "changes"), CASES)
def test_the_support_is_the_mask(granularity, shape, changes):
    support, index = case(granularity, shape, changes)
    positions = support.positions(index)
    assert positions.shape == support.shape
    spread = torch.zeros(support.plan.entries, dtype=torch.bool)
    spread[positions.reshape(-1)] = True
    assert int(spread.sum()) == positions.numel() == support.plan.kept_entries
    assert torch.equal(spread.reshape(shape), support.plan.keep(episode=3))
    assert index.dtype == (torch.int16 if granularity == "element" and support.length <= 2**15 else torch.int32)


@pytest.mark.parametrize(("granularity", "shape", "changes"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int16])
def test_gather_and_scatter_move_the_positions_and_nothing_else(granularity, shape, changes, dtype):
    support, index = case(granularity, shape, changes)
    generator = torch.Generator().manual_seed(0)
    dense = torch.randint(-100, 100, shape, generator=generator).to(dtype)
    values = support.gather(dense, index)
    positions = support.positions(index)
    assert torch.equal(values.reshape(-1), dense.reshape(-1)[positions.reshape(-1)])
    fresh = torch.randint(200, 250, support.shape, generator=generator).to(dtype)
    expected = dense.clone()
    expected.view(-1)[positions.reshape(-1)] = fresh.reshape(-1)
    support.scatter(dense, index, fresh)
    assert torch.equal(dense, expected)
