"""One cache of pretrained models for all tests of the runner, kept between runs of the tests."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import nn

from studies.backbones import BACKBONES
from studies.lease import Lease
from studies.settings import CellSettings, load_study
from studies.store import CellFolder
from studies.train import Examples
from tests.studies.running import Silent, gmixout


@pytest.fixture(scope="session")
def cache(request: pytest.FixtureRequest) -> Iterator[str]:
    """The folder of pretrained models; it is the environment's while the tests run, so that subprocesses share it."""
    before = os.environ.get("GMIXOUT_CACHE")
    folder = before or str(request.config.cache.mkdir("gmixout"))
    os.environ["GMIXOUT_CACHE"] = folder
    yield folder
    if before is None:
        del os.environ["GMIXOUT_CACHE"]


@pytest.fixture(scope="session")
def cells(cache: str) -> dict[str, CellSettings]:
    """The cells of the preset `smoke`, by method (and anchor for GMixout), on the real benchmark."""
    from studies import backbones, benchmarks

    backbones.load("digits-vit-tiny", 0)
    found = load_study("smoke").cells(benchmarks.load("digits").manifest)
    return {f"{cell.method}-{cell.levers['anchor']}" if cell.method == "gmixout" else cell.method: cell
            for cell in found}  # fmt: skip


@pytest.fixture(scope="session")
def finished(
    cells: dict[str, CellSettings], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, CompletedProcess[str]]:
    """The preset `smoke`, run to its end by the real command line, once for all workers of pytest."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, kept = shared / "smoke", shared / "smoke.json"
    with FileLock(shared / "smoke.lock"):
        if not kept.exists():
            folder.mkdir()
            ended = gmixout("study", "run", "smoke", "--workers", "2", cwd=folder)
            kept.write_text(json.dumps(vars(ended)))
    return folder, CompletedProcess(**json.loads(kept.read_text()))


@pytest.fixture
def run_cell():
    """Runs a cell in this process; returns its scalars."""
    from studies.cell import run_cell as run

    def run_in(folder: CellFolder, cell: CellSettings, listener=None, every_s=1e9, **how) -> dict[str, float]:
        with folder.lease() as lease:
            assert isinstance(lease, Lease)
            return run(cell, folder, lease, listener or Silent(), every_s, **how)

    return run_in


@pytest.fixture(scope="module")
def fresh() -> nn.Module:
    """An untrained tiny backbone, the same in every test."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BACKBONES["digits-vit-tiny"].build().eval()


@pytest.fixture(scope="module")
def examples() -> Examples:
    """Sixty pictures of noise with labels: enough to take training steps on."""
    rng = np.random.default_rng(0)
    return Examples(rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, 60))
