"""Tensors are read from every kind of file that is allowed, and from no file that could run code."""

import os
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from studies import backbones
from studies.backbones.tensors import TorchScriptError, put_tensors, read_tensors

STATE = {"a.weight": torch.ones(2, 3), "b": torch.tensor(4.0)}


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth"])
@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}])
def test_state_dicts_of_torch_are_read(suffix, wrap, tmp_path):
    path = tmp_path / f"weights{suffix}"
    torch.save(wrap({f"module.{name}": value for name, value in STATE.items()}), path)
    found = read_tensors(path)
    assert found.keys() == STATE.keys()
    assert torch.equal(found["a.weight"], STATE["a.weight"])


def test_safetensors_are_read(tmp_path):
    save_file(STATE, tmp_path / "weights.safetensors")
    assert read_tensors(tmp_path / "weights.safetensors").keys() == STATE.keys()


def test_averaged_weights_come_first(tmp_path):
    torch.save({"model": {"a": torch.zeros(1)}, "model_ema": {"a": torch.ones(1)}}, tmp_path / "w.pt")
    assert read_tensors(tmp_path / "w.pt")["a"].item() == 1


def test_code_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Bomb()}, "w.pt")
    with pytest.raises(ValueError, match="would run code, which is refused"):
        read_tensors(tmp_path / "w.pt")
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def archive(tmp_path):
    """What a TorchScript archive looks like from outside: writing a real one is deprecated in torch."""
    path = tmp_path / "ViT-B-32.pt"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            file.writestr(f"ViT-B-32/{name}", b"")
    return path


def test_torchscript_is_refused_with_what_to_do(archive, no_hub, published):
    with pytest.raises(TorchScriptError, match="is a TorchScript archive: a program, which is not run"):
        read_tensors(archive)
    with pytest.raises(ValueError, match="converted to a state dict: hf download someone/tiny-clip open_clip_model"):
        backbones.load("tiny-clip", 0, classes=["cat"], weights=archive)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.bin"])
def test_damaged_files_are_named(name, tmp_path):
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_file(STATE, path)
    else:
        torch.save(STATE, path)
    for content in (path.read_bytes()[:-40], b"", b"torn"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.*damaged"):
            read_tensors(path)


def test_other_kinds_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"read from .safetensors, .bin, .pt and .pth files, got .*w.npz"):
        read_tensors(tmp_path / "w.npz")
    torch.save([torch.ones(1)], tmp_path / "w.pt")
    with pytest.raises(ValueError, match="holds a list without weights"):
        read_tensors(tmp_path / "w.pt")
    torch.save({"a": torch.ones(1), "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="is no state dict: epoch are no tensors"):
        read_tensors(tmp_path / "w.pt")


def test_tensors_that_do_not_fit_are_counted_and_named(tmp_path):
    model = nn.Linear(3, 2)
    put_tensors(model, {"weight": torch.zeros(2, 3), "bias": torch.ones(2)}, tmp_path)
    assert torch.equal(model.bias, torch.ones(2))
    with pytest.raises(
        ValueError, match=r"1 missing: bias; 1 unknown: c; 1 of another shape: weight \(1×3 instead of 2×3\); ask"
    ):
        put_tensors(model, {"weight": torch.zeros(1, 3), "c": torch.ones(2)}, tmp_path, "ask")
