"""A file's hash is computed once, and again when the file changes."""

import hashlib
import os

import pytest

from studies.backbones import hashes
from studies.backbones.hashes import remembered_hash


@pytest.fixture
def file(tmp_path, empty_cache):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"one")
    return path


def test_hash_is_computed_once(file, monkeypatch):
    assert remembered_hash(file) == hashlib.sha256(b"one").hexdigest()
    monkeypatch.setattr(hashes, "file_hash", lambda path: pytest.fail("read again"))
    assert remembered_hash(file) == hashlib.sha256(b"one").hexdigest()


@pytest.mark.parametrize("content", [b"longer", b"two"])
def test_changed_file_is_read_again(content, file):
    remembered_hash(file)
    file.write_bytes(content)
    later = file.stat().st_mtime_ns + 1_000_000
    os.utime(file, ns=(later, later))
    assert remembered_hash(file) == hashlib.sha256(content).hexdigest()


def test_link_and_file_are_one(file, tmp_path, monkeypatch):
    remembered_hash(file)
    (tmp_path / "link").symlink_to(file)
    monkeypatch.setattr(hashes, "file_hash", lambda path: pytest.fail("read again"))
    remembered_hash(tmp_path / "link")


@pytest.mark.parametrize("damage", ["{", "[]", "{}"])
def test_damaged_memory_is_replaced(damage, file, empty_cache):
    remembered_hash(file)
    (memory,) = (empty_cache / "hashes").iterdir()
    memory.write_text(damage)
    assert remembered_hash(file) == hashlib.sha256(b"one").hexdigest()
    assert memory.read_text() != damage


def test_unwritable_cache_only_costs_time(file, tmp_path, monkeypatch):
    (tmp_path / "blocked").touch()
    monkeypatch.setenv("GMIXOUT_CACHE", str(tmp_path / "blocked"))
    assert remembered_hash(file) == hashlib.sha256(b"one").hexdigest()
