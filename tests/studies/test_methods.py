"""Every method keeps one contract: what it reports, resumes, counts and remembers."""

import copy
import itertools

import pytest
import torch

from studies.checkpoint import Checkpointing
from studies.failures import Stopped
from studies.methods import METHODS
from studies.methods.method import spaced_steps
from studies.methods.wise import interpolate
from studies.settings import POINTS, load_study
from studies.train import train

CELLS = {
    f"{cell.listed_as} {cell.levers['anchor']}" if cell.levers else cell.listed_as: cell
    for cell in load_study("rivals-smoke").cells("00")
    if cell.method in METHODS and not cell.is_ingredient
}
TRAINED = [name for name, cell in CELLS.items() if cell.training is not None]
OTHER_STARTS = ("random_head_probe", "dropconnect")
"""Methods that leave the pretrained outputs before the first step: their controls are about that."""
ADAPTERS = ("lora", "dora")
"""Methods whose few parameters move every entry of a weight."""
PROBE = torch.linspace(0, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)


def attach(fresh, cell):
    model = copy.deepcopy(fresh)
    method = METHODS[cell.method](model, cell)
    return method.model, method


def run(model, method, cell, examples, *checkpointing):
    return train(model, method, examples, examples, cell.training, cell.learning_rate, cell.seed, *checkpointing)


def answer(model):
    with torch.no_grad():
        return model(PROBE)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
class TestMethod:
    def test_starts_at_the_pretrained_outputs(self, cell, fresh):
        if cell.method in OTHER_STARTS:
            return
        model, method = attach(fresh, cell)
        assert torch.equal(answer(model), answer(fresh))
        with method.reported():
            assert torch.equal(answer(model), answer(fresh))

    def test_merged_model_is_plain_and_equals_the_reported_one(self, cell, fresh, examples):
        model, method = attach(fresh, cell)
        if cell.training is not None:
            run(model, method, cell, examples)
        weights = method.reported_weights()
        with method.reported():
            reported = answer(model)
        merged = method.merge()
        assert list(weights) == list(fresh.state_dict()) == list(merged.state_dict())
        assert all(torch.equal(weights[name], tensor) for name, tensor in merged.state_dict().items())
        assert torch.equal(answer(merged), reported)
        plain = copy.deepcopy(fresh)
        plain.load_state_dict(weights)
        assert torch.equal(answer(plain), reported)

    def test_counts_are_counts(self, cell, fresh, examples):
        model, method = attach(fresh, cell)
        total = sum(parameter.numel() for parameter in fresh.parameters())
        if cell.training is not None:
            # Without weight decay, which pulls on entries that never trained where the student is stored densely.
            training = cell.training.model_copy(update={"weight_decay": 0.0})
            run(model, method, cell.model_copy(update={"training": training}), examples)
        counts = method.accounting()
        assert counts.total == total
        assert 0 <= counts.trained_per_episode <= counts.touched_over_run <= total
        before, after = fresh.state_dict(), method.reported_weights()
        moved = sum(int((after[name] != tensor).sum()) for name, tensor in before.items())
        # A fresh head differs from the zero-shot one whether it trains or not.
        assert moved <= counts.touched_over_run or cell.method in ADAPTERS


@pytest.mark.parametrize("name", TRAINED)
class TestTrained:
    @pytest.mark.parametrize("stop", [1, 5, 11])
    def test_goes_on_bit_for_bit(self, name, stop, fresh, examples, tmp_path):
        cell = CELLS[name]
        model, method = attach(fresh, cell)
        whole = run(model, method, cell, examples)
        path, asked = tmp_path / "checkpoint.pt", []

        def should_stop():
            asked.append(None)
            return len(asked) == stop

        other, stopped = attach(fresh, cell)
        with pytest.raises(Stopped):
            run(other, stopped, cell, examples, Checkpointing(path, 1e9, should_stop))
        other, resumed = attach(fresh, cell)
        rest = run(other, resumed, cell, examples, Checkpointing(path, 1e9))
        assert rest.curve == whole.curve
        assert all(
            torch.equal(resumed.reported_weights()[key], tensor) for key, tensor in method.reported_weights().items()
        )
        assert resumed.accounting() == method.accounting()
        for one, two in zip(method.members(), resumed.members(), strict=True):
            with one.weights(), two.weights():
                assert one.step == two.step
                assert torch.equal(answer(model), answer(other))

    def test_members_are_spread_over_the_run_differ_and_leave_no_trace(self, name, fresh, examples):
        cell = CELLS[name]
        model, method = attach(fresh, cell)
        run(model, method, cell, examples)
        before = answer(model)
        answers = []
        for member in method.members():
            with member.weights():
                answers.append(answer(model))
            assert torch.equal(answer(model), before)
        steps = [member.step for member in method.members()]
        assert len(steps) == cell.evaluation.members
        assert all(abs(step - wanted) <= 3 for step, wanted in zip(steps, spaced_steps(cell.steps, len(steps))))
        assert not any(torch.equal(a, b) for a, b in itertools.pairwise(answers))
        has_episodes = cell.method in POINTS and cell.method != "random_mask"
        assert method.member_kind == ("visited" if has_episodes else "trajectory")


def test_every_method_is_in_the_preset_that_tests_run():
    assert {cell.method for cell in CELLS.values()} == set(METHODS) - {"flyp"}


def test_linear_probe_moves_the_head_alone(fresh, examples):
    cell = CELLS["linear_probe"]
    model, method = attach(fresh, cell)
    run(model, method, cell, examples)
    moved = {
        name for name, tensor in method.reported_weights().items() if not torch.equal(tensor, fresh.state_dict()[name])
    }
    assert moved == {"head.weight", "head.bias"}


def test_wise_ends_are_exact():
    rng = torch.Generator().manual_seed(0)
    zero, tuned = ({"w": torch.randn(50, generator=rng), "n": torch.tensor(count)} for count in (1, 2))
    assert torch.equal(interpolate(zero, tuned, 0.0)["w"], zero["w"])
    assert torch.equal(interpolate(zero, tuned, 1.0)["w"], tuned["w"])
    assert interpolate(zero, tuned, 0.5)["n"] == 2
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\], got 1.5"):
        interpolate(zero, tuned, 1.5)
    with pytest.raises(ValueError, match="same keys"):
        interpolate(zero, {"v": tuned["w"]}, 0.5)
