"""The manifest changes with a name, a size or a label and with nothing else; what is remembered is never stale."""

import os
import shutil
import time
from pathlib import Path

import pytest

from studies.benchmarks import manifests
from studies.benchmarks.files import FileBenchmark
from tests.studies.benchmarks.trees import write_picture


@pytest.fixture
def data(minis, tmp_path) -> Path:
    """A copy of one miniature that a test may change."""
    shutil.copytree(minis.data / "domainnet", tmp_path / "data" / "domainnet")
    return tmp_path / "data"


@pytest.fixture
def opened(minis, data):
    return lambda: minis.benchmark("domainnet", data)


def settle(data: Path) -> None:
    """Sets every time to an hour ago, as if nothing had been touched since."""
    long_ago = time.time() - 3600
    for path in [data, *data.rglob("*")]:
        os.utime(path, (long_ago, long_ago))


def rewrite(data: Path, name: str, old: str, new: str) -> None:
    table = data / "domainnet" / name
    table.write_text(table.read_text().replace(old, new, 1))


def first_of(data: Path, table: str) -> str:
    return (data / "domainnet" / table).read_text().splitlines()[0].split()[0]


def test_label_name_and_size_change_it(data, opened):
    opened_before = opened()
    before = opened_before.manifest
    name = first_of(data, "real_test.txt")
    changed = [before]

    rewrite(data, "real_test.txt", f"{name} 0", f"{name} 1")
    relabelled = opened()
    # Its label contradicts its folder, which is refused: the classes are given instead.
    relabelled.__dict__["classes"] = opened_before.classes
    changed.append(relabelled.fresh_manifest())
    rewrite(data, "real_test.txt", f"{name} 1", f"{name} 0")
    assert opened().manifest == before

    picture = data / "domainnet" / name
    content = picture.read_bytes()
    picture.write_bytes(content + b"\0")
    changed.append(opened().fresh_manifest())
    picture.write_bytes(content)
    assert opened().fresh_manifest() == before

    picture.rename(picture.with_name("renamed.jpg"))
    rewrite(data, "real_test.txt", name, name.replace(picture.name, "renamed.jpg"))
    changed.append(opened().manifest)
    assert len(set(changed)) == 4


def test_times_unlisted_files_and_other_lists_do_not(data, opened):
    before = opened().manifest
    settle(data)
    write_picture(data / "domainnet" / "real" / "airplane" / "unlisted.jpg", 0)
    (data / "domainnet" / "infograph_test.txt").write_text("")
    assert opened().manifest == before


def test_id_validation_moves_it(minis):
    assert minis.benchmark("imagenet", id_validation=2).manifest != minis.benchmark("imagenet").manifest


def test_second_start_reads_no_file(data, opened, own_cache, monkeypatch):
    settle(data)
    before = opened().manifest
    assert len(list(own_cache.iterdir())) == 1

    def forbidden(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(FileBenchmark, "_manifest_lines", forbidden)
    assert opened().manifest == before


@pytest.mark.parametrize("change", ["file removed", "file replaced", "list edited", "rewritten in place, then checked"])
def test_what_is_remembered_is_not_used_after_a_change(change, data, opened):
    settle(data)
    before = opened().manifest
    picture = data / "domainnet" / first_of(data, "real_test.txt")
    if change == "file removed":
        picture.unlink()
        with pytest.raises(ValueError, match="1 of 6 files of ood/real are missing"):
            _ = opened().manifest
        return
    if change == "file replaced":
        other = picture.with_name("new.tmp")
        other.write_bytes(picture.read_bytes() + b"\0")
        other.replace(picture)
    elif change == "list edited":
        table = data / "domainnet" / "real_test.txt"
        table.write_text("\n".join(table.read_text().splitlines()[1:]))
    else:
        picture.write_bytes(picture.read_bytes() + b"\0")
        assert opened().fresh_manifest() != before
        return
    assert opened().manifest != before


def test_nothing_is_remembered_of_folders_that_just_changed(data, opened, own_cache):
    os.utime(data / "domainnet" / "real" / "airplane")
    _ = opened().manifest
    assert not own_cache.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stamp": "x"}', '{"stamp": "x", "manifest": "y"}'])
def test_damaged_memory_is_computed_again(content, data, opened, own_cache):
    settle(data)
    before = opened().manifest
    next(own_cache.iterdir()).write_text(content)
    assert opened().manifest == before


def test_memory_that_cannot_be_written_is_logged(data, opened, own_cache, caplog):
    settle(data)
    own_cache.write_text("in the way")
    assert len(opened().manifest) == 64
    assert "cannot remember a manifest" in caplog.text


def test_place_of_the_memory(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setenv("GMIXOUT_CACHE", str(tmp_path))
    assert manifests._folder() == tmp_path / "manifests"
