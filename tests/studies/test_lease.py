"""At most one process works on a cell, and a dead process's cell is taken over."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from studies.lease import LEASE, Lease, Leased, LostLease, holder, is_leased

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


def test_other_hosts_lease_counts_until_it_falls_silent(tmp_path):
    claim(tmp_path, host="elsewhere", pid=1)
    assert is_leased(tmp_path, stale_after_s=60)
    with pytest.raises(Leased, match="elsewhere"), Lease(tmp_path):
        pass
    hour_ago = time.time() - 3600
    os.utime(tmp_path / LEASE, (hour_ago, hour_ago))
    with Lease(tmp_path) as lease:
        assert lease.is_held()


def test_heartbeat_keeps_a_lease_alive(tmp_path):
    with Lease(tmp_path, heartbeat_every_s=0.05):
        long_ago = time.time() - 3600
        os.utime(tmp_path / LEASE, (long_ago, long_ago))
        time.sleep(0.5)
        assert is_leased(tmp_path, stale_after_s=60)


def test_owner_notices_that_it_was_succeeded_and_leaves_the_successor_alone(tmp_path):
    with Lease(tmp_path) as first:
        (tmp_path / LEASE).write_text(json.dumps({"owner": "other", "host": "elsewhere", "pid": 1}))
        with pytest.raises(LostLease, match="elsewhere"):
            first.check()
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
    assert is_leased(tmp_path)
    os.utime(tmp_path / LEASE, (0, 0))
    assert not is_leased(tmp_path)
