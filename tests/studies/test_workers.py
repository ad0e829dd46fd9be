"""Worker processes of one run: killed, asked to end, orphaned, torn from their parents; and what the logs keep."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from benchmarks.faults.standin import RESULT, run_cell, standin, undisturbed
from benchmarks.faults.study import study_cells, wrong
from studies.commands.run import Choices
from studies.failures import ATTEMPTS, OUT_OF_MEMORY
from studies.lease import LEASE, LostLease, holder
from studies.logs import LOGS
from studies.messages import Released, Task
from studies.store import CHECKPOINT, Store
from studies.worker import Holder, attempt
from tests.studies.running import Silent, environment, killed_at_last, wait_for

STEPS = 30


@contextmanager
def running(folder, *arguments):
    command = [sys.executable, "-m", "benchmarks.faults.study", str(folder), *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), start_new_session=True
    )
    with process, killed_at_last(process):
        yield process


def held(store):
    """The cells that are worked on, with the worker of each."""
    claims = {identity: holder(store.cell(identity).path) for identity in store.identities()}
    return {identity: int(claim["pid"]) for identity, claim in claims.items() if claim}


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_each_worker_has_a_log_and_each_kind_of_failure_its_last_lines(tmp_path):
    faults = ["diverged", "bad_data", "code_error", "out_of_memory", "crash"]
    with running(tmp_path, "--cells", 2, "--steps", 4, "--faults", *faults) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    kinds = json.loads(output.splitlines()[-1])["failures"]
    cells = study_cells(2, 4, 0.01, faults)
    expected = ["diverged", "bad_data", "code_error", "out_of_memory", "code_error"]
    assert [kinds[cell.identity] for cell in cells[2:]] == expected
    assert wrong(tmp_path, cells[:2]) == []
    store = Store(tmp_path)
    failed = {fault: store.cell(cell.identity).failure() for fault, cell in zip(faults, cells[2:])}
    assert failed["out_of_memory"].attempts == ATTEMPTS[OUT_OF_MEMORY]
    assert "what the code printed before it failed" in failed["code_error"].log
    assert "ZeroDivisionError: division by zero" in failed["code_error"].log
    assert "SIGSEGV" in failed["crash"].message
    assert "Segmentation fault" in failed["crash"].log
    (logs,) = (tmp_path / LOGS).iterdir()
    assert {path.name for path in logs.iterdir()} == {"worker-0.log", "worker-1.log"}


def test_terminated_run_saves_releases_and_ends_in_time(tmp_path):
    store = Store(tmp_path)
    with running(tmp_path, "--cells", 3, "--steps", STEPS, "--step-s", 0.2, "--checkpoint-every-s", 1e9) as process:
        workers = wait_for(lambda: len(held(store)) == 2 and held(store))
        # As a scheduler does it: to every process of the step at once.
        os.killpg(process.pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert held(store) == {}
    assert all((store.cell(identity).path / CHECKPOINT).exists() for identity in workers)
    assert all(is_gone(pid) for pid in workers.values())
    with running(tmp_path, "--cells", 3, "--steps", STEPS, "--step-s", 0.2) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert wrong(tmp_path, study_cells(3, STEPS, 0.2)) == []


def test_worker_asked_to_end_gives_its_cell_back_and_is_replaced(tmp_path):
    store = Store(tmp_path)
    with running(tmp_path, "--cells", 2, "--steps", STEPS, "--step-s", 0.05, "--workers", 1) as process:
        ((_, worker),) = wait_for(lambda: held(store)).items()
        os.kill(worker, signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "preempted" not in output
    assert is_gone(worker)
    assert wrong(tmp_path, study_cells(2, STEPS, 0.05)) == []


def test_stuck_cell_is_cut_off_in_time(tmp_path):
    store = Store(tmp_path)
    with running(tmp_path, "--cells", 0, "--steps", 2, "--faults", "stuck") as process:
        ((identity, worker),) = wait_for(lambda: held(store)).items()
        wait_for(lambda: (store.cell(identity).path / CHECKPOINT).exists() or time.sleep(0.3) or True)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert is_gone(worker)


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    store = Store(tmp_path)
    with running(tmp_path, "--cells", 2, "--steps", STEPS, "--step-s", 0.1) as process:
        workers = wait_for(lambda: len(held(store)) == 2 and held(store))
        process.kill()
        process.wait()
        wait_for(lambda: all(is_gone(pid) for pid in workers.values()), timeout_s=60)
    assert held(store) == {}
    with running(tmp_path, "--cells", 2, "--steps", STEPS, "--step-s", 0.1) as process:
        output, _ = process.communicate(timeout=120)
    assert wrong(tmp_path, study_cells(2, STEPS, 0.1)) == [], output


def test_cell_that_was_taken_over_is_left_alone(tmp_path):
    """Neither finished, nor marked as failed: it is the successor's."""
    cell = standin(0, steps=3)
    folder = Store(tmp_path).cell(cell.identity)

    class TakenOver(Silent):
        def move(self, moving):
            (folder.path / LEASE).write_text(json.dumps({"owner": "other", "host": "elsewhere", "pid": 1}))
            if self.is_broken:
                raise FileNotFoundError("the successor cleared what was being written")

    for is_broken in (False, True):
        line = TakenOver()
        line.is_broken = is_broken
        task = Task(cell.canonical, folder.path, 1e9, "cpu", 60.0, job="benchmarks.faults.standin:run_cell")
        assert attempt(task, line) == Released(is_held_elsewhere=True)
        assert not folder.is_done
        assert folder.failure() is None
        assert holder(folder.path)["owner"] == "other"
        (folder.path / LEASE).unlink()


