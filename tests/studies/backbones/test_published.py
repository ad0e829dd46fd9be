"""What the table says of published weights is what the libraries say; views are the libraries' own transforms."""

import math

import numpy as np
import open_clip
import pytest
import timm
from open_clip import pretrained
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision.transforms import InterpolationMode

from studies.backbones import BACKBONES, Published, find, view_of

CLIPS = [name for name, found in BACKBONES.items() if isinstance(found, Published) and found.has_text]
TIMMS = [name for name, found in BACKBONES.items() if isinstance(found, Published) and not found.has_text]


@pytest.fixture(scope="module", params=[(301, 260), (260, 301), (224, 500), (90, 77)])
def picture(request):
    pixels = np.random.default_rng(0).integers(0, 256, (*request.param, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", CLIPS)
def test_clip_facts_are_those_of_open_clip(name):
    found = BACKBONES[name]
    known = pretrained.get_pretrained_cfg(found.architecture, found.tag)
    assert known["hf_hub"] == f"{found.repository}/"
    assert (known["mean"], known["std"]) == (found.mean, found.std)
    assert (known["interpolation"], known["resize_mode"]) == (found.view.interpolation, "shortest")
    side = open_clip.get_model_config(found.architecture)["vision_cfg"]["image_size"]
    assert found.view.resize == found.view.crop == side
    named = find(f"{name}:{found.tag}")
    assert (named.repository, named.files, named.view) == (found.repository, found.files, found.view)


@pytest.mark.parametrize("name", TIMMS)
def test_timm_facts_are_those_of_timm(name):
    found = BACKBONES[name]
    model = f"{found.architecture}.{found.tag}"
    facts = timm.get_pretrained_cfg(model).to_dict()
    seen = resolve_data_config(pretrained_cfg=facts)
    assert facts["hf_hub_id"] == found.repository
    assert facts["license"] == found.licence
    assert (seen["mean"], seen["std"]) == (found.mean, found.std)
    assert found.view.crop == seen["input_size"][1]
    assert found.view.resize == math.floor(found.view.crop / seen["crop_pct"])
    named = find(f"timm:{model}")
    assert (named.repository, named.files, named.view) == (found.repository, found.files, found.view)
    assert (named.mean, named.std, named.licence) == (found.mean, found.std, found.licence)


def test_clip_view_is_open_clip_s_transform(picture):
    interpolation = InterpolationMode.BICUBIC
    transform = open_clip.image_transform(224, is_train=False, interpolation=interpolation.value)
    whole = [step for step in transform.transforms if type(step).__name__ in ("Resize", "CenterCrop")]
    theirs = picture
    for step in whole:
        theirs = step(theirs)
    assert len(whole) == 2
    assert np.array_equal(view_of("clip-vit-b16").cut(picture), np.asarray(theirs))


@pytest.mark.parametrize("name", TIMMS)
def test_timm_view_is_timm_s_transform(name, picture):
    found = BACKBONES[name]
    facts = timm.get_pretrained_cfg(f"{found.architecture}.{found.tag}").to_dict()
    transform = create_transform(**resolve_data_config(pretrained_cfg=facts))
    theirs = transform.transforms[1](transform.transforms[0](picture))
    assert np.array_equal(found.view.cut(picture), np.asarray(theirs))


def test_any_model_of_timm_has_a_name():
    tiny = find("timm:vit_tiny_patch16_224")
    assert tiny.repository == "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert find("timm:resnet50.tv_in1k").licence == "bsd-3-clause"


def test_other_weights_of_a_clip_have_a_name():
    found = find("clip-vit-l14:laion2b_s32b_b82k")
    assert found.mean == (0.5, 0.5, 0.5)
    assert found.licence == "stated on the hub by laion/CLIP-ViT-L-14-laion2B-s32B-b82K"


BAD = {
    "timm:vit_tny_patch16_224": "timm has no model 'vit_tny_patch16_224'; names like it: vit_tiny_patch16_224",
    "timm:resnet50.nobody": "timm has no model 'resnet50.nobody'; names like it: ",
    "timm:zzz": "timm has no model 'zzz'$",
    "timm:": "timm has no model ''",
    "clip-vit-b16:nobody": "open_clip has no weights 'nobody' of ViT-B-16; choose one of openai, ",
    "digits-vit:openai": "unknown backbone 'digits-vit:openai'",
    "vit-b16:openai": "unknown backbone 'vit-b16:openai'",
}


@pytest.mark.parametrize("name", BAD)
def test_unknown_names_are_refused_with_a_hint(name):
    with pytest.raises(ValueError, match=BAD[name]):
        find(name)


def test_models_that_see_no_square_cut_from_the_middle_are_refused():
    with pytest.raises(ValueError, match="only squares cut from the middle are supported"):
        find("timm:eva02_large_patch14_448.mim_m38m_ft_in22k_in1k")
