"""A cell that is killed again and again ends with the same bits as one that was left alone; where processes start."""

import os
import random
import signal
import sys

import pytest

from studies.failures import BadData
from studies.forking import worker_context
from studies.messages import Task
from studies.pool import Pool, preload
from studies.store import CHECKPOINT, CellFolder, State
from tests.studies.running import run_and_die

SEED = 20261124


@pytest.fixture(scope="module")
def forkserver(cache):
    return worker_context(preload())


@pytest.mark.parametrize("method", ["full", "random_mask", "mixout", "gmixout-ema", "gmixout-latest", "linear_probe"])
def test_killed_at_random_steps_ends_bit_equal(method, cells, tmp_path, run_cell, forkserver):
    cell = cells[method]
    whole, killed = CellFolder(tmp_path / "whole"), CellFolder(tmp_path / "killed")
    run_cell(whole, cell)
    steps = sorted(random.Random(f"{SEED} {method}").sample(range(1, cell.steps + 1), 2))
    for step in [*steps, cell.steps + 1]:
        process = forkserver.Process(target=run_and_die, args=(cell.canonical, killed.path, step, 0.0))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert killed.state() is State.STARTED, "a dead process holds no lease, and nothing is done yet"
        assert (killed.path / CHECKPOINT).exists()
    run_cell(killed, cell)
    for name in ("weights.sha256", "logits.safetensors", "members.safetensors"):
        assert (killed.path / name).read_bytes() == (whole.path / name).read_bytes(), name


def test_killed_between_checkpoints_goes_back_to_the_last_one(cells, tmp_path, run_cell, forkserver):
    cell = cells["gmixout-ema"]
    whole, killed = CellFolder(tmp_path / "whole"), CellFolder(tmp_path / "killed")
    run_cell(whole, cell)
    process = forkserver.Process(target=run_and_die, args=(cell.canonical, killed.path, 7, 1e9))
    process.start()
    process.join(60)
    assert not (killed.path / CHECKPOINT).exists()
    run_cell(killed, cell)
    assert (killed.path / "weights.sha256").read_text() == (whole.path / "weights.sha256").read_text()


def report(pipe):
    import torch

    with open("/proc/self/status") as file:
        threads = next(line.split()[1] for line in file if line.startswith("Threads:"))
    facts = {
        "threads": int(threads),
        "torch's threads": torch.get_num_threads(),
        "has touched a GPU": torch.cuda.is_initialized() or torch.cuda._is_in_bad_fork(),
        "has imported": {"studies.cell", "torch._dynamo", "timm"} <= set(sys.modules),
        "ignores": [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is signal.SIG_IGN],
    }
    pipe.send(facts)


def test_copies_of_the_server_have_one_thread_and_may_use_a_gpu(forkserver):
    ours, theirs = forkserver.Pipe()
    process = forkserver.Process(target=report, args=(theirs,))
    process.start()
    theirs.close()
    facts = ours.recv()
    process.join()
    ignored = [signal.SIGINT, signal.SIGTERM]
    assert facts == {
        "threads": 1, "torch's threads": 1, "has touched a GPU": False, "has imported": True, "ignores": ignored,
    }  # fmt: skip


def tell(cell, folder, *how, **ranks):
    wanted = ("TOLD_LATER", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONSAFEPATH")
    raise BadData(" ".join(os.environ.get(name, "-") for name in wanted))


def test_worker_has_the_environment_of_its_start_and_one_gpu(forkserver, cells, monkeypatch, tmp_path):
    monkeypatch.setenv("TOLD_LATER", "yes")
    pool = Pool(1, tmp_path, gpus=("GPU-7",))
    job = "tests.studies.test_kill:tell"
    pool.send(pool.slots[0], Task(cells["full"].canonical, tmp_path / "cell", 1.0, "cpu", 60.0, job=job))
    ((_, message),) = pool.receive(60)
    pool.close(10.0)
    assert message.failure.message == "yes GPU-7 1 -"
