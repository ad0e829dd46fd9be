"""Projected gradient descent: inside the cube, uphill, the known optimum of a linear model, and no traces."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from studies.recipe.attack import pgd
from studies.recipe.streams import generator


def pictures(seed=0, count=4):
    return torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def loss_of():
    """The loss of a small smooth network in double precision."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(108, 16), nn.Tanh(), nn.Linear(16, 5)).double()
    return lambda images: functional.cross_entropy(model(images), torch.arange(4))


@settings(deadline=None, max_examples=40)
@given(
    epsilon=st.floats(0, 1), steps=st.integers(1, 4), step_size=st.floats(1e-3, 3), has_start=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_images_stay_in_the_cube_and_in_range(epsilon, steps, step_size, has_start, seed):
    images = pictures(seed)
    start = generator(seed) if has_start else None
    attacked = pgd(lambda x: (x * x.flip(0)).sin().sum(), images, epsilon, steps, step_size, start)
    assert (attacked - images).abs().max() <= epsilon + 1e-15
    assert 0 <= attacked.min() <= attacked.max() <= 1


@pytest.mark.parametrize("has_start", [False, True])
def test_loss_rises_with_the_radius(loss_of, has_start):
    images = pictures()
    losses = [
        loss_of(pgd(loss_of, images, epsilon, 10, 0.25 * epsilon, generator(0) if has_start else None)).item()
        for epsilon in (0.0, 0.01, 0.05, 0.2)
    ]
    assert losses[0] == loss_of(images).item()
    assert losses == sorted(losses)
    random = torch.Generator().manual_seed(1)
    corners = [images + 0.2 * (2 * torch.randint(0, 2, images.shape, generator=random) - 1) for _ in range(50)]
    assert losses[-1] > max(loss_of(corner.clamp(0, 1)).item() for corner in corners)


def test_radius_0_is_the_identity(loss_of):
    images = pictures()
    assert pgd(loss_of, images, 0.0, 3, 0.1, generator(0)) is images


@pytest.mark.parametrize("step_size", [0.1, 0.7])
def test_one_step_reaches_the_optimum_of_a_linear_model(step_size):
    images = 0.2 + 0.6 * pictures()
    weight = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight[0, 0] = 0
    attacked = pgd(lambda x: (x * weight).sum(), images, 0.1, 1, step_size)
    torch.testing.assert_close(attacked, images + 0.1 * weight.sign(), rtol=0, atol=1e-15)


def test_at_the_edge_of_the_range_the_optimum_is_cut_off():
    images = pictures()
    attacked = pgd(lambda x: x.sum(), images, 0.5, 1, 0.5)
    torch.testing.assert_close(attacked, (images + 0.5).clamp(max=1), rtol=0, atol=0)


def test_random_start_comes_from_the_generator_alone(loss_of):
    images, before = pictures(), torch.get_rng_state()
    first, again, other, none = (
        pgd(loss_of, images, 0.1, 1, 0.01, start) for start in (generator(0), generator(0), generator(1), None)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, none)
    assert torch.equal(torch.get_rng_state(), before)


def test_random_start_fills_the_cube():
    images = torch.full((4, 3, 32, 32), 0.5)
    change = (pgd(lambda x: 0 * x.sum(), images, 0.1, 1, 0.1, generator(0)) - images) / 0.1
    assert change.abs().max() <= 1 + 1e-5
    assert change.mean().abs() < 4 / (3 * change.numel()) ** 0.5
    assert abs(change.var().item() - 1 / 3) < 0.02


def test_parameters_and_mode_are_left_alone():
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 5), nn.Dropout(0.5)).double().train()
    model[1].weight.grad = torch.full_like(model[1].weight, 7.0)
    images = pictures()
    attacked = pgd(lambda x: functional.cross_entropy(model(x), torch.arange(4)), images, 0.1, 3, 0.1)
    assert (model[1].weight.grad == 7.0).all()
    assert model[1].bias.grad is None
    assert images.grad is None
    assert not attacked.requires_grad
    assert model.training


def test_it_works_where_gradients_are_switched_off(loss_of):
    images = pictures()
    with torch.no_grad():
        quiet = pgd(loss_of, images, 0.1, 2, 0.1)
    assert torch.equal(quiet, pgd(loss_of, images, 0.1, 2, 0.1))
    assert not torch.equal(quiet, images)
