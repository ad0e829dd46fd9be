"""A cell that is killed again and again ends with the same bits as one that was left alone."""

import multiprocessing
import random
import signal

import pytest

from studies.store import CHECKPOINT, CellFolder, State
from tests.studies.running import run_and_die

SEED = 20261124


@pytest.fixture(scope="module")
def forkserver(cache):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.studies.warm"])
    return context


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
