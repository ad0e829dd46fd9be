"""A disk that runs full is one clear error; what was computed stays, and the same command goes on."""

import errno
import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from studies.commands.run import require_space
from studies.failures import DISK_FULL
from studies.messages import Failed, Task
from studies.settings import load_study
from studies.store import CHECKPOINT, ResultsError, State, Store
from studies.worker import attempt
from tests.studies.running import Silent, gmixout, killed_at_last, start, wait_for, write_study

SMALL = 72 * 2**20


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of a few megabytes; only root can mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Takes every byte that is left."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space left"):
            file.writelines(itertools.repeat(bytes(2**16)))
    return ballast


@pytest.mark.slow
def test_real_disk_that_runs_full(cells, tmp_path, small_disk, run_cell):
    methods = [{"name": "zero_shot"}, {"name": "full"}]
    path = write_study(tmp_path, name="full", methods=methods, training={"steps": 2000, "validate_every": None})
    store = Store(small_disk / "results")
    command = ("study", "run", str(path), "--results", str(store.root), "--workers", "1")
    with start(*command, cwd=tmp_path) as process, killed_at_last(process):
        found = load_study(str(path)).cells(cells["full"].manifest)
        zero, trained = (store.cell(cell.identity) for cell in found)
        wait_for(lambda: (trained.path / CHECKPOINT).exists())
        ballast = fill(small_disk)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    lines = [line for line in output.splitlines() if "error" in line]
    assert len(lines) == 1
    assert "the disk is full" in lines[0]
    assert str(store.root) in lines[0]
    assert zero.state() is State.DONE
    assert zero.problem() is None
    assert (trained.path / CHECKPOINT).exists()
    assert not list(store.root.rglob(".writing-*"))
    again = gmixout(*command, cwd=tmp_path)
    assert again.returncode == 2
    assert len(again.stderr.splitlines()) == 1
    ballast.unlink()
    assert trained.may_run()
    run_cell(trained, found[1])
    assert trained.state() is State.DONE


def test_failed_write_in_a_worker_is_of_the_kind_disk_full(cells, tmp_path, monkeypatch):
    cell = cells["linear_probe"]
    folder = Store(tmp_path).cell(cell.identity)
    real, is_full = os.fsync, [False]

    def fsync(descriptor):
        if is_full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    class Line(Silent):
        def move(self, moving):
            is_full[0] = is_full[0] or moving.done >= 5

    monkeypatch.setattr(os, "fsync", fsync)
    answer = attempt(Task(cell.canonical, folder.path, 0.0, "cpu", 60.0), Line())
    assert isinstance(answer, Failed)
    assert answer.failure.kind == DISK_FULL
    assert folder.state() is State.STARTED
    assert (folder.path / CHECKPOINT).exists()
    assert not list(folder.path.glob(".writing-*"))


def test_disk_as_good_as_full_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1, 1, 2**20))
    with pytest.raises(ResultsError, match="1 MiB left, at least 64 MiB are needed"):
        require_space(tmp_path)
