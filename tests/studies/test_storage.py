"""Where a plan is kept: what is refused and why, and that no password is ever told."""

import os
import socket

import pytest
from sqlalchemy.engine import make_url

from studies.commands.run import Choices
from studies.storage import JOURNAL, VARIABLE, is_on_network, open_storage, shown, storage_url, told
from studies.store import ResultsError
from tests.studies.running import gmixout

SECRET = "pa55:/@ word"
SPELLED = "pa55%3A%2F%40%20word"


def test_sqlite_takes_one_worker_and_says_why(tmp_path):
    url = f"sqlite:///{tmp_path / 'plan.db'}"
    with pytest.raises(ResultsError, match=r"takes 1 worker, got 2: SQLite lets one process write at a time"):
        open_storage(url, tmp_path, workers=2)
    only = open_storage(url, tmp_path, workers=1)
    with pytest.raises(ResultsError, match="is in use by another worker"):
        open_storage(url, tmp_path, workers=1)
    only.close()


@pytest.mark.parametrize("url", ["mysql://ann:{}@db/x", "postgresql:/ann:{}@db", "ann:{}@db", "{}"])
def test_unknown_database_is_refused_without_its_password(url, tmp_path):
    with pytest.raises(ResultsError, match="postgresql://user@host/database") as refusal:
        open_storage(url.format(SPELLED), tmp_path)
    assert SPELLED not in str(refusal.value)
    assert SECRET not in str(refusal.value)


def test_unreachable_database_is_one_line_without_user_or_password(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"postgresql://ann:{SPELLED}@127.0.0.1:{port}/studies?sslpassword={SPELLED}"
    with pytest.raises(ResultsError, match="cannot be used") as refusal:
        open_storage(url, tmp_path)
    assert len(str(refusal.value).splitlines()) == 1
    assert refusal.value.__cause__ is None
    assert all(word not in str(refusal.value) for word in (SECRET, SPELLED, "sslpassword"))
    assert shown(url) == f"postgresql://127.0.0.1:{port}/studies"


def test_password_is_cut_out_of_whatever_an_error_says():
    url = make_url(f"postgresql://ann:{SPELLED}@db/studies?passfile=hidden")
    error = RuntimeError("the commit failed")
    error.__cause__ = OSError(f"cannot connect with {SECRET}, that is {SPELLED}, or hidden")
    assert told(error, url) == "cannot connect with ***, that is ***, or ***"


def test_url_from_the_environment_is_not_passed_on(monkeypatch):
    monkeypatch.setenv(VARIABLE, "postgresql://db/studies")
    assert storage_url(None) == "postgresql://db/studies"
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, "postgresql://db/studies")
    assert storage_url("postgresql://db/others") == "postgresql://db/others"
    assert VARIABLE not in os.environ
    assert storage_url(None) is None


def test_choices_can_be_printed():
    assert "secret" not in repr(Choices(1, storage="postgresql://ann:secret@db/x"))


@pytest.mark.parametrize(
    ("kind", "is_remote"), [("nfs4", True), ("ext4", False), ("fuse.sshfs", True), ("overlay", False), ("cifs", True)]
)
def test_network_file_system_is_known_by_its_mount(kind, is_remote, tmp_path):
    shared = tmp_path / "with space"
    mounts = tmp_path / "mounts"
    spelled = str(shared).replace(" ", "\\040")
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {spelled} {kind} rw 0 0\nproc /proc proc rw 0 0\n")
    assert is_on_network(shared / "results", mounts) is is_remote
    assert not is_on_network(tmp_path / "other", mounts)
    assert not is_on_network(tmp_path, tmp_path / "no such file")


def test_journal_on_a_network_file_system_is_warned_of(tmp_path, monkeypatch, caplog):
    open_storage(None, tmp_path)
    assert not caplog.messages
    monkeypatch.setattr("studies.storage.is_on_network", lambda folder: True)
    open_storage(None, tmp_path)
    (warning,) = caplog.messages
    assert str(tmp_path / JOURNAL) in warning
    assert "postgresql://" in warning


def test_command_line_refuses_before_any_work(tmp_path):
    for arguments, words in (
        (("work", "smoke"), "machines meet in a database"),
        (("run", "smoke", "--gpus", "0", "--workers", "2"), "2 workers need as many GPUs, got 1"),
    ):
        ended = gmixout("study", *arguments, cwd=tmp_path)
        assert ended.returncode == 2
        assert words in " ".join(ended.stderr.replace("│", " ").split())
    assert not list(tmp_path.iterdir())
