"""Theorems on the equations: gradients, the mean over masks, exact ends."""

import pytest
import torch

from gmixout import Settings, ops, reference
from gmixout.masks import MaskPlan
from gmixout.sampling import draw_bernoulli, tensor_key
from gmixout.supports import support_of


def case(shape=(5, 7), seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight, anchor = (torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(2))
    keep = torch.rand(shape, generator=generator) < 0.4
    return weight, anchor, keep


@pytest.mark.parametrize("scale", [1.0, 2.5, 10.0])
def test_gradient_of_mix_by_finite_differences(scale):
    weight, anchor, keep = case()
    weight.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda w: ops.mix(w, anchor, ops.Mask(keep), scale, scale, w.dtype), (weight,))


def test_published_gradient_lacks_the_factor():
    weight, anchor, keep = case()
    weight.requires_grad_(True)
    upstream = torch.randn_like(anchor)
    exact, published = (
        torch.autograd.grad(ops.mix(weight, anchor, ops.Mask(keep), 10.0, scale, weight.dtype), weight, upstream)[0]
        for scale in (10.0, 1.0)
    )
    assert torch.equal(published, upstream * keep)
    torch.testing.assert_close(exact, published * 10)


def test_mix_is_the_formula_of_mixout():
    weight, anchor, keep = case()
    sparsity = 0.75
    m = keep.double()
    formula = (m * weight + (1 - m) * anchor - sparsity * anchor) / (1 - sparsity)
    torch.testing.assert_close(reference.mix(weight, anchor, keep, 1 / (1 - sparsity)), formula)


def test_mean_over_masks_is_the_weight():
    weight, anchor, _ = case()
    sparsity, draws = 0.8, 6000
    total = torch.zeros_like(weight)
    for seed in range(draws):
        keep = draw_bernoulli(tensor_key(seed, "w"), 0, weight.numel(), sparsity).reshape(weight.shape)
        total += reference.mix(weight, anchor, keep, 1 / (1 - sparsity))
    # The mixed weight has variance (w - a)^2 p / (1 - p); five standard errors over 35 entries.
    standard_error = (weight - anchor).abs() * (sparsity / (1 - sparsity) / draws) ** 0.5
    assert ((total / draws - weight).abs() <= 5 * standard_error).all()


def test_ends_are_exact():
    weight, anchor, keep = (t.float() if t.is_floating_point() else t for t in case())
    mixed = reference.mix(weight, anchor, keep, 7.3)
    assert torch.equal(mixed[~keep], anchor[~keep])
    assert torch.equal(reference.mix(weight, anchor, keep, 1.0)[keep], weight[keep])
    assert torch.equal(reference.absorb(anchor, weight, 1.0), anchor)
    assert torch.equal(reference.absorb(anchor, weight, 0.0), weight)
    assert torch.equal(reference.absorb(anchor, anchor, 0.37), anchor)


@pytest.mark.parametrize("granularity", ["element", "row", "column"])
def test_route_gives_the_gathered_gradient(granularity):
    weight = torch.randn(3, 4, dtype=torch.float64)
    support = support_of(MaskPlan(5, (3, 4), Settings(sparsity=0.5, granularity=granularity)))
    index = support.draw(0)
    values = torch.zeros(support.shape, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(4, 3, dtype=torch.float64).T
    out = ops.route(weight, values, index, support, 4.0, torch.float64)
    assert out.data_ptr() == weight.data_ptr()
    (gradient,) = torch.autograd.grad(out, values, upstream)
    assert torch.equal(gradient.reshape(-1), 4.0 * upstream.reshape(-1)[support.positions(index).reshape(-1)])
