"""The training loop: its schedule, its data order, its alarm, its choice of checkpoint."""

import copy

import numpy as np
import pytest
import torch

from analysis.accuracy import accuracy_score, macro_f1_score
from studies.evaluate import logits
from studies.failures import Diverged
from studies.methods import METHODS
from studies.order import batch_indices
from studies.schedule import schedule_factor
from studies.settings import Schedule, load_study
from studies.settings.traits import complete_options
from studies.train import Examples, deterministic, train

CELL = next(cell for cell in load_study("smoke").cells("00") if cell.method == "full")


def run(fresh, training, validation, schedule, learning_rate=1e-3, seed=0):
    model = copy.deepcopy(fresh)
    method = METHODS["full"](model, CELL)
    return train(model, method, training, validation, schedule, learning_rate, seed), method.reported_weights()


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_order_is_of_seed_and_step_alone():
    orders = {seed: [batch_indices(seed, step, 50, 8).tolist() for step in range(12)] for seed in (0, 1)}
    assert orders[0] != orders[1]
    assert orders[0][7] == batch_indices(0, 7, 50, 8).tolist()
    epochs = [np.concatenate(orders[0][start : start + 6]).tolist() for start in (0, 6)]
    assert all(len(set(epoch)) == 48 for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert batch_indices(0, 3, 5, 8).size == 5
    with pytest.raises(ValueError, match="at least one example, got 0"):
        batch_indices(0, 0, 0, 8)


def test_seed_decides_the_weights_and_global_state_does_not(fresh, examples):
    schedule = Schedule(steps=3)
    before = torch.get_rng_state()
    _, one = run(fresh, examples, examples, schedule)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    _, two = run(fresh, examples, examples, schedule)
    _, other = run(fresh, examples, examples, schedule, seed=1)
    assert equal(one, two)
    assert not equal(one, other)


def test_state_of_torch_is_given_back():
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with deterministic(0):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


@pytest.mark.parametrize("shape", ["cosine", "constant"])
def test_schedule_rises_to_its_peak_and_follows_its_shape(shape):
    schedule = Schedule(steps=100, warmup_steps=10, schedule=shape)
    factors = [schedule_factor(step, schedule) for step in range(100)]
    assert factors[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert factors[10] == 1.0
    assert factors[-1] == pytest.approx(0.0, abs=1e-3) if shape == "cosine" else set(factors[10:]) == {1.0}


def test_validation_labels_never_reach_the_weights(fresh, examples):
    schedule = Schedule(steps=4, validate_every=2)
    wrong = Examples(examples.images, (examples.labels + 1) % 10)
    assert equal(run(fresh, examples, examples, schedule)[1], run(fresh, examples, wrong, schedule)[1])


def test_best_checkpoint_is_the_best_on_id_validation(fresh, examples):
    schedule = Schedule(steps=12, validate_every=3, checkpoint_selection="best_id_val")
    progress, last = run(fresh, examples, examples, schedule, learning_rate=3e-3)
    scores = {step: value for step, metric, value in progress.curve if metric == "id_val_accuracy_score"}
    assert list(scores) == [3, 6, 9, 12]
    assert progress.best_score == max(scores.values())
    model = copy.deepcopy(fresh)
    model.load_state_dict(progress.best_weights)
    assert accuracy_score(logits(model, examples.images), examples.labels) == progress.best_score
    assert equal(progress.best_weights, last) == (list(scores.values()).index(progress.best_score) == 3)


def test_best_checkpoint_is_the_best_by_the_benchmarks_own_score(fresh, examples):
    schedule = Schedule(steps=12, validate_every=3, checkpoint_selection="best_id_val")
    told = []

    def score(answers, labels):
        told.append(macro_f1_score(answers, labels))
        return -told[-1]

    model = copy.deepcopy(fresh)
    method = METHODS["full"](model, CELL)
    progress = train(model, method, examples, examples, schedule, 3e-3, 0, score=score)
    assert len(told) == 4
    assert progress.best_score == -min(told)
    model.load_state_dict(progress.best_weights)
    assert macro_f1_score(logits(model, examples.images), examples.labels) == min(told)


def test_curve_shows_the_benchmarks_own_score_beside_accuracy(fresh, examples):
    schedule = Schedule(steps=2, validate_every=2)
    for score, own in ((accuracy_score, set()), (macro_f1_score, {"id_val_macro_f1_score"})):
        model = copy.deepcopy(fresh)
        progress = train(model, METHODS["full"](model, CELL), examples, examples, schedule, 1e-3, 0, score=score)
        names = {name for _, name, _ in progress.curve if name.startswith("id_val")}
        assert names == {"id_val_accuracy_score", "id_val_cross_entropy_error"} | own


@pytest.mark.parametrize("clip", [1.0, None])
def test_divergence_is_an_alarm_with_its_step(fresh, examples, clip):
    with pytest.raises(Diverged, match=r"the (loss|gradient) is (nan|inf) at step \d+"):
        run(fresh, examples, examples, Schedule(steps=200, gradient_clip=clip, weight_decay=0.1), learning_rate=1e12)


def test_curve_has_losses_and_rates(fresh, examples):
    progress, _ = run(fresh, examples, examples, Schedule(steps=4))
    assert [(step, metric) for step, metric, _ in progress.curve] == [
        (step, metric) for step in (1, 2, 3, 4) for metric in ("loss", "learning_rate")
    ]


@pytest.mark.parametrize("method", ["full", "decay_to_pretrained"])
def test_layers_learn_slower_the_farther_they_are_from_the_head(method, fresh, examples):
    schedule = Schedule(steps=1, layer_decay=0.5, schedule="constant", gradient_clip=None)
    cell = CELL.model_copy(update={"method": method, "options": complete_options(method, {}), "training": schedule})
    attached = METHODS[method](copy.deepcopy(fresh), cell)
    progress = train(attached.model, attached, examples, examples, schedule, 1e-3, 0)
    assert progress.curve[-1][1:] == ("learning_rate", 1e-3)
    before, after = fresh.state_dict(), attached.reported_weights()
    # AdamW's first step is the learning rate times the gradient's sign, so long as the gradient is not tiny.
    for name, factor in (("head.weight", 1), ("blocks.0.attn.qkv.weight", 0.5), ("stem.0.weight", 0.25)):
        pulled = 1 - (1e-3 * factor if method == "decay_to_pretrained" else 0)
        assert (after[name] - before[name]).abs().max().item() == pytest.approx(1e-3 * factor * pulled, rel=1e-3)


def test_logits_are_half_precision_ranked_and_finite(fresh, examples):
    found = logits(fresh, examples.images)
    with torch.no_grad():
        exact = fresh(torch.tensor(examples.images).permute(0, 3, 1, 2).float() / 255)
    assert found.dtype == np.float16
    assert found.shape == (60, 10)
    assert (found.max(axis=1) == 0).all()
    assert (found.argmax(axis=1) == exact.argmax(dim=1).numpy()).all()
