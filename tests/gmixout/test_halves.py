"""``storage="hilo"``: the same run with weights in two halves, and not a bit lost."""

import pytest
import torch
from torch import nn

from gmixout import AdamW, GMixout, Settings, hilo
from gmixout.batches import HalvesBatch, KernelBatch
from gmixout.kernels.launch import switched
from tests.gmixout.nets import batch

STRUCTURES = {
    "element": {},
    "row": {"granularity": "row"},
    "column": {"granularity": "column"},
    "per step": {"ema_update": "step"},
    "residual, carried moments": {"decay_to": "anchor", "moments": "carry", "rescale": False},
    "maximal sparsity": {"sparsity": 0.99},
}
MASKED = r"^[02]\.weight$"


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 10), nn.Tanh(), nn.Linear(10, 3))


def attach(storage, **changes):
    point = {"sparsity": 0.5, "resample_every": 3} | changes
    return GMixout(network(), Settings(storage=storage, **point), masked=MASKED, record="all")


def train(method, optimizer, steps, start=0):
    for step in range(start, start + steps):
        inputs, labels = batch(step)
        nn.functional.cross_entropy(method.model(inputs), labels).backward()
        optimizer.step()
        method.step(optimizer)
        optimizer.zero_grad()


def parameters_of(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("choice", ["off", "on"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_runs_are_those_of_plain_storage(name, choice):
    ends, members = [], []
    for storage in ("hilo", "plain"):
        with switched(choice if storage == "hilo" else "off"):
            method = attach(storage, **STRUCTURES[name])
            optimizer = AdamW(method, lr=1e-3, weight_decay=0.1)
            if storage == "hilo":
                assert {type(one) for one in method.batches} == {KernelBatch if choice == "on" else HalvesBatch}
            train(method, optimizer, 8)
            for member in method.members():
                with method.using(member):
                    members.append([form.override.clone() for form in method.forms])
            ends.append(parameters_of(method.merge()))
    # A rescaled value is recovered from the weight, so the last digits differ, and AdamW's division shows them.
    for key, value in ends[0].items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, ends[1][key], rtol=1e-4, atol=1e-5)
    half = len(members) // 2
    for ours, theirs in zip(members[:half], members[half:], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_whatever_was_never_trained_comes_back_bit_for_bit():
    method = attach("hilo", sparsity=0.9)
    optimizer = AdamW(method, lr=1e-2)
    train(method, optimizer, 7)
    touched = [sum(form.plan.keep(episode) for episode in range(3)).bool() for form in method.forms]
    merged = dict(method.merge().named_parameters())
    before = dict(network().named_parameters())
    for name, mask in zip(("0.weight", "2.weight"), touched, strict=True):
        assert torch.equal(merged[name][~mask], before[name][~mask])
        assert not torch.equal(merged[name][mask], before[name][mask])


def test_values_and_weights_take_two_bytes_each_half():
    method = attach("hilo")
    for form in method.forms:
        assert (form.weight.dtype, form.lo.dtype) == (torch.bfloat16, torch.int16)
        assert form.values.untyped_storage().nbytes() == 4
        assert form.values.shape == form.support.shape
        assert torch.equal(form.dense(), hilo.join(form.weight.detach(), form.lo))


def test_bfloat16_products_read_the_upper_half_itself():
    method = attach("hilo")
    with torch.autocast("cpu", torch.bfloat16):
        weight = method.model[0].weight
    assert weight.data_ptr() == method.forms[0].weight.data_ptr()
    assert weight.dtype == torch.bfloat16
    assert method.model[0].weight.dtype == torch.float32


def test_resumes_bit_for_bit_in_the_middle_of_an_episode():
    ends = []
    for interrupted in (False, True):
        method = attach("hilo")
        optimizer = AdamW(method)
        train(method, optimizer, 5)
        if interrupted:
            state, moments = method.state_dict(), optimizer.state_dict()
            method = attach("hilo")
            method.load_state_dict(state)
            optimizer = AdamW(method)
            optimizer.load_state_dict(moments)
        train(method, optimizer, 4, start=5)
        ends.append(parameters_of(method.merge()))
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name


def test_another_optimizer_is_refused_in_the_first_backward_pass():
    method = attach("hilo")
    torch.optim.SGD(list(method.parameters()), lr=0.1)
    inputs, _ = batch(0)
    with pytest.raises(RuntimeError, match=r"build gmixout\.AdamW"):
        method.model(inputs).sum().backward()


def test_what_cannot_be_split_is_refused_before_anything_changes():
    with pytest.raises(ValueError, match=r"float32 weights, got torch.float64 of 0.weight"):
        GMixout(network().double(), Settings(storage="hilo"), masked=MASKED)
    with pytest.raises(ValueError, match="needs the sparse form"):
        GMixout(network(), Settings(storage="hilo", residual="carry", anchor="pretrained"), masked=MASKED)
    with pytest.raises(ValueError, match="count='exact'"):
        Settings(storage="hilo", count="bernoulli")


def test_compiles_as_one_graph_without_recompiling_at_a_redraw():
    method = attach("hilo", resample_every=1)
    optimizer = AdamW(method)
    # Graphs of other tests guard on other choices of kernels.
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled = torch.compile(method.model, fullgraph=True, backend="aot_eager")
        for step in range(3):
            compiled(batch(step)[0]).square().mean().backward()
            optimizer.step()
            method.step(optimizer)
            optimizer.zero_grad()