def test_running_cell_stops_once_a_heartbeat_finds_it_taken_over(tmp_path):
    folder = Store(tmp_path).cell("a" * 16)
    with folder.lease() as lease:
        assert not Holder(Silent(), lease).should_stop()
        (folder.path / LEASE).write_text(json.dumps({"owner": "other", "host": "elsewhere", "pid": 1}))
        lease._lost.set()
        with pytest.raises(LostLease, match="elsewhere"):
            Holder(Silent(), lease).should_stop()


def test_stand_in_comes_to_what_it_should(tmp_path):
    """Of the tests' own measure: its chain is that of a plain loop."""
    cell = standin(1, steps=5, step_s=0.0)
    folder = Store(tmp_path).cell(cell.identity)
    with folder.lease() as lease:
        run_cell(cell, folder, lease, Silent())
    assert (folder.path / RESULT).read_text().strip() == undisturbed(cell)
    assert undisturbed(cell) != undisturbed(standin(1, steps=6, step_s=0.0))


def test_memory_that_ran_out_is_answered_with_fewer_images_where_the_study_says_so(tmp_path):
    cell = standin(0, steps=2, fault="out_of_memory").model_copy(update={"method": "linear_probe"})
    folder = Store(tmp_path).cell(cell.identity)
    task = Task(cell.canonical, folder.path, 1e9, "cpu", 60.0, job="benchmarks.faults.standin:run_cell")
    assert attempt(task, Silent()).smaller is None
    found = attempt(replace(task, may_shrink=True), Silent())
    assert (found.failure.kind, found.smaller.micro_batch) == (OUT_OF_MEMORY, cell.training.batch_size // 2)


def test_each_gpu_gets_one_worker():
    with pytest.raises(ValueError, match="3 workers need as many GPUs, got 2"):
        Choices(3, gpus=("0", "1"))
    with pytest.raises(ValueError, match="named once"):
        Choices(2, gpus=("0", "0"))
    with pytest.raises(ValueError, match="2 workers of 2 processes need as many GPUs, got 3"):
        Choices(2, gpus=("0", "1", "2")).shares(processes=2)
