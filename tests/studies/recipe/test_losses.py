"""The losses: gradients against finite differences, published formulas by hand, and what the priors are for."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from studies.recipe.losses import class_balanced_weights, log_priors, training_loss

COUNTS = np.array([63, 27, 9, 1])


def batch(count=7, classes=4, seed=0):
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=random, dtype=torch.float64) * 3
    labels = torch.randint(0, classes, (count,), generator=random)
    soft = torch.rand(count, classes, generator=random, dtype=torch.float64).softmax(dim=1)
    return logits, labels, soft


def by_hand(logits, targets, weights, adjustment, smoothing):
    """The formula of the docstring, in loops."""
    total, classes = 0.0, logits.shape[1]
    if targets.ndim == 1:
        targets = functional.one_hot(targets, classes).double()
    for z, t in zip(logits, targets, strict=True):
        log_p = (z + adjustment) - torch.logsumexp(z + adjustment, dim=0)
        for k, c in itertools.product(range(classes), repeat=2):
            total -= t[k] * weights[k] * ((1 - smoothing) * (c == k) + smoothing / classes) * log_p[c]
    return total / len(logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("is_adjusted", [False, True])
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("is_soft", [False, True])
def test_loss_is_its_formula_and_its_gradient_is_exact(smoothing, is_adjusted, is_weighted, is_soft):
    logits, labels, soft = batch()
    targets = soft if is_soft else labels
    weights = torch.tensor(class_balanced_weights(COUNTS, 0.9)) if is_weighted else None
    adjustment = torch.tensor(log_priors(COUNTS)) if is_adjusted else None
    loss = training_loss(logits, targets, weights, adjustment, smoothing)
    exact = by_hand(
        logits,
        targets,
        torch.ones(4) if weights is None else weights,
        torch.zeros(4) if adjustment is None else adjustment,
        smoothing,
    )
    torch.testing.assert_close(loss, exact, rtol=1e-12, atol=0)
    assert torch.autograd.gradcheck(
        lambda z: training_loss(z, targets, weights, adjustment, smoothing), logits.requires_grad_(True)
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("is_soft", [False, True])
def test_plain_loss_is_that_of_torch_bit_for_bit(smoothing, is_soft):
    logits, labels, soft = batch()
    logits, targets = logits.float(), soft.float() if is_soft else labels
    same = functional.cross_entropy(logits, targets, label_smoothing=smoothing)
    assert torch.equal(training_loss(logits, targets, label_smoothing=smoothing), same)


def test_single_precision_stays_single():
    logits, labels, _ = batch()
    weights, adjustment = torch.tensor(class_balanced_weights(COUNTS, 0.9)), torch.tensor(log_priors(COUNTS))
    assert training_loss(logits.float(), labels, weights, adjustment, 0.1).dtype == torch.float32


def test_class_balanced_weights_are_those_of_cui_by_hand():
    beta, counts = 0.9, [1, 2, 10]
    # Effective numbers (1 - 0.9^n) / (1 - 0.9): 1, 1.9, 6.513215599.
    raw = np.array([1, 1 / 1.9, 1 / 6.513215599])
    np.testing.assert_allclose(class_balanced_weights(np.array(counts), beta), raw / raw.sum() * 3, rtol=1e-12)


def test_class_balancing_goes_from_none_to_inverse_frequency():
    np.testing.assert_array_equal(class_balanced_weights(COUNTS, 0.0), np.ones(4))
    inverse = 1 / COUNTS
    np.testing.assert_allclose(class_balanced_weights(COUNTS, 1 - 1e-9), inverse / inverse.mean(), rtol=1e-5)


def test_uniform_priors_and_weights_leave_cross_entropy():
    logits, labels, soft = batch()
    even = np.full(4, 25)
    for targets in (labels, soft):
        plain = training_loss(logits, targets)
        adjusted = training_loss(logits, targets, adjustment=torch.tensor(log_priors(even)))
        weighted = training_loss(logits, targets, class_weights=torch.tensor(class_balanced_weights(even, 0.99)))
        torch.testing.assert_close(adjusted, plain, rtol=1e-13, atol=0)
        torch.testing.assert_close(weighted, plain, rtol=1e-13, atol=0)


def test_logit_adjustment_is_least_where_classes_are_ranked_as_if_equally_frequent():
    # Rows: what is seen; columns: classes. The rare class is likelier to look like row 1, yet never the most frequent.
    table = np.array([[80, 1], [20, 9]])
    seen, labels = (torch.tensor(np.repeat(part, table.ravel())) for part in np.indices((2, 2)).reshape(2, -1))
    balanced = torch.tensor(np.log(table / table.sum(axis=0))).requires_grad_(True)
    priors = torch.tensor(log_priors(table.sum(axis=0)))
    (at_least,) = torch.autograd.grad(training_loss(balanced[seen], labels, adjustment=priors), balanced)
    torch.testing.assert_close(at_least, torch.zeros_like(at_least), rtol=0, atol=1e-15)
    (of_plain,) = torch.autograd.grad(training_loss(balanced[seen], labels), balanced)
    assert of_plain.abs().max() > 0.05
    assert balanced.argmax(dim=1).tolist() == [0, 1]
    assert table.argmax(axis=1).tolist() == [0, 0]


def test_loss_of_mixed_targets_is_the_mixture_of_losses():
    logits, labels, _ = batch()
    weights, adjustment = torch.tensor(class_balanced_weights(COUNTS, 0.9)), torch.tensor(log_priors(COUNTS))
    others = labels.roll(1)

    def loss(targets):
        return training_loss(logits, targets, weights, adjustment, 0.1)

    mixed = 0.3 * functional.one_hot(labels, 4).double() + 0.7 * functional.one_hot(others, 4).double()
    torch.testing.assert_close(loss(mixed), 0.3 * loss(labels) + 0.7 * loss(others), rtol=1e-13, atol=0)


@pytest.mark.parametrize("weigh", [lambda counts: class_balanced_weights(counts, 0.9), log_priors])
def test_a_class_without_images_is_refused(weigh):
    with pytest.raises(ValueError, match=r"every class, got none of \[1\]; use cross_entropy"):
        weigh(np.array([3, 0, 1]))
