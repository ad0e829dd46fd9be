"""Saving and resuming: bit for bit, also in the middle of an episode, and never onto another base model."""

import io
import math

import pytest
import torch

from gmixout import GMixout, Settings
from tests.gmixout.nets import DENSE, MASKED, assert_equal, perceptron, train, weights

SETTINGS = [
    Settings(sparsity=0.6, resample_every=4),
    Settings(sparsity=0.6, resample_every=4, moments="carry", ema_update="step", ema_bias_correction=True),
    Settings(sparsity=0.6, resample_every=4, residual="carry", anchor="average", ema_update="step"),
    Settings(sparsity=0.6, resample_every=4, residual="carry", decay_to="anchor", ema_update="step"),
    Settings(sparsity=0.6, resample_every=3, count="bernoulli", report="student"),
    Settings(sparsity=0.6, resample_every=1, granularity="row", decay_to="anchor"),
    Settings.mixout(0.6),
    Settings.random_mask(0.6),
]


def attach(settings, seed=0):
    method = GMixout(perceptron(seed=seed), settings, masked=MASKED, dense=DENSE, record="all")
    return method, torch.optim.AdamW(method.parameters(), lr=1e-2, weight_decay=0.1)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("stop", [0, 3, 4, 6])
def test_a_resumed_run_ends_in_the_same_bits(settings, stop):
    whole, optimizer = attach(settings)
    train(whole, optimizer, 10)

    first, first_optimizer = attach(settings)
    train(first, first_optimizer, stop)
    file = io.BytesIO()
    torch.save({"method": first.state_dict(), "optimizer": first_optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second, second_optimizer = attach(settings)
    second.load_state_dict(saved["method"])
    second_optimizer.load_state_dict(saved["optimizer"])
    assert [m.episode for m in second.members()] == [m.episode for m in first.members()]
    train(second, second_optimizer, 10 - stop, start=stop)

    assert whole.members() == second.members()
    for member in whole.members():
        with whole.using(member), second.using(member):
            for ours, theirs in zip(whole.forms, second.forms, strict=True):
                assert torch.equal(ours.override, theirs.override)
    assert_equal(weights(whole.merge()), weights(second.merge()))


def test_state_of_another_base_model_is_refused():
    method, _ = attach(Settings())
    other, _ = attach(Settings(), seed=1)
    with pytest.raises(ValueError, match=r"another base model: its weights' fingerprint is .*attach to the pretrained"):
        other.load_state_dict(method.state_dict())


def test_state_of_other_settings_is_refused():
    method, _ = attach(Settings(sparsity=0.5))
    other, _ = attach(Settings(sparsity=0.6, resample_every=math.inf))
    with pytest.raises(ValueError, match=r"other settings: resample_every=100 \(here inf\), sparsity=0.5 \(here 0.6\)"):
        other.load_state_dict(method.state_dict())


def test_state_of_other_dense_parameters_is_refused():
    method, _ = attach(Settings())
    other = GMixout(perceptron(), Settings(), masked=MASKED, dense=r"^4\.")
    with pytest.raises(ValueError, match=r"other dense parameters: 0\.bias, 2\.bias"):
        other.load_state_dict(method.state_dict())


def test_fingerprint_sees_one_flipped_bit():
    model = perceptron()
    before = GMixout(model, Settings(), masked=MASKED, dense=DENSE).fingerprint
    other = perceptron()
    with torch.no_grad():
        other[0].weight.view(torch.int32)[0, 0] ^= 1
    assert GMixout(other, Settings(), masked=MASKED, dense=DENSE).fingerprint != before
