"""What a result owes to the machine it ran on: versions, device, memory. None of it is part of a cell's identity."""

import contextlib
import json
import platform
import resource
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from analysis.records import canonical_json
from studies.engine import PLAIN, Engine

LIBRARIES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "torchvision", "timm", "peft", "optuna", "triton")


@lru_cache(maxsize=1)
def code_version() -> str:
    """The distribution's version, with the commit where the code runs from a git checkout; ``+changed`` if edited."""
    version = metadata.version("gmixout")
    checkout = Path(__file__).resolve().parent.parent
    if not (checkout / ".git").exists():
        return version
    try:
        command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=12", "--dirty=+changed", "--exclude=*"]
        described = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version}+{described}"


@lru_cache(maxsize=1)
def library_versions() -> str:
    """Versions of python and the libraries that a result may depend on, as JSON with sorted keys."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return json.dumps(versions, sort_keys=True)


def columns(device: str, engine: Engine = PLAIN) -> dict[str, str]:
    """The columns of ``cells`` that tell where a row comes from, and how its steps were carried out.

    Args:
        device: Where the cell ran.
        engine: How a training step was carried out.
    """
    return {
        "code_version": code_version(),
        "library_versions": library_versions(),
        "device": device_name(device),
        "engine": canonical_json({"device": device, **engine.words}),
    }


def device_name(device: str) -> str:
    """The device in words, without the host's name."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"cpu: {model}"


def forget_peak_memory() -> None:
    """Starts the count of :func:`peak_memory_bytes` anew, where the system allows it (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes() -> int:
    """Largest resident memory of this process since :func:`forget_peak_memory`, or since its start elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
