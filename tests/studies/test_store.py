"""Results folders: whole files or none, markers that tell the truth, damage that is named before any work."""

import errno
import json
import os

import pytest

from studies.atomic import TEMPORARY_PREFIX, write_atomically, write_text
from studies.failures import (
    BAD_DATA,
    CODE_ERROR,
    DISK_FULL,
    DIVERGED,
    KINDS,
    OUT_OF_MEMORY,
    PREEMPTED,
    BadData,
    Diverged,
    Failure,
    sort_failure,
)
from studies.store import CHECKPOINT, DONE, FAILED, ResultsError, State, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def done(store):
    cell = store.cell("a" * 16)
    with cell.lease():
        cell.prepare("{}")
        write_text(cell.path / CHECKPOINT, "weights")
        write_text(cell.path / "metrics.parquet", "numbers")
        cell.finish(["metrics.parquet"])
    return cell


def test_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path):
    write_text(tmp_path / "file", "old")

    def half(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", half)
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_states_of_a_cell(store):
    cell = store.cell("b" * 16)
    assert cell.state() is State.MISSING
    with cell.lease():
        assert cell.state() is State.RUNNING
        cell.prepare("{}")
        (cell.path / f"{TEMPORARY_PREFIX}left-over").touch()
    assert cell.state() is State.STARTED
    cell.fail(Failure(DIVERGED, "nan"))
    assert cell.state() is State.FAILED
    with cell.lease():
        cell.prepare("{}")
        assert not list(cell.path.glob(f"{TEMPORARY_PREFIX}*"))
        cell.finish([])
    assert cell.state() is State.DONE
    assert not (cell.path / FAILED).exists()


def test_done_forgets_the_checkpoint_and_keeps_hashes(done):
    assert not (done.path / CHECKPOINT).exists()
    assert set(json.loads((done.path / DONE).read_text())["files"]) == {"settings.json", "metrics.parquet"}
    assert done.problem() is None


@pytest.mark.parametrize("damage", ["changed", "missing", "marker"])
def test_damage_is_one_clear_error_that_names_the_cell(store, done, damage):
    if damage == "changed":
        (done.path / "metrics.parquet").write_text("other")
    elif damage == "missing":
        (done.path / "metrics.parquet").unlink()
    else:
        (done.path / DONE).write_text("{")
    with pytest.raises(ResultsError, match=r"remove the folder .*aaaa to compute that cell again") as error:
        store.open([done.identity])
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("obstacle", ["a file", "a broken cells folder"])
def test_unusable_results_folder_is_one_clear_error(tmp_path, obstacle):
    root = tmp_path / "results"
    if obstacle == "a file":
        root.write_text("not a folder")
    else:
        root.mkdir()
        (root / "cells").write_text("not a folder")
    with pytest.raises(ResultsError, match="results folder"):
        Store(root).open()


def test_retry_rule(store):
    cell = store.cell("c" * 16)
    again = dict.fromkeys(KINDS, False) | {PREEMPTED: True, OUT_OF_MEMORY: True, DISK_FULL: True}
    for kind, expected in again.items():
        cell.fail(Failure(kind, "why"))
        assert cell.may_run() is expected
        assert cell.may_run(retry=[kind])
    cell.path.joinpath(FAILED).write_text("{")
    with pytest.raises(ResultsError, match="remove it to try the cell again"):
        cell.may_run()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Diverged("nan"), DIVERGED),
        (BadData("hash"), BAD_DATA),
        (MemoryError(), OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "No space left on device"), DISK_FULL),
        (OSError(errno.EROFS, "Read-only file system"), DISK_FULL),
        (RuntimeError("PytorchStreamWriter failed: No space left on device"), DISK_FULL),
        (KeyError("x"), CODE_ERROR),
    ],
)
def test_kinds_of_failures(error, kind):
    failure = sort_failure(error)
    assert failure.kind == kind
    assert len(failure.message.splitlines()) == 1


@pytest.mark.parametrize(
    "place", ["plan.journal", "logs", "cells", "cells/a", "cells/a/checkpoint.pt", "cells/a/.lease-lock"]
)
def test_folder_that_leads_out_of_itself_is_refused(place, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "results"
    link = root / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(ResultsError, match="leads out of the results folder") as refusal:
        Store(root).open()
    assert str(link) in str(refusal.value)
    assert not list(outside.iterdir())


def test_links_within_a_results_folder_and_to_it_are_fine(tmp_path):
    (tmp_path / "big disk").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "big disk")
    (tmp_path / "big disk" / "latest").symlink_to("cells")
    Store(tmp_path / "results").open()
    assert (tmp_path / "big disk" / "cells").is_dir()


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/file"])
def test_marker_that_names_files_elsewhere_is_damage(name, store, done, tmp_path):
    (done.path.parent / "secret").write_text("x")
    (done.path / DONE).write_text(json.dumps({"files": {name: "0" * 64}}))
    assert "is not what its DONE marker says" in done.problem()
