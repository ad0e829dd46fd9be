"""Published methods as points of the space: each written out by hand, and compared with the method at that point."""

import pytest
import torch
from torch.nn import functional

from gmixout import Settings
from gmixout.masks import MaskPlan
from gmixout.sampling import tensor_key
from tests.gmixout.nets import assert_close, assert_equal, batch, perceptron, run, weights

STEPS = 12
NAMES = ("0.weight", "2.weight")


def make(parameters):
    return torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.01)


def keep_of(name, shape, settings, episode):
    return MaskPlan(tensor_key(settings.seed, name), tuple(shape), settings).keep(episode)


def merged(settings, **options):
    return weights(run(settings, STEPS, optimizer=options.pop("optimizer", make), **options).merge())


def fine_tune_by_hand(hold=lambda name, weight, step: None, optimizer=make, steps=STEPS):
    model = perceptron()
    trained = optimizer(model.parameters())
    for step in range(steps):
        inputs, labels = batch(step)
        functional.cross_entropy(model(inputs), labels).backward()
        for name, parameter in model.named_parameters():
            if name in NAMES:
                hold(name, parameter, step)
        trained.step()
        trained.zero_grad()
    return weights(model)


@pytest.mark.parametrize(
    "settings",
    [
        Settings.full_fine_tuning(),
        Settings(sparsity=0.0, resample_every=5, residual="carry", moments="carry"),
        Settings(sparsity=0.0, resample_every=5, residual="carry", moments="carry", anchor="pretrained"),
        Settings.sequential_masks(0.0, 5, moments="carry"),
    ],
)
def test_sparsity_zero_is_full_fine_tuning_bit_for_bit(settings):
    assert_equal(merged(settings), fine_tune_by_hand())


def test_one_mask_for_the_run_is_random_masking_bit_for_bit():
    settings = Settings.random_mask(0.6, seed=5)
    sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9)  # noqa: E731

    def hold(name, parameter, step):
        parameter.grad.mul_(keep_of(name, parameter.shape, settings, 0))

    by_hand = fine_tune_by_hand(hold, sgd)
    assert_equal(merged(settings, optimizer=sgd), by_hand)
    # A period as long as the run is the same, whichever anchor waits for its end.
    for anchor in ("pretrained", "ema", "latest", "average"):
        long = Settings.random_mask(0.6, seed=5, resample_every=STEPS, anchor=anchor)
        assert_equal(merged(long, optimizer=sgd), by_hand)


def test_latest_anchor_with_restarts_is_sequential_random_masking():
    settings = Settings.sequential_masks(0.6, 4, seed=2)
    sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.1)  # noqa: E731

    def hold(name, parameter, step):
        parameter.grad.mul_(keep_of(name, parameter.shape, settings, step // 4))

    assert_equal(merged(settings, optimizer=sgd), fine_tune_by_hand(hold, sgd))


def mixout_by_hand(settings, published, optimizer):
    """Mixout as its paper writes it, on dense tensors, with PyTorch's own gradient or the public code's."""
    model = perceptron()
    pretrained = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    student = {name: parameter.detach().clone().requires_grad_() for name, parameter in model.named_parameters()}
    trained = optimizer(student.values())
    p = settings.sparsity
    for step in range(STEPS):
        mixed = {}
        for name, weight in student.items():
            mixed[name] = weight
            if name in NAMES:
                m = keep_of(name, weight.shape, settings, step).to(weight.dtype)
                u = pretrained[name]
                exact = ((1 - m) * u + m * weight - p * u) / (1 - p)
                mixed[name] = exact.detach() + m * (weight - weight.detach()) if published else exact
        inputs, labels = batch(step)
        functional.cross_entropy(torch.func.functional_call(model, mixed, (inputs,)), labels).backward()
        trained.step()
        trained.zero_grad()
    return {name: weight.detach() for name, weight in student.items()}


@pytest.mark.parametrize("count", ["exact", "bernoulli"])
@pytest.mark.parametrize("gradient", ["exact", "published"])
@pytest.mark.parametrize("optimizer", [make, lambda parameters: torch.optim.SGD(parameters, lr=0.02)])
def test_carried_residuals_at_a_fixed_anchor_are_mixout(count, gradient, optimizer):
    settings = Settings.mixout(0.7, count=count, gradient=gradient, seed=9)
    by_hand = mixout_by_hand(settings, gradient == "published", optimizer)
    assert_close(merged(settings, optimizer=optimizer), by_hand)
    # λ = 1 is the pretrained anchor under another name, bit for bit.
    moving = Settings.mixout(0.7, count=count, gradient=gradient, seed=9, anchor="ema", ema_decay=1.0)
    assert_equal(merged(moving, optimizer=optimizer), merged(settings, optimizer=optimizer))


def test_published_gradient_is_another_method_under_sgd():
    sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.02)  # noqa: E731
    exact, published = (merged(Settings.mixout(0.7, gradient=g), optimizer=sgd) for g in ("exact", "published"))
    assert not torch.allclose(exact["0.weight"], published["0.weight"])


def test_hr_mixout_holds_whole_filters():
    method = run(Settings.hr_mixout(0.5, granularity="row"), steps=1)
    keep = method.forms[0].keep
    assert torch.equal(keep, keep[:, :1].expand_as(keep))


def test_dropconnect_masks_towards_zero():
    method = run(Settings.dropconnect(0.5), steps=3)
    form = method.forms[0]
    effective = method.model[0].weight
    assert torch.equal(effective[~form.keep], torch.zeros_like(effective[~form.keep]))
    torch.testing.assert_close(effective[form.keep], form.weight[form.keep] * 2)


@pytest.mark.parametrize("anchor", ["pretrained", "ema", "latest", "average"])
@pytest.mark.parametrize("rescale", [True, False])
def test_the_two_forms_hold_the_same_mathematics(anchor, rescale, monkeypatch):
    settings = Settings(anchor=anchor, ema_decay=0.6, resample_every=3, sparsity=0.6, rescale=rescale)
    sparse = merged(settings)
    monkeypatch.setattr("gmixout.attachment.is_sparse", lambda plan: False)
    assert_close(sparse, merged(settings))


def test_carried_residuals_grow_by_the_stated_factor(caplog):
    settings = Settings(anchor="latest", residual="carry", sparsity=0.75, resample_every=1, moments="carry", seed=3)
    method = run(settings, steps=1, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    assert "carried residuals grow 3 times" in caplog.text
    form = method.forms[0]
    form.finished = None
    with torch.no_grad():
        form.weight.add_(1.0)
    residual = form.student_weight() - form.anchor_weight()
    keep = form.keep.clone()
    form.end_episode()
    after = form._student - form.anchor
    torch.testing.assert_close(after[keep], -3.0 * residual[keep])
    torch.testing.assert_close(after[~keep], residual[~keep])
