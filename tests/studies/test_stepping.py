"""Batches in parts: the whole batch's step, or a refusal where the images of a batch depend on each other."""

import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from studies.checkpoint import Checkpointing
from studies.engine import PLAIN, Engine, halved
from studies.failures import Stopped
from studies.methods import METHODS
from studies.modes import require_separable, train_mode
from studies.recipe import Additions
from studies.settings import CellSettings, Schedule
from studies.settings.levers import canonical_levers
from studies.settings.points import complete_levers
from studies.settings.recipe import Recipe
from studies.settings.traits import complete_options
from studies.stepping import Stepper
from studies.train import train

EVERYTHING = Recipe(augmentation="randaugment", mixup_alpha=0.4, cutmix_alpha=0.4, flip=0.5)
ROBUST = Recipe(adversarial_epsilon=0.05, adversarial_steps=2)


def cell(method, schedule, period=None, **options):
    levers = {}
    if method in ("gmixout", "mixout"):
        given = {"sparsity": 0.5} | ({"resample_every": period} if period else {})
        levers = canonical_levers(complete_levers(method, given), schedule.steps, schedule.weight_decay)
    return CellSettings(
        benchmark="digits", manifest="00", backbone="digits-vit-tiny", pretrain_seed=0, method=method, seed=3,
        learning_rate=1e-3, training=schedule, levers=levers, options=complete_options(method, options),
    )  # fmt: skip


def gradients(fresh, method, schedule, engine, batch, dtype=torch.float32):
    """What one step leaves in ``.grad``, by name, and the loss."""
    model = copy.deepcopy(fresh).to(dtype)
    attached = METHODS[method](model, cell(method, schedule))
    train_mode(attached.model)
    stepper = Stepper(attached, Additions(schedule.recipe, [6] * 10, 3), schedule, engine)
    named = {name: value for name, value in attached.model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(attached.parameter_groups(0.0))
    loss = stepper.step(optimizer, batch[0].to(dtype), batch[1], 0)
    return {name: value.grad for name, value in named.items() if value.grad is not None}, loss


@pytest.fixture(scope="module")
def batch(examples):
    images = torch.tensor(examples.images[:13]).permute(0, 3, 1, 2) / 255
    return images, torch.tensor(examples.labels[:13])


@pytest.mark.parametrize(
    ("method", "recipe"),
    [("full", EVERYTHING), ("l2_sp", Recipe(loss="class_balanced")), ("gmixout", Recipe()), ("mixout", EVERYTHING)],
)
@pytest.mark.parametrize("size", [1, 5])
def test_parts_add_up_to_the_whole_batch(method, recipe, size, fresh, batch):
    schedule = Schedule(steps=9, batch_size=13, recipe=recipe, gradient_clip=None)
    engine = Engine(micro_batch=size)
    exact, exact_loss = gradients(fresh, method, schedule, Engine(), batch, torch.float64)
    found, loss = gradients(fresh, method, schedule, engine, batch, torch.float64)
    assert found.keys() == exact.keys()
    assert loss == pytest.approx(exact_loss, rel=1e-12)
    for name, gradient in exact.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-13, msg=name)
    # In single precision the order of the sums may cost as much again as single precision itself.
    whole, _ = gradients(fresh, method, schedule, Engine(), batch)
    parts, _ = gradients(fresh, method, schedule, engine, batch)
    largest = max(value.abs().max() for value in exact.values())
    for name, gradient in exact.items():
        allowed = max((whole[name] - gradient).abs().max(), 4 * torch.finfo(torch.float32).eps * largest)
        assert (parts[name] - gradient).abs().max() <= 2 * allowed, name


@pytest.mark.parametrize("parts", [2, 13])
@pytest.mark.parametrize("start", [True, False])
def test_attack_in_parts_starts_and_ends_where_the_whole_one_does(parts, start, batch):
    recipe = ROBUST.model_copy(update={"adversarial_start": start})
    additions = Additions(recipe, [6] * 10, 3)

    def loss(images, targets):
        return (images.sin() * (targets - 4)[:, None, None, None]).sum()

    assert torch.equal(additions.attack(loss, *batch, 5), additions.attack(loss, *batch, 5, parts))


@given(st.integers(1, 300), st.one_of(st.none(), st.integers(1, 400)))
def test_halving_ends_at_single_images_and_never_changes_the_batch(size, first):
    engine, seen = Engine(micro_batch=first), []
    while engine is not None:
        sizes = [len(part) for part in torch.zeros(size).tensor_split(engine.parts(size))]
        assert sum(sizes) == size
        assert min(sizes) >= 1
        assert engine.micro_batch is None or max(sizes) <= engine.micro_batch
        seen.append(max(sizes))
        engine = halved(engine, size)
    assert seen[-1] == 1
    assert all(after <= -(-before // 2) for before, after in itertools.pairwise(seen))


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, 10)

    def forward(self, images):
        return self.head(self.body(images))


def run(method, schedule, examples, engine=PLAIN):
    torch.manual_seed(0)
    attached = METHODS[method](Normed(), cell(method, schedule))
    before = {name: value.clone() for name, value in attached.model.state_dict().items()}
    progress = train(attached.model, attached, examples, examples, schedule, 1e-3, 3, engine=engine)
    after = attached.reported_weights()
    return {name for name, value in before.items() if not torch.equal(after[name], value)}, progress


def test_statistics_of_batches_follow_what_trains(examples):
    looks = Schedule(steps=4, validate_every=2)
    statistics = {"body.1.running_mean", "body.1.running_var"}
    # A look at ID validation in between must not wake a frozen norm up.
    assert run("linear_probe", looks, examples)[0] == {"head.weight", "head.bias"}
    assert run("full", looks, examples)[0] >= statistics
    assert run("bias_norm", looks, examples)[0] >= statistics | {"body.1.weight"}
    moved, _ = run("full", looks.model_copy(update={"batch_norm": "frozen"}), examples)
    assert not moved & statistics
    assert "body.1.weight" in moved


def test_dependent_images_are_not_parted(examples):
    half = Engine(micro_batch=8)
    with pytest.raises(ValueError, match=r"batch norms .* set training\.batch_norm: frozen"):
        run("full", Schedule(steps=2), examples, half)
    assert run("full", Schedule(steps=2), examples, Engine(micro_batch=16))[1].step == 2
    assert run("linear_probe", Schedule(steps=2), examples, half)[1].step == 2
    assert run("full", Schedule(steps=2, batch_norm="frozen"), examples, half)[1].step == 2
    lonely = METHODS["linear_probe"](Normed(), cell("linear_probe", Schedule()))
    lonely.couples_images = True
    with pytest.raises(ValueError, match="compares the images of a batch"):
        require_separable(lonely)


def test_parted_run_goes_on_bit_for_bit(fresh, examples, tmp_path):
    schedule = Schedule(steps=4, recipe=EVERYTHING)

    def parted(*checkpointing):
        method = METHODS["gmixout"](copy.deepcopy(fresh), cell("gmixout", schedule))
        train(method.model, method, examples, examples, schedule, 1e-3, 3, *checkpointing, engine=Engine(micro_batch=5))
        return method.reported_weights()

    whole = parted()
    asked = iter([False, True])
    with pytest.raises(Stopped):
        parted(Checkpointing(tmp_path / "checkpoint.pt", 1e9, lambda: next(asked)))
    rest = parted(Checkpointing(tmp_path / "checkpoint.pt"))
    assert all(torch.equal(rest[name], value) for name, value in whole.items())
