"""Robust accuracy: brute force on a linear model, never above clean accuracy, deaf to the scale of the logits."""

import numpy as np
import pytest
import torch
from torch import nn

from studies.evaluate import logits
from studies.recipe import robust_accuracy
from studies.recipe.robustness import LOSSES
from studies.settings.attack import Attack


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (150, 2, 2, 3), dtype=np.uint8)


class Linear(nn.Module):
    """Two classes, told apart by one weighted sum of pixels."""

    def __init__(self, scale=1.0):
        super().__init__()
        weight = np.random.default_rng(1).normal(size=12)
        self.weight = nn.Parameter(torch.tensor(scale * weight, dtype=torch.float32))
        self.bias = nn.Parameter(torch.tensor(-scale * weight.sum() / 2, dtype=torch.float32))

    def forward(self, images):
        lead = images.flatten(1) @ self.weight + self.bias
        return torch.stack([-lead, lead], dim=1)


def lead_of(pictures, labels, epsilon):
    """The least lead of the right class over the whole cube, exactly: each pixel is moved against it."""
    pixels = pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1) / 255
    weight = np.random.default_rng(1).normal(size=12)
    sign = np.where(labels == 1, 1, -1)
    worst = np.clip(pixels - epsilon * np.sign(sign[:, None] * weight), 0, 1)
    return sign * (worst @ weight - weight.sum() / 2)


@pytest.fixture(scope="module")
def labels(pictures):
    is_right = np.random.default_rng(2).random(len(pictures)) < 0.9
    return np.where(is_right, lead_of(pictures, np.ones(len(pictures)), 0.0) > 0, -1).clip(0).astype(np.int64)


@pytest.mark.parametrize("losses", [("cross_entropy",), ("margin",), ("cross_entropy", "margin")])
@pytest.mark.parametrize("epsilon", [0.01, 0.05, 0.1, 0.3])
def test_linear_model_by_brute_force(pictures, labels, epsilon, losses):
    attack = Attack(epsilon=epsilon, losses=losses, examples=1000)
    exact = (lead_of(pictures, labels, epsilon) > 0).mean()
    assert robust_accuracy(Linear(), pictures, labels, attack, seed=0) == exact


def test_scale_of_the_logits_hides_nothing(pictures, labels):
    robust = [
        robust_accuracy(Linear(scale), pictures, labels, Attack(epsilon=0.1, examples=1000), seed=0)
        for scale in (1e-3, 1.0, 1e3)
    ]
    assert robust[0] == robust[1] == robust[2]
    sure = Attack(epsilon=0.1, examples=1000, losses=("cross_entropy",))
    assert robust_accuracy(Linear(1e4), pictures, labels, sure, seed=0) > robust[0]


def test_cross_entropy_is_attacked_where_single_precision_has_no_gradient(pictures):
    class OneSided(Linear):
        def forward(self, images):
            return super().forward(images) * torch.tensor([0.0, 1.0])

    leads = lead_of(pictures, np.ones(len(pictures)), 0.0)
    sure = pictures[(leads > 0.7) & (leads < 1.1)]
    ones = np.ones(len(sure), dtype=np.int64)
    attack = Attack(epsilon=0.15, losses=("cross_entropy",))
    assert robust_accuracy(OneSided(25.0), sure, ones, attack, seed=0) == (lead_of(sure, ones, 0.15) > 0).mean() < 0.5


def test_losses_by_hand():
    scores, labels = torch.tensor([[1.0, -2.0, -3.0], [0.0, 4.0, 1.0]]), torch.tensor([0, 2])
    assert LOSSES["margin"](scores, labels).item() == -3 + 3
    assert LOSSES["margin"](scores[:1], labels[:1]).item() == -3
    exact = -torch.log_softmax(scores.double(), dim=1)[[0, 1], labels].sum()
    assert LOSSES["cross_entropy"](scores, labels).item() == pytest.approx(exact.item(), rel=1e-12)


def test_an_image_that_is_wrong_as_it_is_never_counts():
    class WrongAtCentre(nn.Module):
        def forward(self, images):
            distance = (images - 128 / 255).abs().amax(dim=(1, 2, 3))
            return torch.stack([torch.full_like(distance, 1e-4), distance], dim=1)

    grey, one = np.full((3, 2, 2, 3), 128, dtype=np.uint8), np.ones(3, dtype=np.int64)
    timid = Attack(epsilon=0.1, steps=1, step_size=1e-6)
    assert robust_accuracy(WrongAtCentre(), grey, 1 - one, timid, seed=0) == 0.0
    assert robust_accuracy(WrongAtCentre(), grey, one, timid, seed=0) == 0.0


def test_never_above_clean_accuracy_and_less_with_more_of_everything(fresh, examples):
    images, labels = examples.images, logits(fresh, examples.images).argmax(axis=1)
    labels[::10] = (labels[::10] + 1) % 10
    clean = (logits(fresh, images).argmax(axis=1) == labels).mean()

    def robust(seed=0, **changes):
        attack = Attack(epsilon=0.05, steps=1, step_size=1e-5, examples=60, losses=("margin",))
        return robust_accuracy(fresh, images, labels, attack.model_copy(update=changes), seed)

    assert robust() <= clean == 0.9
    assert len({robust(seed) for seed in range(4)}) > 1
    restarted = [robust(restarts=count) for count in range(1, 9)]
    assert restarted == sorted(restarted, reverse=True)
    assert restarted[-1] < restarted[0]
    assert robust(steps=10, step_size=1e-3) < robust()
    assert robust(epsilon=0.15) < robust()


def test_only_the_first_images_are_attacked(pictures, labels):
    attack = Attack(epsilon=0.1, examples=120)
    heard: list[int] = []
    robust = robust_accuracy(Linear(), pictures, labels, attack, seed=0, after_batch=heard.append)
    assert robust == (lead_of(pictures[:120], labels[:120], 0.1) > 0).mean()
    assert heard == [100, 20]


def test_it_is_repeatable_and_leaves_no_trace(examples):
    class Watched(nn.Module):
        """A linear model that remembers the modes it was asked in."""

        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3072, 10)
            self.modes: set[bool] = set()

        def forward(self, images):
            self.modes.add(self.training)
            return self.inner(images.flatten(1))

    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        model = Watched().train()
    with torch.no_grad():
        labels = model(torch.tensor(examples.images).permute(0, 3, 1, 2).float() / 255).argmax(dim=1).numpy()
    model.modes.clear()
    before = torch.get_rng_state()
    attack = Attack(epsilon=0.004, steps=1, step_size=0.001)
    found = [robust_accuracy(model, examples.images, labels, attack, seed=0) for _ in range(2)]
    assert found[0] == found[1]
    assert 0 < found[0] < 1
    assert model.modes == {False}
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_no_images_are_an_error(pictures, labels):
    with pytest.raises(ValueError, match="at least one image, got none"):
        robust_accuracy(Linear(), pictures[:0], labels[:0], Attack(), seed=0)
