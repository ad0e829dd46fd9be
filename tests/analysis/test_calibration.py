"""Calibration against loops and scikit-learn, on the edges of bins too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from analysis.calibration import brier_error, calibration_error
from analysis.probabilities import softmax


def looped_calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    total = 0.0
    for low, high in zip(np.linspace(0, 1, bins + 1)[:-1], np.linspace(0, 1, bins + 1)[1:]):
        rows = [n for n, p in enumerate(probabilities) if low < p.max() <= high]
        if rows:
            accuracy = np.mean([probabilities[n].argmax() == labels[n] for n in rows])
            total += len(rows) / len(labels) * abs(accuracy - np.mean([probabilities[n].max() for n in rows]))
    return total


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 15]))
def test_calibration_agrees_with_a_loop(seed: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = 2.0 * rng.normal(size=(40, 4)), rng.integers(4, size=40)
    found = calibration_error(logits, labels, bins)
    assert found == pytest.approx(looped_calibration(softmax(logits), labels, bins))
    assert 0.0 <= found <= 1.0


def test_an_edge_belongs_to_the_lower_bin() -> None:
    # Confidences 1/2 and 3/4 with two bins (0, .5] and (.5, 1]: the first must not join the second.
    logits = np.log([[0.5, 0.5], [0.75, 0.25]])
    assert calibration_error(logits, [1, 0], bins=2) == pytest.approx((0.5 + 0.25) / 2)


def test_brier_conventions() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(30, 2)), rng.integers(2, size=30)
    binary = brier_score_loss(labels, softmax(logits)[:, 1])
    assert brier_error(logits, labels) == pytest.approx(2 * binary)
    assert brier_error(logits, labels, over_classes="mean") == pytest.approx(binary)


def test_no_data_and_bad_choices() -> None:
    nothing = np.empty((0, 3)), np.empty(0, dtype=int)
    assert np.isnan(calibration_error(*nothing))
    assert np.isnan(brier_error(*nothing))
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        calibration_error([[0.0, 1.0]], [0], bins=0)
    with pytest.raises(ValueError, match="sum or mean, got 'max'"):
        brier_error([[0.0, 1.0]], [0], over_classes="max")
