"""Adapters on networks of the published classes: what they reach, that they merge, and what is refused."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from studies import backbones
from studies.backbones import BACKBONES
from studies.methods import METHODS
from studies.settings import Schedule
from tests.studies.backbones.conftest import TINY
from tests.studies.test_stepping import cell

CLASSES = ("cat", "dog", "ice cream")
LABELS = torch.tensor([0, 1, 2])
MLP = r".*mlp\.(c_fc|c_proj)"
ATTENTION = r".*\.resblocks\.\d+\.(attn|mlp\.c_fc|mlp\.c_proj)"

CASES = [
    ("tiny-clip", "lora", "all-linear"),
    ("tiny-clip", "lora", "all-weights"),
    ("tiny-clip", "lora", ATTENTION),
    ("tiny-clip", "dora", MLP),
    ("tiny-clip", "shira", MLP),
    ("tiny-vit", "lora", "all-weights"),
    ("tiny-vit", "dora", "all-weights"),
    ("tiny-vit", "shira", "all-linear"),
    ("tiny-convnext", "lora", "all-weights"),
    ("tiny-convnext", "dora", "all-weights"),
    ("tiny-resnet", "lora", "all-weights"),
    ("tiny-resnet", "dora", "all-weights"),
]


@pytest.fixture
def blank(monkeypatch):
    for name, declared in TINY.items():
        monkeypatch.setitem(BACKBONES, name, declared)

    def make(name):
        model = backbones.blank(name, CLASSES)
        generator = torch.Generator().manual_seed(0)
        # Fresh networks begin with zeros here and there, through which no gradient comes.
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
        return model

    return make


def steps(method, images, number):
    optimizer = torch.optim.AdamW(method.parameter_groups(0.0), lr=1e-2)
    for _ in range(number):
        optimizer.zero_grad()
        functional.cross_entropy(method.model(images), LABELS).backward()
        optimizer.step()
        method.after_step(optimizer)


@pytest.mark.parametrize(("name", "kind", "targets"), CASES)
def test_adapters_train_merge_and_go_on(name, kind, targets, blank, images):
    fresh = blank(name)

    def attach():
        return METHODS[kind](copy.deepcopy(fresh), cell(kind, Schedule(), targets=targets))

    method = attach()
    with torch.no_grad():
        assert torch.equal(method.model(images), fresh(images))
    frozen = {key: value.clone() for key, value in method._frozen().items()}
    steps(method, images, 2)
    # B of a LoRA starts at 0, so A has a gradient from the second step on: what has none never trains.
    assert all(value.grad is not None and value.grad.any() for value in method.trained.values())
    assert method._frozen().keys() == frozen.keys()
    assert all(torch.equal(value, frozen[key]) for key, value in method._frozen().items()), "frozen is frozen"
    other = attach()
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    with torch.no_grad():
        own = method.model(images)
        assert torch.equal(other.model(images), own)
        weights = method.reported_weights()
        with method.reported():
            reported = method.model(images)
        assert torch.equal(method.model(images), own)
        assert all(torch.equal(value, frozen[key]) for key, value in method._frozen().items())
        # An adapter beside its weight rounds otherwise than one within it.
        torch.testing.assert_close(reported, own, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(reported, fresh(images), atol=1e-3)
        merged = method.merge()
        assert list(weights) == list(merged.state_dict()) == list(fresh.state_dict())
        assert [type(part) for part in merged.modules()] == [type(part) for part in fresh.modules()]
        plain = copy.deepcopy(fresh)
        plain.load_state_dict(weights)
        assert torch.equal(plain(images), reported)
        assert torch.equal(merged(images), reported)


def test_reach_is_that_of_masks_but_for_what_the_library_cannot(blank, images):
    method = METHODS["lora"](blank("tiny-clip"), cell("lora", Schedule(), targets="all-linear"))
    adapted = {key.partition(".lora_")[0].replace(".base_layer", "") for key in method.trained if "lora_" in key}
    blocks = [f"visual.transformer.resblocks.{number}" for number in range(2)]
    inner = ("attn", "attn.out_proj", "mlp.c_fc", "mlp.c_proj")
    assert adapted == {f"{block}.{part}" for block in blocks for part in inner}
    convnext = blank("tiny-convnext")
    grouped = {key for key, part in convnext.named_modules() if isinstance(part, nn.Conv2d) and part.groups > 1}
    method = METHODS["lora"](convnext, cell("lora", Schedule(), targets="all-weights"))
    adapted = {key.partition(".lora_")[0] for key in method.trained if "lora_" in key}
    assert grouped
    assert not grouped & adapted
    assert adapted | grouped == {
        key.removesuffix(".base_layer")
        for key, part in method.model.named_modules()
        if type(part) in (nn.Conv2d, nn.Linear) and key != "head" and "lora_" not in key
    }


@pytest.mark.parametrize(
    ("name", "kind", "targets", "message"),
    [
        ("tiny-clip", "dora", "all-linear", r"dora cannot adapt .*attn: peft adapts .* LoRA alone; .* or use lora"),
        ("tiny-clip", "shira", "all-linear", "shira cannot adapt .*attn: .* LoRA alone"),
        ("tiny-clip", "lora", r".*out_proj", "out_proj is no layer of its own.* target .*attn "),
        ("tiny-convnext", "lora", r".*conv_dw", "cannot merge adapters of grouped convolutions"),
        ("tiny-resnet", "lora", "all-linear", "finds no layer of Classifier .* all-weights takes convolutions"),
        ("tiny-vit", "lora", "blocks", "finds no layer of Classifier by targets 'blocks'$"),
        ("tiny-vit", "lora", r"body\.norm", "no adapter for a LayerNorm"),
        ("tiny-resnet", "shira", r".*conv1", "for linear layers alone, and this is a Conv2d"),
    ],
)
def test_what_cannot_be_adapted_is_refused(name, kind, targets, message, blank):
    with pytest.raises(ValueError, match=message):
        METHODS[kind](blank(name), cell(kind, Schedule(), targets=targets))
