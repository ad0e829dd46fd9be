"""One cache folder, so that the tiny backbone is pretrained once; small published backbones, with their files."""

import pytest
import timm
import torch
from huggingface_hub import constants
from open_clip.model import CLIP
from safetensors.torch import save_file

from studies.backbones import BACKBONES, Published
from studies.backbones.published import CLIP_FILES, HALF, OPENAI_MEAN, OPENAI_STD
from studies.benchmarks.images import View


@pytest.fixture
def cache_folder(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp().parent / "gmixout-cache"
    monkeypatch.setenv("GMIXOUT_CACHE", str(folder))
    return folder


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GMIXOUT_CACHE", str(tmp_path))
    return tmp_path


CLIP_ARGUMENTS = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}

TINY: dict[str, Published] = {
    "tiny-clip": Published(
        "clip", "ViT-B-32", "openai", "someone/tiny-clip", "drawn by a test", "none", CLIP_FILES, OPENAI_MEAN,
        OPENAI_STD, View(32, 32), CLIP_ARGUMENTS,
    ),
    "tiny-vit": Published(
        "timm", "vit_tiny_patch16_224", "augreg_in21k_ft_in1k", "someone/tiny-vit", "drawn by a test", "none",
        mean=HALF, std=HALF, view=View(36, 32),
        arguments={"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2},
    ),
    "tiny-convnext": Published(
        "timm", "convnext_atto", "d2_in1k", "someone/tiny-convnext", "drawn by a test", "none", view=View(32, 32),
        arguments={"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)},
    ),
    "tiny-resnet": Published(
        "timm", "resnet18", "a1_in1k", "someone/tiny-resnet", "drawn by a test", "none", view=View(32, 32),
        arguments={"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16)},
    ),
}  # fmt: skip
"""Backbones of the real classes, but small."""

TIMM = [name for name in TINY if name != "tiny-clip"]


@pytest.fixture
def no_hub(tmp_path, monkeypatch):
    """The hub is out of reach, and its client's cache and the folder of weights are empty. Returns the latter."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("GMIXOUT_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def published(no_hub, empty_cache, monkeypatch):
    """The small backbones by name, with random weights in files as the hub has them. Returns the libraries' models."""
    for name, declared in TINY.items():
        monkeypatch.setitem(BACKBONES, name, declared)
    models = {}
    for name, declared in TINY.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            models[name] = library_model(declared).eval()
        path = no_hub / declared.folder / declared.files[0]
        path.parent.mkdir(parents=True)
        save_file(models[name].state_dict(), path)
    return models


def library_model(declared):
    """The library's own model: open_clip's class with both towers in one, or timm's with seven classes."""
    if declared.family == "clip":
        return CLIP(**declared.arguments, quick_gelu=True)
    return timm.create_model(declared.architecture, num_classes=7, **declared.arguments)


@pytest.fixture
def images():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
