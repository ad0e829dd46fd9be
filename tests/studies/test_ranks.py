"""Two processes train one model: the run of one process, with few bytes sent, through kills of either of them."""

import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from analysis.records import read
from studies.backbones import BACKBONES
from studies.cell import run_cell
from studies.checkpoint import Checkpointing
from studies.crew import ECHOED, Errand, _Helper, crew
from studies.engine import Engine
from studies.failures import PREEMPTED, Diverged, LostProcess, Stopped, sort_failure
from studies.messages import Task
from studies.methods import METHODS
from studies.modes import train_mode
from studies.ranks import Group
from studies.recipe import Additions
from studies.settings import CellSettings, Evaluation, Schedule
from studies.settings.recipe import Recipe
from studies.share import part_of
from studies.stepping import Stepper
from studies.store import CHECKPOINT, CellFolder
from studies.train import Examples, train
from tests.gmixout.ranks import on_two_ranks, traffic
from tests.studies.running import Silent
from tests.studies.test_stepping import cell

EVERYTHING = Recipe(augmentation="randaugment", mixup_alpha=0.4, cutmix_alpha=0.4, flip=0.5)


def exact_model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BACKBONES["digits-vit-tiny"].build().double()
    model.register_forward_pre_hook(lambda module, given: (given[0].double(),))
    return model


def pictures():
    rng = np.random.default_rng(0)
    return Examples(rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, 60))


def run(method, schedule, *checkpointing, **how):
    attached = METHODS[method](exact_model(), cell(method, schedule))
    examples = pictures()
    progress = train(attached.model, attached, examples, examples, schedule, 1e-3, 3, *checkpointing, **how)
    return attached, progress


def two_processes_are_one_run(rank):
    group = Group("cpu")
    runs = [
        ("full", Schedule(steps=3, batch_size=13, recipe=EVERYTHING, weight_decay=0.1), Engine(processes=2)),
        ("gmixout", Schedule(steps=3, batch_size=13, layer_decay=0.5), Engine(micro_batch=3, processes=2)),
        ("lp_ft", Schedule(steps=2, gradient_clip=None), Engine(recomputes=True, processes=2)),
        ("l2_sp", Schedule(steps=2, batch_size=5), Engine(micro_batch=1, processes=2)),
        ("swad", Schedule(steps=2, validate_every=1), Engine(processes=2)),
    ]
    for method, schedule, engine in runs:
        alone, expected = run(method, schedule)
        shared, found = run(method, schedule, engine=engine, ranks=group)
        for name, value in alone.reported_weights().items():
            torch.testing.assert_close(shared.reported_weights()[name], value, rtol=1e-7, atol=1e-9, msg=name)
        losses = [[row for row in progress.curve if row[1] == "loss"] for progress in (found, expected)]
        np.testing.assert_allclose([row[2] for row in losses[0]], [row[2] for row in losses[1]], rtol=1e-9)
        # Augmentation takes products of its own, and recomputation some twice.
        if schedule.recipe == Recipe() and not engine.recomputes:
            assert found.training_flops == pytest.approx(expected.training_flops, rel=1e-9)


