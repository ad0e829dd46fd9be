"""Granularities against brute force, and counts at extreme sparsities."""

import itertools

import pytest
import torch

from gmixout.masks import MaskPlan
from gmixout.settings import Settings

SHAPES = [(1, 1), (3, 1), (1, 7), (77, 513), (16, 8, 3, 3), (130, 200), (5, 4, 3), (64, 128)]


def plan_of(shape, **settings):
    return MaskPlan(11, shape, Settings(**settings))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("granularity", ["element", "row", "column", "block"])
@pytest.mark.parametrize("count", ["exact", "bernoulli"])
def test_entries_of_a_unit_share_their_fate(shape, granularity, count):
    plan = plan_of(shape, granularity=granularity, count=count, sparsity=0.5, group_size=3)
    keep = plan.keep(episode=4)
    assert keep.shape == shape
    assert keep.dtype == torch.bool
    flat = keep.reshape(shape[0], -1)
    width = flat.shape[1] // shape[1]
    if granularity == "row":
        assert torch.equal(flat, flat[:, :1].expand_as(flat))
    if granularity == "column":
        for column in range(flat.shape[1]):
            leader = (column // width) // 3 * 3 * width
            assert torch.equal(flat[:, column], flat[0, leader].expand(len(flat)))
    if granularity == "block":
        for row, column in itertools.product(range(0, len(flat), 64), range(0, flat.shape[1], 64)):
            tile = flat[row : row + 64, column : column + 64]
            assert tile.all() or not tile.any()


@pytest.mark.parametrize("sparsity", [0.0, 0.02, 0.5, 0.9, 0.98, 0.999, 0.9999999])
@pytest.mark.parametrize("shape", [(77, 513), (768, 768), (3, 1), (64, 3, 7, 7), (97, 9), (2304,)])
def test_counts_are_right_at_extreme_sparsities(shape, sparsity):
    plan = plan_of(shape, sparsity=sparsity)
    segments, length, count = plan.segments
    kept = plan.keep(0).reshape(segments, length).sum(1)
    assert segments * length == plan.entries
    assert length % plan.inputs == 0, "segments are whole rows"
    assert kept.tolist() == [max(1, round((1 - sparsity) * length))] * segments == [count] * segments
    assert plan.kept_entries == int(kept.sum())
    assert plan.is_rounded_up == (round((1 - sparsity) * length) == 0)
    if length < plan.entries:
        assert abs(plan.kept_entries / plan.entries - (1 - sparsity)) <= min(0.0005, 0.02 * (1 - sparsity))


def test_element_segments_divide_the_rows_of_usual_layers():
    lengths = [
        plan_of(shape).segments[1] for shape in [(2304, 768), (3072, 768), (768, 3072), (576, 192), (96, 1, 7, 7)]
    ]
    assert lengths == [2 * 768, 2 * 768, 3072, 6 * 192, 24 * 49]


def test_impossible_plans_are_refused():
    with pytest.raises(ValueError, match="needs weights of two or more dimensions, got shape"):
        plan_of((5,), granularity="column")
    with pytest.raises(ValueError, match="at least one entry"):
        plan_of((0, 4))
