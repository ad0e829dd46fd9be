"""Small models and runs that the method's tests share."""

import torch
from torch import nn
from torch.nn import functional

from gmixout import GMixout, Settings


def perceptron(dtype=torch.float32, seed=0):
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 10), nn.Tanh(), nn.Linear(10, 3)).to(dtype)
    torch.random.set_rng_state(torch_state)
    return model


MASKED = r"^[02]\.weight$"
DENSE = r"^4\.|bias"


def batch(step, dtype=torch.float32, size=8):
    generator = torch.Generator().manual_seed(1000 + step)
    return torch.randn(size, 12, generator=generator).to(dtype), torch.randint(0, 3, (size,), generator=generator)


def train(method, optimizer, steps, start=0, dtype=torch.float32, after=None):
    """Takes ``steps`` optimiser steps on a stream of batches that depends on the step's number only."""
    for step in range(start, start + steps):
        inputs, labels = batch(step, dtype)
        functional.cross_entropy(method.model(inputs), labels).backward()
        optimizer.step()
        method.step(optimizer)
        optimizer.zero_grad()
        if after is not None:
            after(step)


def run(settings: Settings, steps=12, optimizer=None, record="none", dtype=torch.float32, **options):
    """Attaches to a fresh perceptron, trains, and returns the method."""
    method = GMixout(perceptron(dtype), settings, masked=MASKED, dense=DENSE, record=record, **options)
    make = optimizer or (lambda parameters: torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.01))
    train(method, make(method.parameters()), steps, dtype=dtype)
    return method


def weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_equal(left, right):
    assert list(left) == list(right)
    for name in left:
        assert torch.equal(left[name], right[name]), name


def assert_close(left, right, **tolerances):
    assert list(left) == list(right)
    for name in left:
        torch.testing.assert_close(left[name], right[name], msg=lambda text, name=name: f"{name}: {text}", **tolerances)
