"""The kernels as torch sees them: schemas, fake tensors and dispatch, and Mixout that draws its coins in them."""

import pytest
import torch
from torch import nn

from gmixout import GMixout, Settings, operators
from gmixout.kernels.geometry import Geometry
from gmixout.kernels.launch import switched
from tests.gmixout.nets import batch, perceptron

GEOMETRY = Geometry("column", segments=1, length=5, count=2, rows=4, inputs=5)
EPISODE = torch.tensor([3])
CALLS = {
    "gather": (
        operators.gather,
        (
            torch.randn(4, 5),
            torch.tensor([3, 0], dtype=torch.int32),
            operators.as_numbers(GEOMETRY),
            2.0,
            torch.float64,
        ),
    ),
    "cast_and_gather": (operators.cast_and_gather, (torch.randn(2, 3, 7), torch.tensor([6, 0, 1]), torch.float16)),
    "gather_columns": (operators.gather_columns, (torch.randn(3, 7), torch.tensor([6, 0], dtype=torch.int32))),
    "block_gradient": (
        operators.block_gradient,
        (torch.randn(5, 64), torch.randn(5, 128), torch.tensor([1], dtype=torch.int32), 64, torch.float32),
    ),
    "mix": (operators.mix, (torch.randn(5, 7), torch.randn(5, 7), EPISODE, -3, 2**30, None, 4.0, torch.float16)),
    "mix of a stored mask": (
        operators.mix,
        (torch.randn(5, 7), torch.randn(5, 7), None, 0, 0, torch.rand(5, 7) < 0.5, 4.0, torch.float32),
    ),
    "mix_gradient": (operators.mix_gradient, (torch.randn(5, 7), EPISODE, 2**62, 2**32, None, 4.0, torch.float32)),
    "mix_gradient of a stored mask": (
        operators.mix_gradient,
        (torch.randn(5, 7), None, 0, 0, torch.rand(5, 7) < 0.5, 4.0, torch.float32),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_operator_keeps_torchs_contract(name):
    operator, arguments = CALLS[name]
    with switched("on"):
        torch.library.opcheck(operator, arguments)


def test_tiles_have_a_plain_form_that_is_an_operator_too():
    with switched("off"):
        torch.library.opcheck(*CALLS["block_gradient"])


def train(choice, settings, steps=5, compiles=False):
    with switched(choice):
        method = GMixout(perceptron(), settings, masked=r"^[02]\.weight$", record="all")
        draws = choice == "on" and settings.granularity == "element" and settings.count == "bernoulli"
        assert {form.stored is None for form in method.forms} == {draws}
        optimizer = torch.optim.AdamW(list(method.parameters()), lr=1e-2)
        model = torch.compile(method.model, fullgraph=True, backend="aot_eager") if compiles else method.model
        masks = []
        for step in range(steps):
            inputs, labels = batch(step)
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
            masks.append([form.keep.clone() for form in method.forms])
            method.step(optimizer)
            optimizer.zero_grad()
        members = []
        for member in method.members():
            with method.using(member):
                members.append([form.override.clone() for form in method.forms])
        return masks, members, [parameter.detach().clone() for parameter in method.merge().parameters()]


@pytest.mark.parametrize(
    "settings",
    [
        Settings.mixout(0.5),
        Settings.mixout(0.5, gradient="published", granularity="row"),
        Settings(sparsity=0.5, count="bernoulli", resample_every=2),
        Settings(sparsity=0.5, residual="carry", resample_every=2, anchor="pretrained", rescale=False),
    ],
    ids=["Mixout", "rows, published", "coins, reset", "exact counts, carried"],
)
def test_dense_runs_with_kernels_are_those_without(settings):
    ours, theirs = (train(choice, settings) for choice in ("on", "off"))
    for step in zip(ours[0], theirs[0], strict=True):
        assert all(torch.equal(mine, other) for mine, other in zip(*step, strict=True))
    torch.testing.assert_close(ours[1:], theirs[1:], rtol=1e-4, atol=1e-5)


def test_compiled_mixout_sees_every_new_mask_without_recompiling():
    # Graphs of other tests guard on other choices of kernels.
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled = train("on", Settings.mixout(0.5), compiles=True)
    torch.testing.assert_close(compiled[1:], train("on", Settings.mixout(0.5))[1:], rtol=1e-5, atol=1e-6)


def test_mixout_hands_out_what_autocast_wants():
    with switched("on"), torch.autocast("cpu", torch.bfloat16):
        method = GMixout(perceptron(), Settings.mixout(0.5), masked=r"^[02]\.weight$")
        weight = method.model[0].weight
        assert weight.dtype == torch.bfloat16
        weight.float().square().sum().backward()
        gradient = method.forms[0].trained.grad
    assert gradient.dtype == torch.float32
    assert torch.equal(gradient != 0, method.forms[0].keep & (weight != 0))
