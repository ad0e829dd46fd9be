"""One cache of pretrained models for all tests of the runner, kept between runs of the tests."""

import os
from collections.abc import Iterator

import pytest

from studies.lease import Lease
from studies.settings import CellSettings, load_study
from studies.store import CellFolder
from tests.studies.running import Silent


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


@pytest.fixture
def run_cell():
    """Runs a cell in this process; returns its scalars."""
    from studies.cell import run_cell as run

    def run_in(folder: CellFolder, cell: CellSettings, listener=None, every_s: float = 1e9) -> dict[str, float]:
        with folder.lease() as lease:
            assert isinstance(lease, Lease)
            return run(cell, folder, lease, listener or Silent(), every_s)

    return run_in
