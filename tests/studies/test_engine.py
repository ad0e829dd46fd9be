"""How steps are carried out: in half precision with float32 masters, compiled, recomputed, channels last."""

import copy

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.amp import GradScaler

from studies.checkpoint import Checkpointing, read
from studies.engine import PLAIN, Engine
from studies.failures import Diverged, Stopped
from studies.methods import METHODS
from studies.modes import train_mode
from studies.precision import Precision
from studies.recipe import Additions
from studies.settings import Schedule
from studies.stepping import Stepper
from studies.train import train
from tests.studies.test_stepping import ROBUST, batch, cell, gradients

__all__ = ["batch"]


def attach(fresh, method, schedule):
    return METHODS[method](copy.deepcopy(fresh), cell(method, schedule))


def run(method, examples, schedule, *checkpointing, engine=PLAIN):
    return train(method.model, method, examples, examples, schedule, 1e-3, 3, *checkpointing, engine=engine)


def equal(one, other):
    return all(torch.equal(one[name], value) for name, value in other.items())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("method", ["full", "gmixout", "mixout"])
def test_products_are_half_and_masters_are_not(method, precision, fresh, batch):
    schedule = Schedule(steps=9, precision=precision)
    attached = attach(fresh, method, schedule)
    train_mode(attached.model)
    seen = set()
    attached.model.blocks[0].mlp.fc1.register_forward_hook(lambda layer, given, out: seen.add(out.dtype))
    optimizer = torch.optim.AdamW(attached.parameter_groups(0.0), fused=True)
    stepper = Stepper(attached, Additions(schedule.recipe, [6] * 10, 3), schedule, PLAIN)
    losses = [stepper.step(optimizer, *batch, number) for number in range(2)]
    assert seen == {getattr(torch, precision)}
    held = [value for state in optimizer.state.values() for value in state.values()]
    trained = [value for group in optimizer.param_groups for value in group["params"]]
    for tensor in [*held, *trained, *(value.grad for value in trained), *attached.reported_weights().values()]:
        assert tensor.dtype == torch.float32
    exact = gradients(fresh, method, Schedule(steps=9), PLAIN, batch)[1]
    # Eight bits of a number are kept in bfloat16, eleven in float16.
    assert losses[0] == pytest.approx(exact, rel=0.02)
    assert losses[0] != exact


def test_attacks_of_float16_are_made_without_it(fresh, batch):
    schedule = Schedule(steps=9, precision="float16", recipe=ROBUST)
    attached = attach(fresh, "full", schedule)
    seen = []
    attached.model.head.register_forward_hook(lambda layer, given, out: seen.append(out.dtype))
    optimizer = torch.optim.AdamW(attached.parameter_groups(0.0), fused=True)
    Stepper(attached, Additions(ROBUST, [6] * 10, 3), schedule, PLAIN).step(optimizer, *batch, 0)
    assert seen == [torch.float32, torch.float32, torch.float16]


def test_scaled_run_goes_on_bit_for_bit_through_overflows(fresh, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(
        Precision,
        "scaler",
        lambda self: GradScaler("cpu", init_scale=2.0**60, growth_interval=2, backoff_factor=2**-22),
    )
    schedule = Schedule(steps=7, precision="float16", weight_decay=0.1, layer_decay=0.5)
    whole_path, path = tmp_path / "whole.pt", tmp_path / "stopped.pt"
    whole, weights = attach(fresh, "gmixout", schedule), []
    progress = train(
        whole.model, whole, examples, examples, schedule, 1e-3, 3, Checkpointing(whole_path),
        lambda step: weights.append(copy.deepcopy(whole.reported_weights())),
    )  # fmt: skip
    assert equal(weights[0], fresh.state_dict()), "a gradient that overflows takes no step"
    assert not equal(weights[-1], fresh.state_dict())
    scale = read(whole_path, "cpu")["scaler"]
    assert 0 < scale["scale"] < 2.0**60
    for stop in (1, 4):
        path.unlink(missing_ok=True)
        asks = iter([*[False] * (stop - 1), True]).__next__
        with pytest.raises(Stopped):
            run(attach(fresh, "gmixout", schedule), examples, schedule, Checkpointing(path, 1e9, asks))
        rest = attach(fresh, "gmixout", schedule)
        assert run(rest, examples, schedule, Checkpointing(path)).curve == progress.curve
        assert equal(rest.reported_weights(), whole.reported_weights())
        assert read(path, "cpu")["scaler"] == scale


def test_gradient_that_never_fits_is_an_alarm(fresh, examples):
    schedule = Schedule(steps=60, precision="float16")
    method = attach(fresh, "full", schedule)
    # Finite, with a gradient of 0 times infinity.
    method.loss = lambda images, targets, criterion: (method.model(images).float().sum() * 0).sqrt()
    with pytest.raises(Diverged, match=r"overflows float16 at every scale at step 27"):
        run(method, examples, schedule)


def test_evaluation_stays_in_single_precision(fresh, examples):
    schedule = Schedule(steps=2, validate_every=1, precision="bfloat16")
    method = attach(fresh, "full", schedule)
    seen = set()
    method.model.head.register_forward_hook(lambda layer, given, out: seen.add((layer.training, out.dtype)))
    run(method, examples, schedule)
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}


