"""Models of timm classify as timm's own do on the same weights and pixels; heads are their own, or fresh."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import Normalize

from studies import backbones
from tests.studies.backbones.conftest import TIMM, TINY

SEVEN = tuple("abcdefg")


@pytest.mark.parametrize("name", TIMM)
def test_logits_are_those_of_timm(name, published, images):
    expected = published[name](Normalize(TINY[name].mean, TINY[name].std)(images))
    model = backbones.load(name, 0)
    torch.testing.assert_close(model(images), expected)
    assert torch.equal(backbones.load(name, 0, classes=SEVEN, head="own")(images), model(images))
    assert not model.training


@pytest.mark.parametrize("name", TIMM)
def test_fresh_head_reads_the_features(name, published, images):
    model = backbones.load(name, 0, classes=("cat", "dog"))
    assert isinstance(model.head, nn.Linear)
    assert model(images).shape == (3, 2)
    assert model.features(images).shape == (3, model.head.in_features)
    assert torch.equal(model.head(model.features(images)), model(images))
    assert torch.equal(model.features(images), backbones.load(name, 0).features(images))
    assert not torch.equal(model.head.weight, backbones.load(name, 1, classes=("cat", "dog")).head.weight)


def test_weights_without_a_head(published, no_hub, images):
    state = {name: value for name, value in published["tiny-vit"].state_dict().items() if not name.startswith("head.")}
    path = no_hub / "headless.pth"
    torch.save({"model": {f"module.{name}": value for name, value in state.items()}}, path)
    model = backbones.load("tiny-vit", 0, classes=SEVEN, weights=path)
    assert torch.equal(model.features(images), backbones.load("tiny-vit", 0).features(images))
    with pytest.raises(ValueError, match="has no linear classifier"):
        backbones.load("tiny-vit", 0, weights=path)


def test_no_second_copy_of_the_weights_is_kept(published):
    body = backbones.load("tiny-resnet", 0).body
    assert "state_dict" not in body.pretrained_cfg
    assert "state_dict" not in body.default_cfg


@pytest.mark.parametrize(
    "model", ["mobilenetv3_small_050", "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224"]
)
def test_other_models_of_timm_have_a_head_of_the_right_width(model):
    found = backbones.blank(f"timm:{model}", SEVEN)
    side = backbones.view_of(f"timm:{model}").crop
    assert found(torch.rand(1, 3, side, side)).shape == (1, 7)


def test_model_named_by_timm(no_hub, empty_cache):
    torch.manual_seed(0)
    theirs = timm.create_model("test_vit", num_classes=7).eval()
    declared = backbones.find("timm:test_vit")
    path = no_hub / declared.folder / declared.files[0]
    path.parent.mkdir(parents=True)
    save_file(theirs.state_dict(), path)
    pixels = torch.rand(2, 3, declared.view.crop, declared.view.crop)
    normalised = Normalize(declared.mean, declared.std)(pixels)
    torch.testing.assert_close(backbones.load("timm:test_vit", 0)(pixels), theirs(normalised))


def test_what_cannot_be_had_is_refused(published, no_hub):
    with pytest.raises(ValueError, match="a classifier of 7 classes, the benchmark has 2; choose head='random'"):
        backbones.load("tiny-vit", 0, classes=("cat", "dog"), head="own")
    with pytest.raises(ValueError, match=r"head of tiny-vit is one of random, own, got 'zero_shot'"):
        backbones.load("tiny-vit", 0, classes=SEVEN, head="zero_shot")
    with pytest.raises(ValueError, match="tiny-vit has no text tower to keep"):
        backbones.load("tiny-vit", 0, classes=SEVEN, keep_text=True)
    with pytest.raises(ValueError, match=r"tiny-vit cannot be read from .*model\.safetensors: the weights do not fit"):
        backbones.load("tiny-vit", 0, weights=no_hub / "tiny-resnet")
