"""Each rival's defining identity: what makes it the method that its name says."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analysis.diversity import diversity_scores
from gmixout.targets import assign
from studies.combinations import SOUPS, Ingredient, average, diwa, ensemble, greedy_soup, uniform_soup
from studies.methods import METHODS
from studies.methods.valley import valley
from studies.recipe import Additions
from studies.settings import CellSettings, Schedule
from studies.settings.levers import canonical_levers
from studies.settings.points import POINTS, complete_levers
from studies.settings.traits import complete_options
from studies.train import train

STEPS = 8


def cell(method, learning_rate=1e-3, schedule=None, **options):
    schedule = schedule or Schedule(steps=STEPS, warmup_steps=2)
    levers = canonical_levers(complete_levers(method, {}), schedule.steps, 0.0) if method in POINTS else {}
    return CellSettings(benchmark="digits", manifest="00", backbone="digits-vit-tiny", pretrain_seed=0, method=method,
                        seed=3, learning_rate=learning_rate, training=schedule, levers=levers,
                        options=complete_options(method, options))  # fmt: skip


def run(fresh, examples, chosen, watch=lambda method: None):
    model = copy.deepcopy(fresh)
    method = METHODS[chosen.method](model, chosen)
    train(method.model, method, examples, examples, chosen.training, chosen.learning_rate, chosen.seed,
          after_step=lambda step: watch(method))  # fmt: skip
    return method


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_every_method_sees_the_same_batches(fresh, examples, monkeypatch):
    recipe = {"augmentation": "randaugment", "mixup_alpha": 0.3}
    schedule = Schedule(steps=4, validate_every=2, recipe=recipe)
    seen: dict[str, list] = {}
    plain = Additions.batch

    def noting(self, images, labels, step):
        batch = plain(self, images, labels, step)
        seen[name].append((step, *batch))
        return batch

    monkeypatch.setattr(Additions, "batch", noting)
    for name in METHODS:
        if name in ("zero_shot", "flyp"):
            continue
        seen[name] = []
        run(fresh, examples, cell(name, schedule=schedule))
    for batches in seen.values():
        assert len(batches) == 4
        for (step, images, targets), (first_step, first_images, first_targets) in zip(batches, seen["full"]):
            assert step == first_step
            assert torch.equal(images, first_images)
            assert torch.equal(targets, first_targets)


class TestLpFt:
    def test_its_head_at_the_switch_is_the_probe_s(self, fresh, examples):
        probe_schedule = Schedule(steps=4, warmup_steps=1)
        probe = run(fresh, examples, cell("linear_probe", 0.02, probe_schedule))
        kept = {}

        def watch(method):
            if method.step == 4:
                kept.update(method.reported_weights())

        whole = cell("lp_ft", probe_fraction=0.5, probe_learning_rate=0.02)
        method = run(fresh, examples, whole, watch)
        assert equal(kept, probe.reported_weights())
        assert not equal(kept, method.reported_weights())

    def test_then_everything_trains(self, fresh, examples):
        weights = run(fresh, examples, cell("lp_ft")).reported_weights()
        assert not any(torch.equal(weights[name], value) for name, value in fresh.named_parameters())

    def test_two_phases_need_two_steps(self, fresh, examples):
        with pytest.raises(ValueError, match="at least one step for each"):
            run(fresh, examples, cell("lp_ft", schedule=Schedule(steps=1)))


class TestAnchored:
    @pytest.mark.parametrize(
        ("method", "options"), [("l2_sp", {"penalty": 0.0}), ("decay_to_pretrained", {"strength": 0.0})]
    )
    def test_without_strength_it_is_full_fine_tuning(self, method, options, fresh, examples):
        assert equal(run(fresh, examples, cell(method, **options)).reported_weights(),
                     run(fresh, examples, cell("full")).reported_weights())  # fmt: skip

    def test_penalty_and_its_gradient(self, fresh):
        model = copy.deepcopy(fresh).double()
        method = METHODS["l2_sp"](model, cell("l2_sp", penalty=0.3))
        assert method.penalty().item() == 0.0
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        before = fresh.state_dict()
        moved = {name: value.detach() - before[name].double() for name, value in model.named_parameters()}
        assert method.penalty().item() == pytest.approx(0.15 * sum(float(m.square().sum()) for m in moved.values()))
        gradients = torch.autograd.grad(method.penalty(), list(model.parameters()))
        for gradient, gap in zip(gradients, moved.values()):
            assert torch.allclose(gradient, 0.3 * gap, rtol=1e-12)

    def test_decay_pulls_by_rate_times_strength_and_never_beyond(self, fresh):
        model = copy.deepcopy(fresh)
        method = METHODS["decay_to_pretrained"](model, cell("decay_to_pretrained", strength=50.0))
        optimizer = torch.optim.SGD(method.parameter_groups(0.0), lr=1e-2)
        with torch.no_grad():
            model.head.weight.add_(1.0)
        method.after_step(optimizer)
        assert torch.allclose(model.head.weight, fresh.head.weight + 0.5)
        for group in optimizer.param_groups:
            group["lr"] = 1.0
        method.after_step(optimizer)
        assert torch.equal(model.head.weight, fresh.head.weight)


class TestAverages:
    def trajectory(self, fresh, examples, chosen):
        found = []
        method = run(fresh, examples, chosen, lambda m: found.append(m.model.head.weight.detach().double().clone()))
        return found, method.reported_weights()["head.weight"].double(), method

    def test_uniform(self, fresh, examples):
        found, reported, method = self.trajectory(fresh, examples, cell("weight_average", start_fraction=0.5))
        assert torch.allclose(reported, torch.stack(found[4:]).mean(dim=0), rtol=1e-5, atol=1e-7)
        assert torch.equal(method.model.head.weight.double(), found[-1])

    def test_exponential_from_the_first_step(self, fresh, examples):
        found, reported, _ = self.trajectory(fresh, examples, cell("ema", decay=0.7))
        expected = found[0]
        for weight in found[1:]:
            expected = 0.7 * expected + 0.3 * weight
        assert torch.allclose(reported, expected, rtol=1e-5, atol=1e-7)

    def test_the_run_itself_is_full_fine_tuning(self, fresh, examples):
        _, _, method = self.trajectory(fresh, examples, cell("ema"))
        full = run(fresh, examples, cell("full")).reported_weights()
        assert equal({name: value.detach() for name, value in method.model.state_dict().items()}, full)


class TestSwad:
    @pytest.mark.parametrize(
        ("losses", "expected"),
        [
            ([3.0, 2.0, 1.0, 1.1, 1.2, 1.1, 2.0, 2.0], (2, 5)),
            ([3.0, 2.0, 1.0, 1.1, 1.2, 2.0, 1.0, 1.0], (2, 7)),
            ([1.0, 1.0, 1.0], (0, 2)),
            ([3.0, 2.0, 1.0, 0.5], None),
            ([], None),
        ],
    )
    def test_hand_made_valleys(self, losses, expected):
        assert valley(losses, converge_patience=3, overfit_patience=2, tolerance=1.3) == expected

    @given(st.lists(st.floats(0.1, 5.0), max_size=14), st.integers(1, 4), st.integers(1, 4), st.floats(1.0, 2.0))
    def test_definition(self, losses, converge, overfit, tolerance):
        found = valley(losses, converge, overfit, tolerance)
        starts = [t for t in range(len(losses) - converge + 1) if losses[t] <= min(losses[t : t + converge])]
        if not starts:
            assert found is None
            return
        start, end = found
        assert start == starts[0]
        limit = tolerance * sum(losses[start : start + converge]) / converge
        above = [loss > limit for loss in losses]
        # Everything up to the end, but for runs of fewer than N_e above the limit, is below it; what follows is not.
        assert not above[end]
        assert all(above[end + 1 : end + 1 + overfit])
        runs = [len(list(group)) for is_above, group in itertools.groupby(above[start : end + 1]) if is_above]
        assert all(length < overfit for length in runs)

    def test_reports_the_dense_average_of_the_valley(self, fresh, examples):
        schedule = Schedule(steps=9, validate_every=2, schedule="constant")
        chosen = cell("swad", 3e-3, schedule, converge_patience=2, overfit_patience=2, tolerance=1.0)
        heads, losses = [], []

        def watch(method):
            heads.append(method.model.head.weight.detach().double().clone())

        method = run(fresh, examples, chosen, watch)
        losses = method.state_dict()["losses"]
        assert len(losses) == 5
        found = valley(losses, 2, 2, 1.0)
        segments = [heads[0:2], heads[2:4], heads[4:6], heads[6:8], heads[8:9]]
        taken = segments[found[0] : found[1] + 1] if found else segments[-1:]
        expected = torch.stack([weight for segment in taken for weight in segment]).mean(dim=0)
        assert torch.allclose(method.reported_weights()["head.weight"].double(), expected, rtol=1e-5, atol=1e-7)


class TestAdapters:
    def test_rank_0_is_refused(self):
        with pytest.raises(ValueError, match=r"rank: must be greater than or equal to 1, got 0"):
            cell("lora", rank=0)

    def test_lora_s_update_has_its_rank_and_leaves_other_layers_alone(self, fresh, examples):
        weights = run(fresh, examples, cell("lora", 1e-2, rank=2)).reported_weights()
        for name, before in fresh.state_dict().items():
            change = weights[name] - before
            if name.startswith("head."):
                assert change.abs().max() > 0
            elif name.startswith("blocks.") and name.endswith("weight") and before.ndim == 2:
                assert torch.linalg.matrix_rank(change.double(), atol=1e-6) == 2
            else:
                assert torch.equal(weights[name], before)

    @pytest.mark.parametrize("method", ["lora", "dora"])
    def test_convolutions_can_be_adapted_too(self, method, fresh, examples):
        weights = run(fresh, examples, cell(method, 1e-2, targets="all-weights")).reported_weights()
        moved = {name for name, value in fresh.state_dict().items() if not torch.equal(weights[name], value)}
        masked = {target.name for target in assign(copy.deepcopy(fresh), None, None).masked}
        assert moved == masked | {"head.weight", "head.bias"}

    def test_shira_moves_as_many_entries_as_a_lora_has(self, fresh, examples):
        method = run(fresh, examples, cell("shira", 1e-2, rank=3))
        weights = method.reported_weights()
        for name, before in fresh.state_dict().items():
            if name.startswith("blocks.") and name.endswith("weight") and before.ndim == 2:
                assert 0 < int((weights[name] != before).sum()) <= 3 * sum(before.shape)

    def test_seed_draws_the_adapters_and_global_state_does_not(self, fresh):
        def values(seed):
            model = copy.deepcopy(fresh)
            method = METHODS["lora"](model, cell("lora").model_copy(update={"seed": seed}))
            return torch.cat([p.detach().flatten() for group in method.parameter_groups(0.0) for p in group["params"]])

        one = values(0)
        torch.rand(5)
        assert torch.equal(one, values(0))
        assert not torch.equal(one, values(1))


def test_bias_norm_trains_what_gmixout_trains_densely(fresh, examples):
    weights = run(fresh, examples, cell("bias_norm")).reported_weights()
    dense = {target.name for target in assign(copy.deepcopy(fresh), None, None).dense}
    moved = {name for name, value in fresh.state_dict().items() if not torch.equal(weights[name], value)}
    assert moved == dense


def test_random_head_is_the_seed_s(fresh):
    heads = []
    for seed in (0, 0, 1):
        model = copy.deepcopy(fresh)
        METHODS["random_head_probe"](model, cell("random_head_probe").model_copy(update={"seed": seed}))
        heads.append(model.head.weight.detach())
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert not torch.equal(heads[0], fresh.head.weight)


def pool_of(rng, size=5):
    return [
        Ingredient(str(number), float(rng.random()), {"w": torch.tensor(rng.normal(size=7)), "n": torch.tensor(number)})
        for number in range(size)
    ]


def score_of(target):
    # Of which every soup and every single model has one: how near it is to a point.
    return lambda weights: float(1 / (1 + (weights["w"] - target).square().sum()))


class TestSoups:
    @given(st.integers(0, 10_000))
    def test_greedy_is_never_worse_than_its_best_member_on_held_out(self, seed):
        rng = np.random.default_rng(seed)
        score = score_of(torch.tensor(rng.normal(size=7)))
        pool = [Ingredient(one.identity, score(one.weights), one.weights) for one in pool_of(rng)]
        best = max(one.id_val_score for one in pool)
        assert score(average([one.weights for one in greedy_soup(pool, score)])) >= best
        assert score(average([one.weights for one in diwa(pool, score)])) >= best

    def test_of_equal_scores_greedy_takes_one_and_diwa_all(self):
        pool = pool_of(np.random.default_rng(0))
        pool = [Ingredient(one.identity, 0.5, one.weights) for one in pool]
        assert len(greedy_soup(pool, lambda weights: 0.5)) == 1
        assert len(diwa(pool, lambda weights: 0.5)) == len(uniform_soup(pool, lambda weights: 0.5)) == 5

    def test_of_one_is_itself(self):
        (one,) = pool_of(np.random.default_rng(0), 1)
        for soup in SOUPS.values():
            assert equal(average([found.weights for found in soup([one], lambda weights: 0.0)]), one.weights)

    def test_needs_models_of_one_kind(self):
        with pytest.raises(ValueError, match="same parameters"):
            average([{"w": torch.zeros(1)}, {"v": torch.zeros(1)}])
        with pytest.raises(ValueError, match="got none"):
            average([])


class TestEnsemble:
    def test_is_the_mean_of_probabilities(self):
        logits = np.random.default_rng(0).normal(size=(3, 20, 4)).astype(np.float16)
        found = ensemble([{"id_test": one} for one in logits])["id_test"].astype(np.float64)
        exact = np.exp(logits.astype(np.float64))
        exact = (exact / exact.sum(axis=2, keepdims=True)).mean(axis=0)
        probabilities = np.exp(found) / np.exp(found).sum(axis=1, keepdims=True)
        assert np.abs(probabilities - exact).max() < 2e-3
        assert (found.argmax(axis=1) == exact.argmax(axis=1)).all()
        assert (found.max(axis=1) == 0).all()

    def test_of_identical_members_has_no_diversity(self):
        logits = np.repeat(np.random.default_rng(0).normal(size=(1, 30, 4)), 3, axis=0)
        labels = np.random.default_rng(1).integers(0, 4, 30)
        scores = diversity_scores(logits, labels)
        assert scores["label_disagreement_score"] == scores["ratio_error_score"] == 0
        assert scores["normalised_disagreement_score"] == 0
        # The mean of three equal numbers may round.
        assert abs(scores["ensemble_gain_score"]) < 1e-15
