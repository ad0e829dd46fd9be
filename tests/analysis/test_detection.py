"""OOD detection against scikit-learn, by hand, and on shifted logits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from analysis.detection import confidence, detection_columns, detection_scores, negative_energy
from analysis.probabilities import softmax


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_scores_agree_with_scikit_learn(seed: int, inside: int, outside: int, has_ties: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=inside + outside)
    scores = np.round(scores, 0 if has_ties else 9)
    is_inside = np.arange(inside + outside) < inside
    found = detection_scores(scores[is_inside], scores[~is_inside])
    assert found["auroc_score"] == pytest.approx(roc_auc_score(is_inside, scores))
    assert found["aupr_in_score"] == pytest.approx(average_precision_score(is_inside, scores))
    assert found["aupr_out_score"] == pytest.approx(average_precision_score(~is_inside, -scores))
    false_rate, true_rate, _ = roc_curve(is_inside, scores, drop_intermediate=False)
    assert found["fpr95_error"] == pytest.approx(false_rate[true_rate >= 0.95 - 1e-9].min())


def test_a_case_worked_by_hand() -> None:
    # 20 ID scores 1 ... 20: 95 % of them pass the threshold 2, as do two of the four OOD examples.
    found = detection_scores(np.arange(1.0, 21.0), [0.5, 1.5, 2.0, 30.0])
    assert found["fpr95_error"] == 0.5
    assert found["auroc_score"] == pytest.approx((20 + 19 + 18.5 + 0) / 80)


def test_perfect_and_useless_scores() -> None:
    perfect = detection_scores([2.0, 3.0], [0.0, 1.0])
    assert perfect == {"auroc_score": 1.0, "aupr_in_score": 1.0, "aupr_out_score": 1.0, "fpr95_error": 0.0}
    useless = detection_scores([1.0, 1.0], [1.0, 1.0])
    assert useless["auroc_score"] == useless["aupr_in_score"] == 0.5
    assert useless["fpr95_error"] == 1.0
    assert np.isnan(list(detection_scores([], [1.0]).values())).all()
    with pytest.raises(ValueError, match="without NaN"):
        detection_scores([np.nan], [1.0])


def test_energy_needs_what_was_taken_off() -> None:
    rng = np.random.default_rng(0)
    logits = 5 * rng.normal(size=(7, 4))
    largest = logits.max(axis=1)
    shifted = logits - largest[:, None]
    expected = np.log(np.exp(logits).sum(axis=1))
    assert negative_energy(logits) == pytest.approx(expected)
    assert negative_energy(shifted, largest) == pytest.approx(expected)
    assert negative_energy(logits, temperature=2.0) == pytest.approx(2 * np.log(np.exp(logits / 2).sum(axis=1)))
    assert np.exp(confidence(logits)) == pytest.approx(softmax(logits).max(axis=1))
    # Without it energy is confidence once more, with the sign turned.
    assert negative_energy(shifted) == pytest.approx(-confidence(logits))
    with pytest.raises(ValueError, match="largest must have shape"):
        negative_energy(shifted, largest[:3])
    with pytest.raises(ValueError, match="temperature"):
        negative_energy(shifted, temperature=0.0)


def test_columns() -> None:
    rng = np.random.default_rng(1)
    inside, outside = 4 * rng.normal(size=(30, 3)), rng.normal(size=(20, 3))
    plain = detection_columns(inside, outside)
    whole = detection_columns(inside, outside, np.zeros(30), np.zeros(20))
    assert set(plain) == {name for name in whole if name.startswith("confidence_")}
    expected = roc_auc_score(np.r_[np.ones(30), np.zeros(20)], np.r_[negative_energy(inside), negative_energy(outside)])
    assert whole["energy_auroc_score"] == pytest.approx(expected)
