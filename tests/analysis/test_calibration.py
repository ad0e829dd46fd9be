"""Calibration by hand, against loops, scikit-learn and torchmetrics, on the edges of bins and on ties too."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from analysis.accuracy import cross_entropy_error
from analysis.calibration import (
    adaptive_calibration_error,
    brier_error,
    calibration_error,
    calibration_scores,
    classwise_calibration_error,
    reliability_curve,
)
from analysis.probabilities import softmax

BINNED = (calibration_error, classwise_calibration_error, adaptive_calibration_error)


def looped_calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    total = 0.0
    for low, high in zip(np.linspace(0, 1, bins + 1)[:-1], np.linspace(0, 1, bins + 1)[1:]):
        rows = [n for n, p in enumerate(probabilities) if low < p.max() <= high]
        if rows:
            accuracy = np.mean([probabilities[n].argmax() == labels[n] for n in rows])
            total += len(rows) / len(labels) * abs(accuracy - np.mean([probabilities[n].max() for n in rows]))
    return total


def looped_classwise(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    errors = []
    for c in range(probabilities.shape[1]):
        error = 0.0
        for b in range(bins):
            low, high = np.linspace(0, 1, bins + 1)[[b, b + 1]]
            rows = [n for n, p in enumerate(probabilities[:, c]) if low < p <= high or (b == 0 and p == 0)]
            gap = sum((labels[n] == c) - probabilities[n, c] for n in rows)
            error += abs(gap) / len(labels)
        errors.append(error)
    return float(np.mean(errors))


def looped_adaptive(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    shared = np.array([right[confidence == value].mean() for value in confidence])
    parts = np.array_split(np.argsort(confidence), bins)
    return sum(abs((shared[part] - confidence[part]).sum()) for part in parts) / len(labels)


def drawn(seed: int, examples: int = 40, has_ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = 2.0 * rng.normal(size=(examples, 4))
    return np.round(logits) if has_ties else logits, rng.integers(4, size=examples)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 15, 50]), st.booleans())
def test_binned_errors_agree_with_loops(seed: int, bins: int, has_ties: bool) -> None:
    logits, labels = drawn(seed, has_ties=has_ties)
    probabilities = softmax(logits)
    for error, looped in zip(BINNED, (looped_calibration, looped_classwise, looped_adaptive), strict=True):
        found = error(logits, labels, bins)
        assert found == pytest.approx(looped(probabilities, labels, bins), abs=1e-12)
        assert 0.0 <= found <= 1.0


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_order_of_examples_does_not_matter(seed: int, has_ties: bool) -> None:
    logits, labels = drawn(seed, has_ties=has_ties)
    order = np.random.default_rng(seed).permutation(len(labels))
    for error in BINNED:
        assert error(logits[order], labels[order], 7) == pytest.approx(error(logits, labels, 7), abs=1e-12)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 15]))
def test_agrees_with_torchmetrics(seed: int, bins: int) -> None:
    # Their bins are [low, high), which random logits, never on an edge, cannot tell from ours.
    logits, labels = drawn(seed)
    probabilities, truth = torch.from_numpy(softmax(logits)), torch.from_numpy(labels)
    theirs = multiclass_calibration_error(probabilities, truth, num_classes=4, n_bins=bins, norm="l1")
    assert calibration_error(logits, labels, bins) == pytest.approx(theirs.item(), abs=1e-6)
    of_class = probabilities.T.contiguous()
    classes = [binary_calibration_error(of_class[c], (truth == c).long(), n_bins=bins) for c in range(4)]
    found = classwise_calibration_error(logits, labels, bins)
    assert found == pytest.approx(np.mean([error.item() for error in classes]), abs=1e-6)


def test_an_edge_belongs_to_the_lower_bin() -> None:
    # Confidences 1/2 and 3/4 with two bins (0, .5] and (.5, 1]: the first must not join the second.
    logits = np.log([[0.5, 0.5], [0.75, 0.25]])
    assert calibration_error(logits, [1, 0], bins=2) == pytest.approx((0.5 + 0.25) / 2)
    assert reliability_curve(logits, [1, 0], bins=2)["examples"].tolist() == [1, 1]


def test_classwise_by_hand() -> None:
    # Class 0: bin (0, .5] holds 1/4 (label 1), bin (.5, 1] holds 3/4 twice (labels 0, 0). Class 1: the mirror image.
    logits = np.log([[0.75, 0.25], [0.75, 0.25], [0.25, 0.75]])
    expected = (abs(0 - 0.25) + abs(2 - 1.5)) / 3
    assert classwise_calibration_error(logits, [0, 0, 1], bins=2) == pytest.approx(expected)
    # A saturated softmax gives probabilities of exactly 0: they count in the first bin.
    assert classwise_calibration_error([[0.0, -2000.0]], [1], bins=2) == 1.0


def test_equal_mass_by_hand() -> None:
    # Five examples in two bins: the lower one holds three. Confidences .6 .7 .8 | .9 1, right: no yes yes | no yes.
    logits = np.log([[0.6, 0.4], [0.7, 0.3], [0.8, 0.2], [0.9, 0.1], [1 - 1e-12, 1e-12]])
    found = adaptive_calibration_error(logits, [1, 0, 0, 1, 0], bins=2)
    assert found == pytest.approx((abs(2 - 2.1) + abs(1 - 1.9)) / 5)
    # Four ties, half of them right: cut anywhere, each side counts as half right.
    assert adaptive_calibration_error(np.log([[0.75, 0.25]] * 4), [0, 0, 1, 1], bins=2) == pytest.approx(0.25)


def test_more_bins_than_examples_make_each_example_a_bin() -> None:
    logits = np.log([[0.6, 0.4], [0.7, 0.3]])
    assert adaptive_calibration_error(logits, [0, 1], bins=15) == pytest.approx((0.4 + 0.7) / 2)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 15]))
def test_the_curve_sums_up_to_the_error(seed: int, bins: int) -> None:
    logits, labels = drawn(seed)
    curve = reliability_curve(logits, labels, bins)
    assert len(curve) == bins
    assert curve["examples"].sum() == len(labels)
    assert (curve["low"].iloc[1:].to_numpy() == curve["high"].iloc[:-1].to_numpy()).all()
    filled = curve[curve["examples"].gt(0)]
    assert filled["confidence"].gt(filled["low"]).all()
    assert filled["confidence"].le(filled["high"] + 1e-12).all()
    assert curve.loc[curve["examples"].eq(0), ["confidence", "accuracy"]].isna().all(axis=None)
    gaps = (filled["accuracy"] - filled["confidence"]).abs()
    assert (gaps * filled["examples"]).sum() / len(labels) == pytest.approx(calibration_error(logits, labels, bins))


def test_all_scores_are_those_of_their_own_functions() -> None:
    logits, labels = drawn(3, examples=97)
    for values in (logits, logits.astype(np.float16), np.full((97, 4), 0.25)):
        alone = {"cross_entropy_error": cross_entropy_error(values, labels), "brier_error": brier_error(values, labels)}
        alone |= {error.__name__: error(values, labels) for error in BINNED}
        assert calibration_scores(values, labels) == alone
    fewer = calibration_scores(logits, labels, bins=3)
    assert fewer["adaptive_calibration_error"] == adaptive_calibration_error(logits, labels, 3)
    theirs = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    assert fewer["cross_entropy_error"] == pytest.approx(theirs)


def test_brier_conventions() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(30, 2)), rng.integers(2, size=30)
    binary = brier_score_loss(labels, softmax(logits)[:, 1])
    assert brier_error(logits, labels) == pytest.approx(2 * binary)
    assert brier_error(logits, labels, over_classes="mean") == pytest.approx(binary)


def test_no_data_and_bad_choices() -> None:
    nothing = np.empty((0, 3)), np.empty(0, dtype=int)
    assert all(np.isnan(error(*nothing)) for error in (*BINNED, brier_error))
    scores = calibration_scores(*nothing)
    assert len(scores) == 5
    assert np.isnan(list(scores.values())).all()
    assert reliability_curve(*nothing)["examples"].tolist() == [0] * 15
    for refuses in (*BINNED, calibration_scores, reliability_curve):
        with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
            refuses([[0.0, 1.0]], [0], bins=0)
        with pytest.raises(ValueError, match="labels must lie in"):
            refuses([[0.0, 1.0]], [2])
    with pytest.raises(ValueError, match="sum or mean, got 'max'"):
        brier_error([[0.0, 1.0]], [0], over_classes="max")
