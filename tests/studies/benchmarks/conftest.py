"""The miniatures, written once; remembered manifests go to a folder of the test's own."""

from pathlib import Path

import pytest

from studies.benchmarks import manifests
from studies.benchmarks.roots import VARIABLE
from tests.studies.benchmarks import trees


@pytest.fixture(scope="session")
def minis(tmp_path_factory: pytest.TempPathFactory) -> trees.Trees:
    """Every miniature in one data folder; not to be changed."""
    return trees.write_all(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps the user's cache and data out of the tests; returns where manifests are remembered."""
    folder = tmp_path / "remembered"
    monkeypatch.setattr(manifests, "_folder", lambda: folder)
    monkeypatch.delenv(VARIABLE, raising=False)
    return folder
