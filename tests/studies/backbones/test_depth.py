"""Depths of parameters: timm's own where there is timm's own, by hand elsewhere; and rates that follow them."""

import pytest
import torch
from timm.optim import param_groups_layer_decay

from gmixout import GMixout, Settings
from studies import backbones
from studies.backbones import BACKBONES
from studies.backbones.depth import distances
from studies.layers import FACTOR, by_layer
from tests.studies.backbones.conftest import TIMM, TINY, library_model

CLASSES = ("cat", "dog", "ice cream")


@pytest.fixture
def blank(monkeypatch):
    for name, declared in TINY.items():
        monkeypatch.setitem(BACKBONES, name, declared)
    return lambda name: backbones.blank(name, CLASSES, keep_text=name == "tiny-clip")


@pytest.mark.parametrize("name", TIMM)
def test_rates_are_those_of_timm(name, blank):
    theirs = library_model(TINY[name])
    groups = param_groups_layer_decay(theirs, layer_decay=0.5)
    factors = {id(value): group["lr_scale"] for group in groups for value in group["params"]}
    ours = distances(blank(name))
    compared = 0
    for parameter, value in theirs.named_parameters():
        if f"body.{parameter}" in ours:
            compared += 1
            assert 0.5 ** ours[f"body.{parameter}"] == factors[id(value)], parameter
    assert compared == len(ours) - 2
    assert ours["head.weight"] == ours["head.bias"] == 0


def test_both_towers_of_clip_are_counted_from_the_top(blank):
    found = distances(blank("tiny-clip"))
    assert {name: found[name] for name in ("head.weight", "logit_scale")} == {"head.weight": 0, "logit_scale": 0}
    expected = {
        "visual.proj": 1,
        "visual.ln_post.weight": 1,
        "visual.transformer.resblocks.1.attn.in_proj_weight": 1,
        "visual.transformer.resblocks.0.attn.in_proj_weight": 2,
        "visual.ln_pre.weight": 3,
        "visual.conv1.weight": 3,
        "visual.class_embedding": 3,
        "visual.positional_embedding": 3,
        "text.text_projection": 1,
        "text.ln_final.weight": 1,
        "text.transformer.resblocks.0.mlp.c_fc.weight": 1,
        "text.token_embedding.weight": 2,
        "text.positional_embedding": 2,
    }
    assert {name: found[name] for name in expected} == expected
    assert set(found.values()) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["tiny-clip", "tiny-vit", "tiny-resnet", "digits-vit-tiny", "digits-convnet"])
def test_masks_and_groups_leave_depths_alone(name, blank):
    model = blank(name) if name in TINY else BACKBONES[name].build()
    plain = distances(model)
    method = GMixout(model, Settings(sparsity=0.5, resample_every=1))
    groups = by_layer([group for group in method.parameter_groups(0.1) if group["params"]], model, 0.5)
    by_id = {id(value): group for group in groups for value in group["params"]}
    assert len(by_id) == len(list(method.parameters()))
    for parameter, value in method.named_parameters():
        assert by_id[id(value)][FACTOR] == 0.5 ** plain[parameter]
        assert by_id[id(value)]["weight_decay"] == (0.1 if value.ndim >= 2 or parameter in masked(method) else 0.0)
    optimizer = torch.optim.AdamW(groups)
    assert {group[FACTOR] for group in optimizer.param_groups} == {0.5**number for number in plain.values()}


def masked(method):
    return {form.name for form in method.forms}


def test_no_decay_leaves_groups_and_a_foreign_model_is_refused():
    net = torch.nn.Sequential(torch.nn.Linear(2, 2))
    groups = [{"params": list(net.parameters())}]
    assert by_layer(groups, net, 1.0) is groups
    with pytest.raises(ValueError, match=r"got a Sequential; set training\.layer_decay to 1"):
        by_layer(groups, net, 0.9)
