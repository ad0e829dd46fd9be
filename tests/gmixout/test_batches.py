"""Kernels and plain torch are the same method: whole runs, step for step, with either."""

import copy

import pytest
import torch
from torch import nn

from gmixout import AdamW, GMixout, Settings
from gmixout.batches import Batch, KernelBatch
from gmixout.kernels.launch import switched

STRUCTURES = {
    "element": {},
    "row": {"granularity": "row"},
    "column groups": {"granularity": "column", "group_size": 2},
    "block": {"granularity": "block", "sparsity": 0.5},
    "per step": {"anchor": "ema", "ema_update": "step", "ema_bias_correction": True},
    "residual, no rescaling": {"decay_to": "anchor", "rescale": False},
    "carried moments": {"moments": "carry", "anchor": "average"},
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 64), nn.Unflatten(1, (4, 4, 4)), nn.Conv2d(4, 6, 3), nn.Flatten(),
        nn.Linear(24, 3),
    )  # fmt: skip


MASKED = r"^(0|2)\.weight"


def train(choice, settings, steps, own=True, masked=MASKED, groups=False):
    """Weights, masks and members after some steps, with kernels or without."""
    with switched(choice):
        method = GMixout(network(), settings, masked=masked, record="all")
        parameters = method.parameter_groups(0.1) if groups else None
        if own:
            optimizer = AdamW(method, lr=1e-3, parameters=parameters)
        else:
            optimizer = torch.optim.AdamW(list(method.parameters()), lr=1e-3)
        kinds = {type(batch) for batch in method.batches}
        assert kinds == {KernelBatch if choice == "on" else Batch}
        random = torch.Generator().manual_seed(1)
        for _ in range(steps):
            inputs = torch.randn(8, 64, generator=random)
            nn.functional.cross_entropy(method.model(inputs), torch.arange(8) % 3).backward()
            optimizer.step()
            method.step(optimizer)
            optimizer.zero_grad()
        indices = {form.name: form.index.clone() for form in method.forms}
        members = []
        for member in method.members():
            with method.using(member) as model:
                members.append({name: value.detach().clone() for name, value in _effective(method, model).items()})
        counts = method.counts()
        return {n: p.detach() for n, p in method.merge().named_parameters()}, indices, members, counts


def _effective(method, model):
    return {form.name: form.override for form in method.forms}


