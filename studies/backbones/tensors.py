"""Reading tensors out of a file that may come from anywhere: no code in it is ever run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which training scripts put the weights, the averaged ones first, as timm has it."""

PICKLES = (".bin", ".pt", ".pth")


class TorchScriptError(ValueError):
    """The file is a program with weights in it."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads a state dict on the CPU.

    Args:
        path: A safetensors file, or a file of ``torch.save`` (``.bin``, ``.pt``, ``.pth``) that holds tensors alone,
            perhaps within the dictionary of a training script.

    Returns:
        Tensors by name, without the prefix ``module.`` of data-parallel training.

    Raises:
        TorchScriptError: If it is a TorchScript archive, as OpenAI's own ``.pt`` files are.
        ValueError: If the file is of another kind, damaged, or would run code.
        OSError: If it cannot be opened.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"the weights {path} are damaged ({error}); get the file again") from error
    if path.suffix not in PICKLES:
        raise ValueError(f"weights are read from .safetensors, .bin, .pt and .pth files, got {path}")
    if _is_torchscript(path):
        raise TorchScriptError(f"{path} is a TorchScript archive: a program, which is not run; its weights are needed")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is damaged, or holds more than tensors and would run code, which is refused; save its state dict "
            "as safetensors"
        ) from error
    except OSError:
        raise
    # A damaged file can raise almost anything else.
    except Exception as error:
        raise ValueError(f"the weights {path} are damaged ({error}); get the file again") from error
    return _state_dict(content, path)


def put_tensors(model: nn.Module, tensors: dict[str, Tensor], path: Path, hint: str = "") -> None:
    """Writes tensors into a model that must have exactly these, in their shapes.

    Args:
        model: Where they go; its dtypes stay.
        tensors: By name.
        path: Where they come from, for the message.
        hint: What to do if they do not fit.

    Raises:
        ValueError: If a name is missing or unknown, or a shape differs; the message counts them and names a few.
    """
    wanted = model.state_dict()
    faults = {
        "missing": sorted(wanted.keys() - tensors.keys()),
        "unknown": sorted(tensors.keys() - wanted.keys()),
        "of another shape": [
            f"{name} ({_shape(tensors[name])} instead of {_shape(value)})"
            for name, value in wanted.items()
            if name in tensors and tensors[name].shape != value.shape
        ],
    }
    if any(faults.values()):
        told = "; ".join(f"{len(names)} {what}: {_few(names)}" for what, names in faults.items() if names)
        raise ValueError(f"the weights {path} do not fit the network: {told}{hint and '; '}{hint}")
    model.load_state_dict(tensors)


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") or "/code/" in name for name in archive.namelist())


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, dict):
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} holds a {type(content).__name__} without weights, a state dict is needed")
    tensors = {str(name).removeprefix("module."): value for name, value in content.items()}
    if others := [name for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{path} is no state dict: {_few(others)} are no tensors; save the model's state dict alone")
    return tensors


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _shape(tensor: Tensor) -> str:
    return "×".join(str(size) for size in tensor.shape) or "scalar"
