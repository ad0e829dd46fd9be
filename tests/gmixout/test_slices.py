"""The sliced backward pass of linear layers: equal to the whole products, whatever the slices."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gmixout import slices


def whole(gradient, inputs, weight, index, by_rows):
    """The three gradients as plain products, in the precision of the arguments."""
    for_weight = gradient.t() @ inputs
    kept = for_weight[index] if by_rows else for_weight[:, index]
    return gradient @ weight, gradient.sum(0), kept


@settings(deadline=None)
@given(
    tokens=st.integers(1, 40),
    outputs=st.integers(1, 9),
    inputs=st.integers(1, 9),
    at_once=st.integers(1, 41),
    by_rows=st.booleans(),
    data=st.data(),
)
def test_slices_of_any_length_add_up(tokens, outputs, inputs, at_once, by_rows, data):
    kept = data.draw(st.lists(st.integers(0, (outputs if by_rows else inputs) - 1), min_size=1, unique=True))
    index = torch.tensor(kept)
    g, x, w = (
        torch.randn(shape, dtype=torch.float64) for shape in ((tokens, outputs), (tokens, inputs), (outputs, inputs))
    )
    saved = x if by_rows else x[:, index]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "_SLICE_BYTES", 8 * outputs * at_once)
        got = slices.linear_backward(g, saved, w, index, by_rows, needs=(True, True))
    for mine, right in zip(got, whole(g, x, w, index, by_rows), strict=True):
        assert mine.is_contiguous()
        torch.testing.assert_close(mine, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("by_rows", [True, False])
def test_single_precision_is_as_exact_as_whole_products(by_rows, seed):
    torch.manual_seed(seed)
    g, x, w = torch.randn(9000, 70), torch.randn(9000, 50), torch.randn(70, 50)
    # Of fewer than 16 rows, plain products of this many tokens are themselves several times less exact.
    index = torch.randperm(50)[:19]
    exact = whole(g.double(), x.double(), w.double(), index, by_rows)
    plain = whole(g, x, w, index, by_rows)
    got = slices.linear_backward(g, x if by_rows else x[:, index], w, index, by_rows, needs=(True, True))
    for mine, theirs, right in zip(got, plain, exact, strict=True):
        assert (mine - right).abs().max() <= 2 * max((theirs - right).abs().max(), 2**-23 * right.abs().max())


def test_gradients_not_asked_for_are_not_formed():
    g, x, w = torch.ones(2, 3), torch.ones(2, 4), torch.ones(3, 4)
    for_inputs, for_bias, _ = slices.linear_backward(g, x, w, torch.tensor([0]), True, needs=(False, False))
    assert for_inputs is None
    assert for_bias is None


def test_half_precision_and_nothing_are_left_to_whole_products():
    assert slices.can_slice(torch.ones(2, 3))
    assert not slices.can_slice(torch.ones(2, 3, dtype=torch.float16))
    assert not slices.can_slice(torch.ones(0, 3))
