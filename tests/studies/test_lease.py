"""At most one process works on a cell, and a dead process's cell is taken over."""

import errno
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from benchmarks.faults.race import race
from studies.lease import LEASE, Lease, Leased, LostLease, holder, is_leased, silent_beat
from tests.studies.running import wait_for

DEAD_HOLDER = """
import os, signal, sys
from pathlib import Path
from studies.lease import Lease
Lease(Path(sys.argv[1])).__enter__()
os.kill(os.getpid(), signal.SIGKILL)
"""


def claim(folder, **changes):
    with Lease(folder):
        found = holder(folder)
    (folder / LEASE).write_text(json.dumps(found | changes))


def test_held_by_one_and_released(tmp_path):
    with Lease(tmp_path) as lease:
        assert is_leased(tmp_path)
        assert lease.is_held()
        with pytest.raises(Leased, match=str(os.getpid())), Lease(tmp_path):
            pass
    assert not is_leased(tmp_path)
    assert holder(tmp_path) is None


def test_killed_process_is_succeeded_at_once(tmp_path):
    subprocess.run([sys.executable, "-c", DEAD_HOLDER, str(tmp_path)], check=False)
    assert holder(tmp_path) is not None
    with Lease(tmp_path) as lease:
        assert lease.is_held()


def test_reused_process_id_does_not_keep_a_lease(tmp_path):
    claim(tmp_path, started="1")
    assert not is_leased(tmp_path)


def test_equal_process_id_elsewhere_says_nothing(tmp_path):
    """Neither another host's nor another container's, nor that of the same host before it was started again."""
    for name, change in {"boot": {"place": "other boot"}, "host": {"host": "elsewhere"}}.items():
        folder = tmp_path / name
        folder.mkdir()
        claim(folder, started="1", **change)
        assert is_leased(folder)


def test_other_hosts_lease_counts_until_it_was_watched_for_long_enough(tmp_path):
    claim(tmp_path, host="elsewhere", pid=1)
    long_ago = time.time() - 3600
    os.utime(tmp_path / LEASE, (long_ago, long_ago))
    with pytest.raises(Leased, match="elsewhere"), Lease(tmp_path, stale_after_s=0.2):
        pass
    time.sleep(0.1)
    os.utime(tmp_path / LEASE)
    assert is_leased(tmp_path, stale_after_s=0.2), "a heartbeat begins the watch anew"
    time.sleep(0.15)
    assert is_leased(tmp_path, stale_after_s=0.2)
    time.sleep(0.1)
    with Lease(tmp_path, stale_after_s=0.2) as lease:
        assert lease.is_held()


@pytest.mark.parametrize("jump_s", [-86400.0, 86400.0])
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_clock_that_jumps_takes_no_lease_and_keeps_no_dead_one(jump_s, whose, tmp_path, monkeypatch):
    claim(tmp_path, host="elsewhere")
    assert is_leased(tmp_path, stale_after_s=0.2)
    now = time.time()
    if whose == "ours":
        monkeypatch.setattr(time, "time", lambda: now + jump_s)
    else:
        os.utime(tmp_path / LEASE, (now + jump_s, now + jump_s))
    assert is_leased(tmp_path, stale_after_s=0.2)
    time.sleep(0.25)
    assert not is_leased(tmp_path, stale_after_s=0.2)


def test_watch_is_handed_on_but_holds_for_that_heartbeat_alone(tmp_path):
    claim(tmp_path, host="elsewhere")
    assert silent_beat(tmp_path, stale_after_s=0.05) == ""
    time.sleep(0.1)
    silent = silent_beat(tmp_path, stale_after_s=0.05)
    assert not is_leased(tmp_path, silent=silent)
    os.utime(tmp_path / LEASE)
    assert is_leased(tmp_path, silent=silent)


def test_heartbeat_goes_on_after_the_file_server_was_away(tmp_path, monkeypatch):
    real, is_away = os.utime, threading.Event()

    def utime(*arguments):
        if is_away.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(*arguments)

    monkeypatch.setattr(os, "utime", utime)
    is_away.set()
    with Lease(tmp_path, heartbeat_every_s=0.02) as lease:
        time.sleep(0.1)
        is_away.clear()
        before = (tmp_path / LEASE).stat().st_mtime_ns
        wait_for(lambda: (tmp_path / LEASE).stat().st_mtime_ns > before)
        assert not lease.is_lost


def test_heartbeat_keeps_a_lease_alive(tmp_path):
    with Lease(tmp_path, heartbeat_every_s=0.02):
        before = (tmp_path / LEASE).stat().st_mtime_ns
        wait_for(lambda: (tmp_path / LEASE).stat().st_mtime_ns > before)


def test_owner_notices_that_it_was_succeeded_and_leaves_the_successor_alone(tmp_path):
    with Lease(tmp_path, heartbeat_every_s=0.02) as first:
        (tmp_path / LEASE).write_text(json.dumps({"owner": "other", "host": "elsewhere", "pid": 1}))
        with pytest.raises(LostLease, match="elsewhere"):
            first.check()
        wait_for(lambda: first.is_lost)
    assert holder(tmp_path)["owner"] == "other"


def test_of_many_that_see_a_stale_lease_one_gets_it(tmp_path):
    claim(tmp_path, started="1")
    held, barrier, over = [], threading.Barrier(8), threading.Event()

    def contend():
        barrier.wait()
        try:
            with Lease(tmp_path) as lease:
                held.append(lease.owner)
                over.wait(30)
        except Leased:
            pass

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    while sum(thread.is_alive() for thread in threads) > 1:
        time.sleep(0.01)
    over.set()
    for thread in threads:
        thread.join()
    assert len(held) == 1


def test_unreadable_lease_counts_as_held_until_it_is_stale(tmp_path):
    (tmp_path / LEASE).write_text("{")
    assert is_leased(tmp_path, stale_after_s=0.05)
    time.sleep(0.1)
    assert not is_leased(tmp_path, stale_after_s=0.05)


def test_racing_processes_and_each_cell_is_claimed_once(tmp_path):
    claims = race(tmp_path, cells=40, processes=4)
    assert claims == [1] * 40
