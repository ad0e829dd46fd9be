"""Bad input: one clear error each, before any training."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from gmixout import GMixout, Settings
from tests.gmixout.nets import DENSE, MASKED, perceptron, run, train


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparsity": 1.0}, r"sparsity must lie in \[0, 1\), got 1.0"),
        ({"sparsity": -0.1}, r"sparsity must lie in \[0, 1\), got -0.1"),
        ({"sparsity": math.nan}, "sparsity must be a number, got nan"),
        ({"sparsity": "0.5"}, "sparsity must be a number, got '0.5'"),
        ({"resample_every": 0}, "resample_every must be an integer from 1, or inf, got 0"),
        ({"resample_every": 2.5}, "resample_every must be an integer from 1, or inf, got 2.5"),
        ({"resample_every": True}, "resample_every must be a number, got True"),
        ({"anchor": "moving"}, "anchor must be one of pretrained, ema, latest, average, zero; got 'moving'"),
        ({"granularity": "filter"}, "granularity must be one of element, row, column, block; got 'filter'"),
        ({"ema_decay": 1.1}, r"ema_decay must lie in \[0, 1\], got 1.1"),
        ({"rescale": 1}, "rescale must be true or false, got 1"),
        ({"block_size": 32}, "block_size must be 64 or 128, got 32"),
        ({"group_size": 0}, "group_size must be at least 1, got 0"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"anchor": "zero"}, "anchor='zero' needs residual='carry'"),
    ],
)
def test_impossible_settings(change, message):
    with pytest.raises(ValueError, match=message):
        Settings(**change)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masked": "blocks"}, "masked='blocks' matches no parameter; the model's parameters are: 0.weight, 0.bias"),
        ({"masked": MASKED, "dense": ["missing"]}, r"dense=\['missing'\] matches no parameter"),
        ({"masked": MASKED, "dense": "weight|bias"}, "matches no parameter"),
        ({"masked": MASKED, "record": 0}, "record must be 'none', 'all' or a number of members from 1, got 0"),
    ],
)
def test_impossible_attachments_leave_the_model_alone(options, message):
    model = perceptron()
    with pytest.raises(ValueError, match=message):
        GMixout(model, Settings(), **options)
    assert list(model.state_dict()) == list(perceptron().state_dict())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_nothing_to_mask():
    model = nn.Sequential()
    model.add_module("norm", nn.LayerNorm(4))
    model.add_module("head", nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"nothing to mask.*name some with masked=.*head\.weight"):
        GMixout(model, Settings())


def test_columns_need_matrices():
    with pytest.raises(ValueError, match="granularity='column' needs weights of two or more dimensions"):
        GMixout(perceptron(), Settings(granularity="column"), masked="bias", dense="weight")


def test_a_second_method_on_the_same_model():
    model = perceptron()
    GMixout(model, Settings(), masked=MASKED, dense=DENSE)
    with pytest.raises(ValueError, match="carries a GMixout method already"):
        GMixout(model, Settings())


def test_an_optimiser_without_the_values():
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    method = GMixout(model, Settings(), masked=MASKED, dense=DENSE)
    with pytest.raises(ValueError, match="the optimiser lacks 2 of the method's 6 trained tensors"):
        train(method, optimizer, 1)
    with pytest.raises(ValueError, match="lacks 6 of the method's 6"):
        method.step()


def test_an_optimiser_whose_state_cannot_restart():
    with pytest.raises(
        ValueError, match="Rprop keeps 'prev', whose value at the start is unknown; use moments='carry'"
    ):
        run(Settings(resample_every=2), 3, lambda p: torch.optim.Rprop(p))


def test_settings_import_without_torch():
    code = "import sys; from gmixout.settings import Settings; Settings(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
