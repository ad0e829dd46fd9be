"""`gmixout doctor`: whether this machine is ready, part by part."""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import typer
from rich.console import Console

from studies.provenance import LIBRARIES, code_version


def doctor(results: Path = typer.Option(Path("results"), help="Where results would go.")) -> None:
    """Check this machine: versions, cores, cache, disk, pretrained models, and the method itself on a toy model.

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
    from studies.backbones.cache import folder

    return _writable(folder())


def _pretrained() -> str:
    from studies import backbones

    cached = {name: backbones.is_cached(name, 0) for name in backbones.BACKBONES}
    return ", ".join(f"{name} {'cached' if is_cached else 'not yet made'}" for name, is_cached in cached.items())


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