def only_the_support_s_gradients_travel(rank):
    group, sizes = Group("cpu"), {}
    examples = pictures()
    batch = torch.tensor(examples.images[:8]).permute(0, 3, 1, 2) / 255, torch.tensor(examples.labels[:8])
    for method in ("full", "gmixout"):
        schedule = Schedule(steps=9)
        # Every step ends with a redraw.
        settings = cell(method, schedule, period=1) if method == "gmixout" else cell(method, schedule)
        attached = METHODS[method](exact_model(), settings)
        train_mode(attached.model)
        part = part_of(rank, 2, 16)
        stepper = Stepper(attached, Additions(Recipe(), [6] * 10, 3), schedule, Engine(processes=2), "cpu", group, part)
        optimizer = torch.optim.AdamW(attached.parameter_groups(0.0))
        sent = []

        def count(state, bucket, sent=sent):
            sent.append(bucket.buffer().nbytes)
            return allreduce_hook(None, bucket)

        stepper._shared.register_comm_hook(None, count)
        # In its first steps DDP tells the processes how it fills its buckets.
        for number in range(2):
            stepper.step(optimizer, *batch, number)
        sent.clear()
        calls = traffic(partial(stepper.step, optimizer, *batch, 2))
        # And one number: the mean loss.
        assert calls == ["c10d::allreduce_"] * (len(sent) + 1), calls
        sizes[method] = sum(sent)
        assert sum(sent) == 8 * attached.accounting().trained_per_episode
    counts = attached.method.counts()
    # Of a masked weight half its bytes travel, of what is frozen none; all of the head, biases and norms.
    assert sizes["full"] == 8 * counts.total
    assert sizes["gmixout"] == 8 * (counts.masked // 2 + counts.dense)


def all_stop_together_and_go_on_bit_for_bit(rank):
    group, path = Group("cpu"), Path(os.environ["GMIXOUT_TEST_FOLDER"]) / "checkpoint.pt"
    schedule = Schedule(steps=5, recipe=EVERYTHING)
    whole, _ = run("gmixout", schedule, ranks=group)
    asks = iter([False, True]).__next__ if rank == 0 else lambda: False
    with pytest.raises(Stopped, match="after step 2"):
        run("gmixout", schedule, Checkpointing(path, 1e9, asks), ranks=group)
    rest, progress = run("gmixout", schedule, Checkpointing(path), ranks=group)
    assert progress.step == 5
    assert all(torch.equal(rest.reported_weights()[name], value) for name, value in whole.reported_weights().items())


def all_see_a_loss_that_one_cannot_bear(rank):
    group = Group("cpu")
    attached = METHODS["full"](exact_model(), cell("full", Schedule(steps=3)))
    own = attached.loss
    if rank == 1:
        attached.loss = lambda *given: own(*given) * torch.inf
    examples = pictures()
    with pytest.raises(Diverged, match=r"the loss is (inf|nan) at step 1"):
        train(attached.model, attached, examples, examples, Schedule(steps=3), 1e-3, 3, ranks=group)


def unlike_processes_are_found_out(rank):
    attached = METHODS["full"](exact_model(), cell("full", Schedule(steps=3)))
    with torch.no_grad():
        attached.model.pos_embed.add_(rank)
    with pytest.raises(RuntimeError, match="must hold the same numbers, but pos_embed differs"):
        Group("cpu").require_equal(attached.model)


def test_on_two_ranks(tmp_path, monkeypatch):
    monkeypatch.setenv("GMIXOUT_TEST_FOLDER", str(tmp_path))
    on_two_ranks(
        tmp_path,
        two_processes_are_one_run,
        only_the_support_s_gradients_travel,
        all_stop_together_and_go_on_bit_for_bit,
        all_see_a_loss_that_one_cannot_bear,
        unlike_processes_are_found_out,
    )


def helpers_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class KillsHelper(Silent):
    """Ends the helping process, as a power cut would, once so many steps are done."""

    def __init__(self, step, known):
        self.step, self.known = step, known

    def move(self, moving):
        if moving.phase == "training" and moving.done == self.step:
            (helper,) = set(helpers_of(os.getpid())) - self.known
            os.kill(helper, signal.SIGKILL)


def attempt(canonical, path, listener):
    found, folder = CellSettings.from_canonical(canonical), CellFolder(path)
    task = Task(canonical, path, 0.0, "cpu", 60.0, engine=Engine(processes=2))
    with folder.lease() as lease:
        run_cell(found, folder, lease, listener, 0.0, engine=task.engine, ranks=partial(crew, task))


def test_cell_outlives_a_kill_of_either_process(cells, tmp_path):
    chosen = cells["gmixout-ema"].model_copy(update={"evaluation": Evaluation(corruptions=False)})
    killed, known = tmp_path / "killed", set(helpers_of(os.getpid()))
    # The worker dies, and its end of the pipe with it: the helper ends by itself, wherever it is.
    task = Task(chosen.canonical, killed, 0.0, "cpu", 60.0, engine=Engine(processes=2))
    helper = _Helper(Errand(task, 1, 2, tmp_path / "store"))
    helper.wait_until_ready()
    helper.process.stdin.close()
    assert helper.process.wait(60) == ECHOED
    helper.end()
    # The helper dies: the worker says so, in one line, and is none the worse.
    with pytest.raises(LostProcess) as lost:
        attempt(chosen.canonical, killed, KillsHelper(5, known | set(helpers_of(os.getpid()))))
    failure = sort_failure(lost.value)
    assert (failure.kind, failure.message) == (PREEMPTED, "process 1 of the cell was ended by SIGKILL")
    assert (killed / CHECKPOINT).exists()
    assert set(helpers_of(os.getpid())) <= known
    # The rest is anyone's to do, also of one process.
    folder = CellFolder(killed)
    with folder.lease() as lease:
        run_cell(chosen, folder, lease, Silent(), 0.0)
    assert folder.is_done
    assert read(killed).cells["training_steps"].item() == chosen.steps
