"""The method masks every kind of published backbone by parameter: it trains, merges, and leaves a plain module."""

import pytest
import torch
from torch.nn import functional

from gmixout import GMixout, Settings
from gmixout.targets import assign
from studies import backbones
from tests.studies.backbones.conftest import TINY

CLASSES = ("cat", "dog", "ice cream")

MASKED = {
    "tiny-clip": {
        "visual.transformer.resblocks.0.attn.in_proj_weight",
        "visual.transformer.resblocks.0.attn.out_proj.weight",
        "visual.transformer.resblocks.1.mlp.c_fc.weight",
        "visual.proj",
    },
    "tiny-vit": {"body.blocks.0.attn.qkv.weight", "body.blocks.0.attn.proj.weight", "body.blocks.1.mlp.fc2.weight"},
    "tiny-convnext": {"body.stages.0.blocks.0.conv_dw.weight", "body.stages.1.downsample.1.weight"},
    "tiny-resnet": {"body.layer1.0.conv1.weight", "body.layer4.0.downsample.0.weight"},
}
FROZEN = {
    "tiny-clip": {"visual.class_embedding", "visual.positional_embedding", "visual.conv1.weight"},
    "tiny-vit": {"body.cls_token", "body.pos_embed", "body.patch_embed.proj.weight"},
    "tiny-convnext": set(),
    "tiny-resnet": set(),
}


@pytest.fixture(params=TINY)
def name(request):
    return request.param


def test_roles(name, published):
    roles = assign(backbones.load(name, 0, classes=CLASSES), None, None)
    masked, dense, frozen = ({target.name for target in role} for role in (roles.masked, roles.dense, roles.frozen))
    assert masked >= MASKED[name]
    assert frozen == FROZEN[name]
    assert {"head.weight", "head.bias"} <= dense
    assert all(target.parameter.ndim >= 2 for target in roles.masked)
    assert {target.parameter.ndim for target in roles.dense if not target.name.startswith("head.")} == {1}


@pytest.mark.parametrize("granularity", ["element", "row", "column", "block"])
@pytest.mark.parametrize("residual", ["reset", "carry"])
def test_trains_and_merges(name, granularity, residual, published, images):
    model = backbones.load(name, 0, classes=CLASSES)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    settings = Settings(
        sparsity=0.5, granularity=granularity, residual=residual, resample_every=1, anchor="ema", ema_decay=0.5
    )
    method = GMixout(model, settings)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.05)
    for _ in range(2):
        loss = functional.cross_entropy(model(images), torch.tensor([0, 1, 2]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.step(optimizer)
    with method.reported(), torch.no_grad():
        reported = model(images)
    merged = method.merge()
    with torch.no_grad():
        torch.testing.assert_close(merged(images), reported)
    after = merged.state_dict()
    assert list(after) == list(before)
    moved = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert moved >= MASKED[name] | {"head.weight"}
    assert not moved & FROZEN[name]
    fresh = backbones.blank(name, CLASSES)
    fresh.load_state_dict(after)
    with torch.no_grad():
        torch.testing.assert_close(fresh(images), merged(images))
