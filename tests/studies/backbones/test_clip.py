"""CLIP classifies as open_clip's own pipeline does on the same weights; its text tower is there when it is needed."""

import dataclasses
import logging

import open_clip
import pytest
import torch
from open_clip.zero_shot_metadata import SIMPLE_IMAGENET_TEMPLATES
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from torchvision.transforms import Normalize

from studies import backbones
from studies.backbones import heads
from studies.backbones.clip import Clip
from studies.methods import METHODS
from studies.settings import CellSettings, Schedule
from studies.settings.traits import complete_options
from tests.studies.backbones.conftest import TINY

CLASSES = ("cat", "dog", "ice cream", "cat")


def load(**changes):
    return backbones.load("tiny-clip", 0, **({"classes": CLASSES} | changes))


def normalised(images):
    return Normalize(open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)(images)


@pytest.mark.parametrize("prompts", ["plain", "simple7"])
def test_logits_are_those_of_open_clip_s_zero_shot_pipeline(prompts, published, images):
    theirs = published["tiny-clip"]
    tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=20)
    templates = {"plain": ("a photo of a {}.",), "simple7": SIMPLE_IMAGENET_TEMPLATES}[prompts]
    weight = open_clip.build_zero_shot_classifier(theirs, tokenizer, CLASSES, templates)
    with torch.no_grad():
        expected = theirs.logit_scale.exp() * theirs.encode_image(normalised(images), normalize=True) @ weight
        model = load(prompts=prompts)
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
    assert not model.training
    assert torch.equal(model.head.bias, torch.zeros(len(CLASSES)))
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}


def test_head_by_hand(published):
    theirs = published["tiny-clip"].double()
    tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=20)
    weight = load(prompts="iwildcam").head.weight
    for row, name in zip(weight, CLASSES, strict=True):
        with torch.no_grad():
            texts = theirs.encode_text(tokenizer([f"a photo of {name}.", f"{name} in the wild."]))
        mean = (texts / texts.norm(dim=1, keepdim=True)).mean(dim=0)
        by_hand = theirs.logit_scale.exp() * mean / mean.norm()
        torch.testing.assert_close(row.double(), by_hand, rtol=1e-4, atol=1e-5)
    assert torch.equal(weight[0], weight[3])


def test_head_reads_unit_features(published, images):
    model = load()
    features = model.features(images)
    assert isinstance(model.head, nn.Linear)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(features, functional.normalize(model.encode_image(images), dim=1))
    assert torch.equal(model.head(features), model(images))


def test_text_tower_costs_nothing_unless_it_is_kept(published):
    model = load()
    assert {name.split(".")[0] for name in model.state_dict()} == {"visual", "head"}
    assert not any(hasattr(model, name) for name in ("text", "logit_scale", "prompts"))
    again = load()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_kept_text_tower_gives_the_head(published):
    model = load(prompts="simple7", keep_text=True)
    assert model.prompts.shape == (4, 7, 20)
    assert torch.equal(model.zero_shot_head(), model.head.weight)
    assert {name.split(".")[0] for name in model.state_dict()} == {"visual", "text", "logit_scale", "head"}
    with torch.no_grad():
        expected = published["tiny-clip"].encode_text(model.prompts[:, 0])
    torch.testing.assert_close(model.encode_text(model.prompts[:, 0]), expected)
    torch.testing.assert_close(backbones.zero_shot_head(model, CLASSES, "simple7"), model.head.weight.detach())


def test_head_is_kept_on_disk_by_weights_prompts_and_classes(published, empty_cache, monkeypatch):
    first = load().head.weight.detach()
    monkeypatch.setattr(Clip, "encode_text", None)
    assert torch.equal(load().head.weight, first)
    for change in ({"prompts": "cifar"}, {"classes": CLASSES[:3]}, {"classes": ("cot", *CLASSES[1:])}):
        with pytest.raises(TypeError):
            load(**change)
    assert len(list((empty_cache / "heads").glob("*.safetensors"))) == 1


