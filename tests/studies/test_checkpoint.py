"""A checkpoint is read whole or not at all, and reading it runs nothing."""

import copy
import hashlib
import pickle
import random
from pathlib import Path

import pytest
import torch

from studies import checkpoint
from studies.checkpoint import Checkpointing, Progress
from studies.failures import Stopped
from studies.methods import METHODS
from studies.settings import Schedule, load_study
from studies.train import train

CELL = next(cell for cell in load_study("smoke").cells("00") if cell.method == "full")
SCHEDULE = Schedule(steps=4)


@pytest.fixture
def saved(fresh, tmp_path):
    model = copy.deepcopy(fresh)
    method = METHODS["full"](model, CELL)
    path = tmp_path / "checkpoint.pt"
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(path, method, optimizer, Progress(step=3))
    return path, method


def test_whole_checkpoint_is_read_back(saved):
    path, method = saved
    found = checkpoint.read(path, "cpu")
    assert found["progress"]["step"] == 3
    assert found["method"].keys() == method.state_dict().keys()
    assert checkpoint.read(path.parent / "none", "cpu") is None


@pytest.mark.parametrize("how", ["cut", "flipped", "zeroed", "empty"])
def test_torn_checkpoint_is_noticed_wherever_it_is_torn(how, saved, caplog):
    path, _ = saved
    whole, rng = path.read_bytes(), random.Random(how)
    for _ in range(20):
        place = rng.randrange(len(whole) - 1)
        torn = {
            "cut": whole[:place],
            "flipped": whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :],
            "zeroed": whole[:place] + bytes(len(whole) - place),
            "empty": b"",
        }[how]
        path.write_bytes(torn)
        assert checkpoint.read(path, "cpu") is None
    assert "begins anew" in caplog.text


def test_run_whose_checkpoint_is_torn_ends_bit_equal(fresh, examples, tmp_path):
    def run(stop_after=None, path=None):
        model = copy.deepcopy(fresh)
        method = METHODS["full"](model, CELL)
        steps = iter(range(1, 99))
        saving = Checkpointing(path, 0.0, lambda: next(steps) == stop_after)
        train(model, method, examples, examples, SCHEDULE, 1e-3, 0, saving)
        return method.reported_weights()

    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Stopped):
        run(2, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    again, undisturbed = run(None, path), run()
    assert all(torch.equal(again[name], undisturbed[name]) for name in undisturbed)


class Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_checkpoint_from_a_stranger_runs_nothing(tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "checkpoint.pt"
    torch.save({"method": Trap(mark)}, path)
    content = path.read_bytes()
    path.write_bytes(content + hashlib.sha256(content).digest())
    assert checkpoint.read(path, "cpu") is None
    assert not mark.exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    torch.load(path, weights_only=False)
    assert mark.exists(), "the trap would have worked"
