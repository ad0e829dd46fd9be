"""One cache folder for all workers of a test run, so that the tiny backbone is pretrained once."""

import pytest


@pytest.fixture
def cache_folder(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp().parent / "gmixout-cache"
    monkeypatch.setenv("GMIXOUT_CACHE", str(folder))
    return folder


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GMIXOUT_CACHE", str(tmp_path))
    return tmp_path