@pytest.mark.parametrize("damage", ["flipped", "truncated"])
def test_damaged_head_is_made_again(damage, published, empty_cache, caplog):
    first = load().head.weight.detach()
    (path,) = (empty_cache / "heads").glob("*.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[:-9] if damage == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    with caplog.at_level(logging.WARNING):
        assert torch.equal(load().head.weight, first)
    assert caplog.text.count("is damaged; it is made again") == 1
    caplog.clear()
    assert torch.equal(load_file(path)["weight"], first)
    assert torch.equal(load().head.weight, first)
    assert not caplog.text


def test_progress_is_told(published, monkeypatch):
    monkeypatch.setattr("studies.backbones.clip.TEXTS_AT_ONCE", 5)
    seen = []
    load(prompts="iwildcam", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(5, 8), (8, 8)]


def test_random_head_is_a_function_of_the_seed(published):
    before = torch.random.get_rng_state()
    heads_of = [backbones.load("tiny-clip", seed, CLASSES, head="random").head.weight for seed in (0, 0, 1)]
    assert torch.equal(heads_of[0], heads_of[1])
    assert not torch.equal(heads_of[0], heads_of[2])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_in_half_precision_and_in_openai_s_form(published, no_hub, images):
    expected = load()(images)
    state = {name: value.half() for name, value in published["tiny-clip"].state_dict().items()}
    state |= {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
    path = no_hub / "half.pt"
    torch.save(state, path)
    model = load(weights=path, keep_text=True)
    assert model.logit_scale.dtype == torch.float32
    torch.testing.assert_close(model(images), expected, rtol=0.02, atol=0.1)


@pytest.mark.parametrize("quick", [True, False])
def test_activation_is_that_of_the_weights(quick, published, images, monkeypatch):
    tag = "openai" if quick else "laion2b_s34b_b79k"
    monkeypatch.setitem(backbones.BACKBONES, "tiny-clip", dataclasses.replace(TINY["tiny-clip"], tag=tag))
    theirs = open_clip.model.CLIP(**TINY["tiny-clip"].arguments, quick_gelu=quick).eval()
    theirs.load_state_dict(published["tiny-clip"].state_dict())
    with torch.no_grad():
        torch.testing.assert_close(load().encode_image(images), theirs.encode_image(normalised(images)))


def test_flyp_trains_it(published, images):
    model = load(keep_text=True, prompts="iwildcam")
    cell = CellSettings(benchmark="digits", manifest="00", backbone="tiny-clip", pretrain_seed=0, method="flyp",
                        seed=0, learning_rate=1e-2, training=Schedule(steps=2),
                        options=complete_options("flyp", {"train_text": False}))  # fmt: skip
    method = METHODS["flyp"](model, cell)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(method.trained.values(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        method.loss(images, torch.tensor([0, 1, 2]), functional.cross_entropy).backward()
        optimizer.step()
    merged = method.merge().state_dict()
    moved = {name for name, value in merged.items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("text") for name in moved)
    assert {"logit_scale", "visual.proj", "head.weight"} <= moved


def test_what_cannot_be_had_is_refused(published, no_hub):
    with pytest.raises(ValueError, match="needs the names of the classes for its head"):
        load(classes=None)
    with pytest.raises(ValueError, match="at least one class, got none"):
        load(classes=())
    with pytest.raises(ValueError, match=r"head of tiny-clip is one of zero_shot, random, got 'own'"):
        load(head="own")
    with pytest.raises(ValueError, match="unknown prompt set 'all'; choose one of plain, simple7, openai80"):
        load(prompts="all")
    wrong = no_hub / "wrong.safetensors"
    save_file({"text_model.encoder.weight": torch.zeros(2)}, wrong)
    with pytest.raises(ValueError, match=r"missing: .*; 1 unknown: text_model.encoder.weight; open_clip's ViT-B-32 is"):
        load(weights=wrong)


def test_global_random_state_is_left_alone(published):
    before = torch.random.get_rng_state()
    load()
    load(keep_text=True)
    backbones.blank("tiny-clip", CLASSES, keep_text=True)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_kept_head_waits_for_no_one_else(published, empty_cache):
    made = []
    for _ in range(2):
        heads.kept_head("00", "tiny-clip", ["a"], "plain", lambda: made.append(0) or torch.ones(1, 4))
    assert made == [0]