def assert_alike(ours, theirs, tolerance=1e-5):
    assert ours[1].keys() == theirs[1].keys()
    assert ours[3] == theirs[3]
    for name in ours[1]:
        assert torch.equal(ours[1][name], theirs[1][name]), name
    assert len(ours[2]) == len(theirs[2])
    for mine, other in zip([ours[0], *ours[2]], [theirs[0], *theirs[2]], strict=True):
        for name in mine:
            torch.testing.assert_close(
                mine[name], other[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: n + m
            )


@pytest.mark.parametrize("own", [True, False], ids=["AdamW", "torch's AdamW"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_short_runs(name, own):
    settings = Settings(**({"sparsity": 0.75, "resample_every": 3} | STRUCTURES[name]))
    masked = MASKED if name == "block" else r"^(0|2|4)\.weight"
    assert_alike(*(train(choice, settings, 7, own, masked) for choice in ("on", "off")))


def test_two_hundred_steps():
    settings = Settings(sparsity=0.9, resample_every=20)
    # AdamW divides by the gradients' size: rounding of small ones grows over the steps.
    assert_alike(*(train(choice, settings, 200) for choice in ("on", "off")), tolerance=2e-4)


def test_parameter_groups_have_their_own_weight_decay():
    settings = Settings(sparsity=0.75, resample_every=3)
    assert_alike(*(train(choice, settings, 5, groups=True) for choice in ("on", "off")))


def test_own_optimizer_is_torchs_bit_for_bit_without_kernels():
    settings = Settings(sparsity=0.75, resample_every=3)
    with switched("off"):
        method = GMixout(network(), settings, masked=MASKED)
        other = GMixout(network(), settings, masked=MASKED)
        optimizers = AdamW(method, lr=1e-3), torch.optim.AdamW(list(other.parameters()), lr=1e-3, fused=True)
        for step in range(5):
            inputs = torch.randn(8, 64, generator=torch.Generator().manual_seed(step))
            for each, optimizer in zip((method, other), optimizers, strict=True):
                each.model(inputs).square().mean().backward()
                optimizer.step()
                each.step(optimizer)
                optimizer.zero_grad()
    for ours, theirs in zip(method.merge().parameters(), other.merge().parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("choice", ["on", "off"])
def test_a_weight_without_gradient_is_left_alone(choice):
    with switched(choice):
        method = GMixout(network(), Settings(sparsity=0.5), masked=MASKED)
        optimizer = AdamW(method, lr=0.1)
        before = method.forms[1].values.detach().clone()
        method.model[0](torch.ones(2, 64)).square().mean().backward()
        optimizer.step()
        method.step(optimizer)
        assert torch.equal(method.forms[1].values, before)
        assert not torch.equal(method.forms[0].values.detach(), method.forms[0].anchor)


def test_a_skipped_optimizer_step_still_counts_and_changes_nothing():
    with switched("on"):
        method = GMixout(network(), Settings(sparsity=0.5, resample_every=1), masked=MASKED)
        optimizer = AdamW(method)
        before = method.forms[0].weight.detach().clone()
        method.step(optimizer)
        assert method.episode == 1
        torch.testing.assert_close(method.forms[0].weight, before, rtol=0, atol=0)


def test_state_of_the_optimizer_is_torchs():
    with switched("on"):
        method = GMixout(network(), Settings(sparsity=0.5), masked=MASKED)
        optimizer = AdamW(method)
        method.model(torch.ones(2, 64)).square().mean().backward()
        optimizer.step()
        theirs = torch.optim.AdamW(list(method.parameters()), fused=True)
        theirs.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        optimizer.load_state_dict(theirs.state_dict())
        assert {name for state in optimizer.state.values() for name in state} == {"step", "exp_avg", "exp_avg_sq"}
        optimizer.step()
        method.step(optimizer)


def test_hooks_run_once_a_step():
    method = GMixout(network(), Settings(), masked=MASKED)
    optimizer = AdamW(method)
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    torch.optim.AdamW([torch.zeros(1)])
    optimizer.step()
    assert calls == [1]


@pytest.mark.parametrize("choice", ["on", "off"])
@pytest.mark.parametrize("storage", ["plain", "hilo"])
def test_a_redraw_moves_no_tensor(choice, storage):
    with switched(choice):
        method = GMixout(network(), Settings(sparsity=0.5, resample_every=2, storage=storage), masked=MASKED)
        optimizer = AdamW(method)

        def pointers():
            tensors = [tensor for form in method.forms for tensor in form.tensors().values() if tensor is not None]
            return [t.data_ptr() for state in optimizer.state.values() for t in state.values()] + [
                tensor.data_ptr() for tensor in tensors
            ]

        seen = set()
        for _ in range(4):
            method.model(torch.ones(2, 64)).square().mean().backward()
            optimizer.step()
            method.step(optimizer)
            seen.add(tuple(pointers()))
        assert method.episode == 2
        assert len(seen) == 1


@pytest.mark.parametrize("choice", ["on", "off"])
def test_a_gradient_scaler_changes_nothing(choice):
    ends = []
    with switched(choice):
        for is_scaled in (False, True):
            method = GMixout(network(), Settings(sparsity=0.5, resample_every=2), masked=MASKED)
            optimizer = AdamW(method, lr=1e-2)
            scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=is_scaled)
            for step in range(3):
                inputs = torch.randn(4, 64, generator=torch.Generator().manual_seed(step))
                scaler.scale(method.model(inputs).square().mean()).backward()
                scaler.step(optimizer)
                scaler.update()
                method.step(optimizer)
                optimizer.zero_grad()
            ends.append(list(method.merge().parameters()))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*ends, strict=True))