@pytest.mark.parametrize("method", ["full", "gmixout", "mixout"])
def test_recomputed_blocks_give_the_same_bits_and_keep_less(method, fresh, batch):
    sizes = {}

    def kept(engine):
        held = []

        def pack(tensor):
            held.append(tensor.numel() * tensor.element_size())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            found, _ = gradients(fresh, method, Schedule(steps=9), engine, batch)
        sizes[engine.recomputes] = sum(held)
        return found

    whole, anew = kept(PLAIN), kept(Engine(recomputes=True))
    assert whole.keys() == anew.keys()
    assert equal(whole, anew)
    assert sizes[True] < 0.7 * sizes[False]


def test_model_is_itself_again_after_recomputing(fresh, examples):
    schedule = Schedule(steps=2)
    one, other = (attach(fresh, "full", schedule) for _ in range(2))
    run(one, examples, schedule)
    run(other, examples, schedule, engine=Engine(recomputes=True))
    assert equal(one.reported_weights(), other.reported_weights())
    assert [type(block) for block in other.model.blocks] == [type(block) for block in fresh.blocks]
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    plain.head = plain[1]
    with pytest.raises(ValueError, match=r"Sequential has no blocks .* execution\.activation_checkpointing"):
        run(METHODS["linear_probe"](plain, cell("linear_probe", schedule)), examples, schedule,
            engine=Engine(recomputes=True))  # fmt: skip


def test_channels_last_is_the_same_step(fresh, batch):
    model = copy.deepcopy(fresh).to(memory_format=torch.channels_last)
    for method in ("full", "gmixout", "mixout"):
        schedule = Schedule(steps=9, gradient_clip=None)
        exact, loss = gradients(fresh, method, schedule, PLAIN, batch, torch.float64)
        found, same = gradients(model, method, schedule, Engine(channels_last=True), batch, torch.float64)
        assert same == pytest.approx(loss, rel=1e-12)
        for name, gradient in exact.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-13, msg=name)
    assert model.stem[0].weight.is_contiguous(memory_format=torch.channels_last)


class Small(nn.Module):
    """Little to compile: the compiler takes seconds a layer."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 64), nn.GELU())
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.head(self.body(images))


@pytest.mark.slow
def test_compiled_steps_are_the_same_and_compiled_once(batch):
    torch.manual_seed(0)
    fresh = Small()
    schedule = Schedule(steps=9, gradient_clip=None)
    found = []
    for engine in (PLAIN, Engine(compiles=True)):
        # Every step ends with a redraw.
        attached = METHODS["gmixout"](copy.deepcopy(fresh), cell("gmixout", schedule, period=1))
        train_mode(attached.model)
        stepper = Stepper(attached, Additions(schedule.recipe, [6] * 10, 3), schedule, engine)
        optimizer = torch.optim.SGD(
            [value for group in attached.parameter_groups(0.0) for value in group["params"]], 0.1
        )
        graphs = []
        for number in range(4):
            loss = stepper.step(optimizer, *batch, number)
            graphs.append(counters["stats"]["unique_graphs"])
        found.append((loss, attached.reported_weights()))
        assert attached.method.episode == 4
    assert graphs[0] > 0
    assert len(set(graphs)) == 1, "a new mask compiles nothing"
    (loss, weights), (same, compiled) = found
    assert same == pytest.approx(loss, rel=1e-4)
    for name, value in weights.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-4, msg=name)
