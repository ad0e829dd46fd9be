"""The risk-coverage curve against a loop over orders, and on cases worked by hand."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.probabilities import softmax
from analysis.selective import aurc_error, excess_aurc_error, risk_coverage_curve, selective_scores


def with_confidence(confidences: list[float], right: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Two-class logits whose answer is class 0 with these probabilities."""
    probabilities = np.array(confidences)
    logits = np.stack([np.log(probabilities), np.log(1 - probabilities)], axis=1)
    return logits, np.where(right, 0, 1)


def test_a_curve_worked_by_hand() -> None:
    logits, labels = with_confidence([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    assert risk_coverage_curve(logits, labels)["risk"].to_numpy() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert risk_coverage_curve(logits, labels)["coverage"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert aurc_error(logits, labels) == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)
    # At best the two errors come last: risks 0, 0, 1/3, 1/2.
    assert excess_aurc_error(logits, labels) == pytest.approx(1 / 8)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_ties_are_the_mean_over_their_orders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.choice([0.6, 0.75, 0.9], size=5)
    right = rng.random(5) < 0.6
    logits, labels = with_confidence(list(levels), list(right))
    found = selective_scores(logits, labels)
    shuffled = rng.permutation(5)
    assert selective_scores(logits[shuffled], labels[shuffled]) == pytest.approx(found)
    orders = [np.lexsort([keys, -levels]) for keys in permutations(range(5))]
    risks = [np.cumsum(~right[order]) / np.arange(1, 6) for order in orders]
    assert found["aurc_error"] == pytest.approx(np.mean(risks))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_without_ties_it_is_a_loop(seed: int, examples: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(examples, 4)), rng.integers(4, size=examples)
    order = np.argsort(-softmax(logits).max(axis=1))
    wrong = (logits.argmax(axis=1) != labels)[order]
    loop = np.mean([wrong[: k + 1].mean() for k in range(examples)])
    best = np.mean([np.sort(wrong)[: k + 1].mean() for k in range(examples)])
    found = selective_scores(logits, labels)
    assert found["aurc_error"] == pytest.approx(loop)
    assert found["excess_aurc_error"] == pytest.approx(loop - best, abs=1e-12)
    assert -1e-12 <= found["excess_aurc_error"] <= found["aurc_error"] + 1e-12


def test_nothing_in_nan_out() -> None:
    assert np.isnan(list(selective_scores(np.empty((0, 3)), np.empty(0, dtype=int)).values())).all()
    assert risk_coverage_curve(np.empty((0, 3)), np.empty(0, dtype=int)).empty
