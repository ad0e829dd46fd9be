"""The cache of pretrained weights: hits, damage, full disks, and two processes at once."""

import dataclasses
import json
import logging
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest
import torch

from studies.backbones import BACKBONES, cache
from studies.benchmarks.digits import corpus
from studies.benchmarks.roots import cache_folder

TINY = BACKBONES["digits-vit-tiny"]
SHORT = dataclasses.replace(TINY, pretraining=dataclasses.replace(TINY.pretraining, images=corpus.CHUNK))

RACE = """
import dataclasses
from studies.backbones import BACKBONES, cache
tiny = BACKBONES["digits-vit-tiny"]
short = dataclasses.replace(tiny, pretraining=dataclasses.replace(tiny.pretraining, images=4 * 480))
calls = []
cache.load("short", short, 0, lambda done, total: calls.append(done))
print(len(calls), cache.describe("short", short, 0)["sha256"])
"""


def load(progress=None):
    return cache.load("short", SHORT, 0, progress)


def forbidden(*_):
    raise AssertionError("pretrained again")


@pytest.fixture
def stored(empty_cache):
    """The path of weights that lie in an otherwise empty cache."""
    load()
    return cache._path("short", SHORT, 0)


def test_first_load_pretrains_and_the_next_reads(empty_cache, monkeypatch):
    seen = []
    assert not cache.is_cached("short", SHORT, 0)
    model = load(lambda done, total: seen.append((done, total)))
    assert seen == [(corpus.CHUNK, corpus.CHUNK)]
    assert cache.is_cached("short", SHORT, 0)
    monkeypatch.setattr(cache, "pretrain", forbidden)
    again = load()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not again.training


def test_loading_leaves_the_global_generator_alone(stored):
    before = torch.random.get_rng_state()
    load()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_sidecar_tells_what_was_measured(stored):
    sidecar = cache.describe("short", SHORT, 0)
    assert {"sha256", "key", "libraries", "zero_shot", "wall_time_s", "cpu_time_s", "source", "licence"} <= set(sidecar)
    assert 0 <= sidecar["zero_shot"]["id_val_accuracy_score"] <= 1


@pytest.mark.parametrize("damage", ["flipped", "truncated", "sidecar"])
def test_damage_is_found_and_mended(stored, damage, caplog):
    intact = stored.read_bytes()
    if damage == "sidecar":
        stored.with_suffix(".json").write_text(json.dumps({"key": "x"}))
    else:
        stored.write_bytes(intact[:-1] if damage == "truncated" else intact[:-1] + bytes([intact[-1] ^ 1]))
    assert not cache.is_cached("short", SHORT, 0)
    with caplog.at_level(logging.WARNING):
        load()
    assert "damaged (hash mismatch); pretraining again" in caplog.text
    assert stored.read_bytes() == intact


def test_nothing_partial_is_left(stored):
    assert {path.suffix for path in stored.parent.iterdir()} <= {".safetensors", ".json", ".lock"}


def test_two_processes_pretrain_once(empty_cache):
    runs = [subprocess.Popen([sys.executable, "-c", RACE], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [run.communicate(timeout=120)[0].split() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    calls, hashes = zip(*outputs, strict=True)
    assert sorted(calls) == ["0", "4"]
    assert len(set(hashes)) == 1


def test_key_moves_with_seed_recipe_and_network():
    longer = dataclasses.replace(SHORT, pretraining=dataclasses.replace(SHORT.pretraining, images=999))
    convnet = dataclasses.replace(SHORT, build=BACKBONES["digits-convnet"].build)
    keys = [cache.key("short", SHORT, 0), cache.key("short", SHORT, 1)]
    keys += [cache.key("short", longer, 0), cache.key("short", convnet, 0)]
    assert len(set(keys)) == 4
    assert keys[0] == cache.key("short", SHORT, 0)


def test_full_disk_is_refused_before_pretraining(empty_cache, monkeypatch):
    usage = namedtuple("usage", "total used free")(2**30, 2**30 - 2**20, 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(cache, "pretrain", forbidden)
    with pytest.raises(OSError, match="needs 32 MiB of free space, has 1 MiB"):
        load()


def test_unusable_folder_is_refused_before_pretraining(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GMIXOUT_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "pretrain", forbidden)
    with pytest.raises(OSError, match=r"cannot be used .* set GMIXOUT_CACHE"):
        load()


def test_describe_without_weights_is_refused(empty_cache):
    with pytest.raises(FileNotFoundError, match="not cached"):
        cache.describe("short", SHORT, 0)


def test_folder_is_the_users_unless_set(monkeypatch):
    monkeypatch.delenv("GMIXOUT_CACHE", raising=False)
    assert cache_folder().name == "gmixout"
