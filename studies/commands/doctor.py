"""`gmixout doctor`: whether this machine is ready, part by part."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import typer
from rich.console import Console

from studies.provenance import LIBRARIES, code_version


def doctor(results: Path = typer.Option(Path("results"), help="Where results would go.")) -> None:
    """Check this machine: versions, cores, cache, disk, pretrained models, the method on a toy model, every kernel.

    Example: gmixout doctor
    """
    console = Console()
    checks: dict[str, Callable[[], str]] = {
        "versions": _versions,
        "cores": lambda: f"{cores()} usable",
        "results folder": lambda: _writable(results),
        "cache folder": _cache,
        "pretrained models": _pretrained,
        "method": _method,
        "kernels": _kernels,
    }
    faults = 0
    for name, examine in checks.items():
        try:
            console.print(f"ok    {name}: {examine()}", highlight=False, soft_wrap=True, markup=False)
        # Whatever is wrong with a part, the other parts are examined all the same.
        except Exception as error:
            faults += 1
            console.print(f"FAULT {name}: {error}", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(1 if faults else 0)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = [f"python {platform.python_version()}", f"gmixout {code_version()}"]
    for library in LIBRARIES:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            if library != "triton":
                raise RuntimeError(f"{library} is not installed; run make setup") from None
    return ", ".join(found)


def _writable(folder: Path) -> str:
    existing = folder.resolve()
    while not existing.exists():
        existing = existing.parent
    with tempfile.TemporaryFile(dir=existing):
        free = shutil.disk_usage(existing).free
    return f"{folder} can be written, {free / 2**30:.1f} GiB free"


def _cache() -> str:
    from studies.benchmarks.roots import cache_folder

    return _writable(cache_folder())


def _pretrained() -> str:
    from studies import backbones

    told = []
    for name, backbone in backbones.BACKBONES.items():
        missing = "weights not here" if isinstance(backbone, backbones.Published) else "not yet made"
        told.append(f"{name} {'cached' if backbones.is_cached(name, 0) else missing}")
    return ", ".join(told)


def _kernels() -> str:
    import torch

    from gmixout.kernels.launch import triton

    if triton is None:
        return "Triton is not installed, so plain torch does all the work (Triton has no wheels for some systems)"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.cuda.get_device_name() if device == "cuda" else "the CPU, interpreted"
    environment = dict(os.environ)
    environment.pop("TRITON_INTERPRET", None)
    if device == "cpu":
        environment["TRITON_INTERPRET"] = "1"
    # In a process of its own, because whether kernels are interpreted is settled when they are imported.
    command = [sys.executable, "-m", "gmixout.kernels.checkup", device]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    if ended.returncode:
        raise RuntimeError("they did not run: " + (ended.stderr.strip().splitlines() or ["no message"])[-1])
    findings = [json.loads(line) for line in ended.stdout.splitlines()]
    if wrong := [finding for finding in findings if not finding["is_right"]]:
        told = "; ".join(f"{f['kernel']} is off by {f['error']:.2g} (allowed {f['allowed']:.2g})" for f in wrong)
        raise RuntimeError(f"{told} on {where}; set GMIXOUT_KERNELS=off to train without kernels, and report this")
    verdict = f"all {len(findings)} agree with plain torch on {where}"
    if device == "cpu":
        speeds = ", ".join(f"{f['kernel']} {f['torch_ms']:.2f} ms" for f in findings)
        return f"{verdict}; training here uses plain torch, which is faster on a CPU: {speeds}"
    speeds = ", ".join(f"{f['kernel']} {f['kernel_ms']:.3f} ms (torch {f['torch_ms']:.3f})" for f in findings)
    return f"{verdict}: {speeds}"


def _method() -> str:
    import torch

    from gmixout import GMixout, Settings

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Linear(16, 4))
        method = GMixout(model, Settings(sparsity=0.5, resample_every=2), masked=r"^0\.weight", dense=r"^1\.|bias")
        optimizer = torch.optim.AdamW(method.parameters(), lr=1e-2)
        images = torch.randn(32, 16)
        losses = []
        for _ in range(6):
            loss = torch.nn.functional.cross_entropy(model(images), torch.arange(32) % 4)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            method.step(optimizer)
            losses.append(loss.item())
        with method.reported():
            before = model(images)
        after = method.merge()(images)
    if not losses[-1] < losses[0]:
        raise RuntimeError(f"six steps on a toy model did not lower the loss: {losses}")
    if not torch.equal(before, after):
        raise RuntimeError("merging changed the model's outputs")
    return "trains a toy model, and merging leaves its outputs bit for bit"
