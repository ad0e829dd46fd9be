"""Every backbone keeps the contract: shapes, a linear head over its features, names as timm gives them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from studies import backbones
from studies.backbones import BACKBONES, Backbone
from studies.benchmarks.images import View

OURS = [name for name, found in BACKBONES.items() if isinstance(found, Backbone)]


@pytest.fixture(params=OURS)
def model(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BACKBONES[request.param].build()


def test_head_reads_the_features(model):
    images = torch.rand(3, 3, 32, 32)
    assert isinstance(model.head, nn.Linear)
    assert model.features(images).shape == (3, model.head.in_features)
    torch.testing.assert_close(model.head(model.features(images)), model(images))
    assert model(images).shape == (3, 10)


def test_every_parameter_receives_a_gradient(model):
    model(torch.rand(2, 3, 32, 32)).logsumexp(1).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_nothing_depends_on_the_batch(model):
    images = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(model(images)[:1], model(images[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["digits-vit", "digits-convnet"])
def test_size(name):
    assert 350_000 < sum(parameter.numel() for parameter in BACKBONES[name].build().parameters()) < 500_000


def test_transformer_names_are_those_of_timm():
    names = {name for name, _ in BACKBONES["digits-vit"].build().named_parameters()}
    block = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    expected = {f"blocks.{i}.{part}.{kind}" for i in (0, 1) for part in block for kind in ("weight", "bias")}
    assert expected == {name for name in names if name.startswith("blocks.")}
    assert {name.split(".")[0] for name in names} == {"stem", "pos_embed", "blocks", "norm", "head"}


def test_unknown_backbone_is_refused_with_the_valid_names():
    with pytest.raises(
        ValueError, match=r"unknown backbone 'clip'; choose one of clip-vit-b16, .* digits-convnet, digits-vit"
    ):
        backbones.load("clip", 0)


@pytest.mark.parametrize("seed", [-1, 0.5, True])
def test_other_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="pretrain_seed must be an integer of 0 or more"):
        backbones.is_cached("digits-vit-tiny", seed)


def test_digits_take_their_own_classes_and_no_others(cache_folder):
    ten = tuple("0123456789")
    assert backbones.load("digits-vit-tiny", 0, classes=ten, prompts="simple7", head="own").head.out_features == 10
    with pytest.raises(ValueError, match="knows the digits' classes 0 to 9 alone, got 2 classes, the first 'cat'"):
        backbones.load("digits-vit-tiny", 0, classes=["cat", "dog"])
    with pytest.raises(ValueError, match="has its pretrained head, got head='random'"):
        backbones.load("digits-vit-tiny", 0, classes=ten, head="random")
    with pytest.raises(ValueError, match=r"reads no file, got weights='w\.safetensors'"):
        backbones.load("digits-vit-tiny", 0, weights=Path("w.safetensors"))
    with pytest.raises(ValueError, match="no text tower to keep"):
        backbones.load("digits-vit-tiny", 0, keep_text=True)


@pytest.mark.parametrize("name", OURS)
def test_digits_are_seen_as_they_are_drawn(name):
    assert backbones.view_of(name) == View(32, 32, "bilinear")
    assert backbones.blank(name, tuple("0123456789"), device="meta").head.weight.is_meta
