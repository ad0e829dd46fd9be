"""Weights are found where they are said to be; where they are not, one error says what to do, at once."""

import time
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from studies import backbones
from studies.backbones import BACKBONES, MissingWeights
from studies.backbones.weights import fetch_command, fetch_weights, find_weights

CLIP = BACKBONES["clip-vit-b16"]
COMMAND = (
    "hf download timm/vit_base_patch16_clip_224.openai open_clip_model.safetensors "
    "--local-dir $GMIXOUT_WEIGHTS/vit_base_patch16_clip_224.openai"
)


def touched(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_missing_weights_are_one_clear_error(no_hub):
    with pytest.raises(MissingWeights) as caught:
        backbones.load("clip-vit-b16", 0, classes=["cat"])
    message = str(caught.value)
    assert "the weights of clip-vit-b16 are missing: open_clip_model.safetensors is expected as" in message
    assert str(no_hub / CLIP.folder / "open_clip_model.safetensors") in message
    assert "HF_HUB_OFFLINE is set" in message
    assert message.endswith(COMMAND)
    assert isinstance(caught.value, FileNotFoundError)


def test_missing_weights_without_a_folder_say_how_to_name_one(no_hub, monkeypatch):
    monkeypatch.delenv("GMIXOUT_WEIGHTS")
    with pytest.raises(MissingWeights, match="with GMIXOUT_WEIGHTS set to a folder of your choice"):
        fetch_weights("clip-vit-b16", CLIP)


def test_without_a_network_the_error_comes_soon(no_hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    started = time.monotonic()
    with pytest.raises(MissingWeights, match=r"the hub cannot be reached \(.*refused"):
        fetch_weights("clip-vit-b16", CLIP)
    assert time.monotonic() - started < 5


def test_offline_touches_no_network(no_hub, monkeypatch):
    monkeypatch.setattr("studies.backbones.weights._unreachable", lambda: pytest.fail("asked the network"))
    with pytest.raises(MissingWeights):
        fetch_weights("clip-vit-b16", CLIP)


def test_places_in_their_order(no_hub, tmp_path, monkeypatch):
    assert find_weights(CLIP) is None
    revision = tmp_path / "hub/models--timm--vit_base_patch16_clip_224.openai"
    cached = touched(revision / "snapshots/abc/open_clip_pytorch_model.bin")
    touched(revision / "refs/main").write_text("abc")
    assert find_weights(CLIP) == cached
    second = touched(no_hub / CLIP.folder / "open_clip_pytorch_model.bin")
    assert find_weights(CLIP) == second
    first = touched(no_hub / CLIP.folder / "open_clip_model.safetensors")
    assert find_weights(CLIP) == first
    given = touched(tmp_path / "elsewhere/mine.pt")
    assert find_weights(CLIP, given) == given
    assert find_weights(CLIP, given.parent) is None
    beside = touched(given.parent / "open_clip_model.safetensors")
    assert find_weights(CLIP, given.parent) == beside


def test_a_file_of_the_shared_folder_belongs_to_no_model(no_hub):
    touched(no_hub / "open_clip_model.safetensors")
    assert find_weights(CLIP) is None


def test_a_named_place_is_not_replaced_by_another(no_hub, tmp_path):
    touched(no_hub / CLIP.folder / "open_clip_model.safetensors")
    with pytest.raises(MissingWeights, match=r"it is not at .*nowhere"):
        fetch_weights("clip-vit-b16", CLIP, tmp_path / "nowhere")


class Missing(huggingface_hub.errors.EntryNotFoundError):
    def __init__(self):
        Exception.__init__(self, "no such file")


@pytest.fixture
def hub(no_hub, monkeypatch):
    """A hub that can be reached, with the files of a dictionary: a path, or what is raised."""
    files: dict[str, object] = {}

    def download(repository, file):
        found = files.get(file, Missing())
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("studies.backbones.weights._unreachable", lambda: "")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return files


def test_best_file_of_the_hub_is_taken(hub):
    hub["open_clip_pytorch_model.bin"] = "second"
    assert fetch_weights("clip-vit-b16", CLIP) == Path("second")
    hub["open_clip_model.safetensors"] = "first"
    assert fetch_weights("clip-vit-b16", CLIP) == Path("first")


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (Missing(), "the hub has no such file"),
        (LocalEntryNotFoundError("lost"), r"the hub cannot be reached \(lost\)"),
        (OSError("disk full"), r"the download failed \(disk full\)"),
    ],
)
def test_failing_downloads_are_the_same_clear_error(raised, told, hub):
    hub["open_clip_model.safetensors"] = raised
    with pytest.raises(MissingWeights, match=f"{told}; get it where there is a network: hf download"):
        fetch_weights("clip-vit-b16", CLIP)


def test_commands_name_the_best_file():
    assert fetch_command(CLIP) == COMMAND
    assert fetch_command(BACKBONES["dino-vit-b16"]).startswith("hf download timm/vit_base_patch16_224.dino model.safe")


def test_description_names_file_hash_source_and_licence(published, no_hub):
    found = backbones.describe("tiny-clip", 3)
    assert found["file"] == "open_clip_model.safetensors"
    assert (found["source"], found["licence"], found["pretrain_seed"]) == ("drawn by a test", "none", 3)
    assert set(found["libraries"]) == {"torch", "open_clip_torch"}
    assert len(found["sha256"]) == len(found["key"]) == 64
    assert not any(str(no_hub) in str(value) for value in found.values())
    assert backbones.describe("tiny-clip", 4)["key"] != found["key"]
    assert backbones.describe("tiny-vit", 3)["sha256"] != found["sha256"]


def test_presence_and_preparation(no_hub, published):
    assert backbones.is_cached("tiny-vit", 0)
    backbones.prepare("tiny-vit", 0)
    assert not backbones.is_cached("vit-b16", 0)
    with pytest.raises(FileNotFoundError, match="the weights of vit-b16 are not on this machine"):
        backbones.describe("vit-b16", 0)
    with pytest.raises(MissingWeights):
        backbones.prepare("vit-b16", 0)
