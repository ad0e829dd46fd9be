"""Diversity against loops over pairs and examples, by properties, and on cases worked by hand."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import diversity
from analysis.accuracy import accuracy_score
from analysis.probabilities import softmax


def members(seed: int, count: int = 4, examples: int = 23, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=examples)
    return 1.5 * np.eye(classes)[labels] + rng.normal(size=(count, examples, classes)), labels


def looped(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    collected: dict[str, list[float]] = {name: [] for name in ("disagree", "ratio", "q", "double", "normalised")}
    for a, b in combinations(range(len(logits)), 2):
        counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
        different = wrong = 0
        for n, label in enumerate(labels):
            first, second = logits[a, n].argmax(), logits[b, n].argmax()
            counts[bool(first == label), bool(second == label)] += 1
            different += first != second
            wrong += (softmax(logits[a, n]) + softmax(logits[b, n])).argmax() != label
        n11, n10, n01, n00 = (count / len(labels) for count in counts.values())
        collected["disagree"].append(different / len(labels))
        collected["ratio"].append((n01 + n10) / n00 if n00 else 2 * (n01 + n10))
        if n11 * n00 + n01 * n10:
            collected["q"].append((n11 * n00 - n01 * n10) / (n11 * n00 + n01 * n10))
        collected["double"].append(n00)
        collected["normalised"].append(different / max(wrong, 1))
    return {name: float(np.mean(values)) if values else float("nan") for name, values in collected.items()}


@given(st.integers(0, 2**32 - 1))
def test_all_measures_agree_with_loops(seed: int) -> None:
    logits, labels = members(seed)
    expected = looped(logits, labels)
    found = diversity.diversity_scores(logits, labels)
    assert found["label_disagreement_score"] == pytest.approx(expected["disagree"])
    assert found["ratio_error_score"] == pytest.approx(expected["ratio"])
    assert found["q_statistic_error"] == pytest.approx(expected["q"], nan_ok=True)
    assert found["double_fault_error"] == pytest.approx(expected["double"])
    assert found["normalised_disagreement_score"] == pytest.approx(expected["normalised"])
    mean = softmax(logits).mean(axis=0)
    members_mean = np.mean([accuracy_score(member, labels) for member in logits])
    assert found["ensemble_gain_score"] == pytest.approx(np.mean(mean.argmax(1) == labels) - members_mean)


@given(st.integers(0, 2**32 - 1))
def test_order_of_members_does_not_matter_and_ranges_hold(seed: int) -> None:
    logits, labels = members(seed)
    shuffled = np.random.default_rng(seed).permutation(len(logits))
    found = diversity.diversity_scores(logits, labels)
    assert diversity.diversity_scores(logits[shuffled], labels) == pytest.approx(found, nan_ok=True)
    assert 0 <= found["label_disagreement_score"] <= 1
    assert 0 <= found["double_fault_error"] <= 1
    assert found["ratio_error_score"] >= 0
    assert np.isnan(found["q_statistic_error"]) or -1 <= found["q_statistic_error"] <= 1
    assert -1 <= found["ensemble_gain_score"] <= 1


def test_equal_members_are_not_diverse() -> None:
    logits, labels = members(0, count=1)
    found = diversity.diversity_scores(np.repeat(logits, 3, axis=0), labels)
    assert found["label_disagreement_score"] == found["ratio_error_score"] == found["ensemble_gain_score"] == 0.0
    assert found["q_statistic_error"] == 1.0


def test_one_member_has_no_pair() -> None:
    found = diversity.diversity_scores(*members(0, count=1))
    assert found.pop("ensemble_gain_score") == 0.0
    assert np.isnan(list(found.values())).all()


def test_no_examples_is_nan() -> None:
    found = diversity.diversity_scores(np.empty((3, 0, 2)), np.empty(0, dtype=int))
    assert np.isnan(list(found.values())).all()


def test_ratio_without_shared_errors() -> None:
    assert diversity.ratio_error_score([[0, 1], [0, 0]], [0, 0]) == 2 * 0.5


def test_the_two_ensembles_differ() -> None:
    probabilities = np.array([[[0.98, 0.01, 0.01]], [[0.001, 0.5, 0.499]]])
    mean = np.exp(diversity.ensemble_log_probabilities(np.log(probabilities)))
    assert mean == pytest.approx(probabilities.mean(axis=0))
    logarithmic = np.exp(diversity.ensemble_log_probabilities(np.log(probabilities), "log_probabilities"))
    geometric = np.sqrt(probabilities.prod(axis=0))
    assert logarithmic == pytest.approx(geometric / geometric.sum())
    assert mean.argmax() != logarithmic.argmax()


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="members >= 1"):
        diversity.ensemble_log_probabilities(np.empty((0, 2, 2)))
    with pytest.raises(ValueError, match="probabilities or log_probabilities, got 'votes'"):
        diversity.ensemble_log_probabilities(np.zeros((1, 2, 2)), "votes")
    with pytest.raises(ValueError, match="whole numbers"):
        diversity.label_disagreement_score([[0.5, 1.0]])
    with pytest.raises(ValueError, match="labels must have shape"):
        diversity.double_fault_error([[0, 1]], [0])
    with pytest.raises(ValueError, match="members, examples, classes"):
        diversity.diversity_scores(np.zeros((2, 3)), [0, 1, 2])
