"""Accuracy and cross-entropy against loops and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score as sklearn_accuracy
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

from analysis.accuracy import (
    accuracy_score,
    correct,
    cross_entropy_error,
    group_accuracy_score,
    macro_f1_score,
    per_class_accuracy_score,
    worst_group_accuracy_score,
)
from analysis.probabilities import log_softmax, softmax


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 3.0 * rng.normal(size=(97, 5)), rng.integers(5, size=97)


def test_agrees_with_scikit_learn(answers) -> None:
    logits, labels = answers
    assert accuracy_score(logits, labels) == sklearn_accuracy(labels, logits.argmax(1))
    assert cross_entropy_error(logits, labels) == pytest.approx(log_loss(labels, softmax(logits), labels=range(5)))
    assert group_accuracy_score(logits, labels, range(5)) == pytest.approx(
        balanced_accuracy_score(labels, logits.argmax(1))
    )


def test_groups_agree_with_a_loop(answers) -> None:
    logits, labels = answers
    for group in ((0,), (1, 3), (4, 2, 0)):
        by_class = [np.mean([logits[n].argmax() == c for n in range(97) if labels[n] == c]) for c in group]
        assert group_accuracy_score(logits, labels, group) == pytest.approx(np.mean(by_class))


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 6))
def test_macro_f1_is_over_the_labels_that_are_present(seed: int, examples: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(examples, classes)), rng.integers(0, classes, examples)
    expected = f1_score(labels, logits.argmax(axis=1), average="macro", labels=np.unique(labels), zero_division=0)
    assert macro_f1_score(logits, labels) == pytest.approx(expected)


def test_a_class_that_is_only_predicted_has_no_term() -> None:
    # Nine right of class 0, one of class 0 taken for class 1, which is never true.
    logits = np.eye(2)[[0] * 9 + [1]]
    labels = np.zeros(10, dtype=int)
    assert macro_f1_score(logits, labels) == pytest.approx(18 / 19)
    assert f1_score(labels, logits.argmax(axis=1), average="macro", zero_division=0) == pytest.approx(9 / 19)
    assert np.isnan(macro_f1_score(np.zeros((0, 2)), []))


def test_no_data_is_nan_never_zero() -> None:
    nothing = np.empty((0, 3)), np.empty(0, dtype=int)
    assert np.isnan(accuracy_score(*nothing))
    assert np.isnan(cross_entropy_error(*nothing))
    assert np.isnan(group_accuracy_score([[1.0, 0.0]], [0], classes=[1]))
    assert np.isnan(group_accuracy_score([[1.0, 0.0]], [0], classes=[]))
    assert np.isnan(per_class_accuracy_score([[1.0, 0.0]], [0])[1])


def test_half_precision_and_huge_logits_do_not_overflow() -> None:
    logits = np.array([[6e4, -6e4], [0.0, 0.0]], dtype=np.float16)
    assert np.isfinite(log_softmax(logits)).all()
    assert cross_entropy_error(logits, [0, 0]) == pytest.approx(np.log(2) / 2)


@given(st.integers(0, 2**32 - 1), st.floats(-50, 50))
def test_a_shift_of_all_logits_changes_nothing(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(11, 3)), rng.integers(3, size=11)
    assert 0.0 <= accuracy_score(logits, labels) <= 1.0
    assert cross_entropy_error(logits + shift, labels) == pytest.approx(cross_entropy_error(logits, labels))
    assert correct(logits, labels).mean() == accuracy_score(logits, labels)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([1.0, 2.0], [0], "shape"),
        ([[1.0, 2.0]], [0, 1], "shape"),
        ([[1.0, 2.0]], [2], "lie in"),
        ([[1.0, 2.0]], [-1], "lie in"),
        ([[1.0, 2.0]], [0.5], "whole"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        accuracy_score(logits, labels)


def test_a_group_outside_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="group"):
        group_accuracy_score([[1.0, 0.0]], [0], classes=[0, 2])
    with pytest.raises(ValueError, match="group"):
        group_accuracy_score([[1.0, 0.0]], [0], classes=[0, 0])


def test_worst_group_by_hand_and_by_loop() -> None:
    rng = np.random.default_rng(0)
    logits, labels, groups = rng.normal(size=(60, 3)), rng.integers(3, size=60), rng.integers(4, size=60)
    by_group = [accuracy_score(logits[groups == group], labels[groups == group]) for group in range(4)]
    assert worst_group_accuracy_score(logits, labels, groups) == pytest.approx(min(by_group))
    assert np.isnan(worst_group_accuracy_score(np.empty((0, 3)), np.empty(0, dtype=int), []))
    with pytest.raises(ValueError, match="groups must have shape"):
        worst_group_accuracy_score(logits, labels, groups[:5])
