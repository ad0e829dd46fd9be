"""Divergences, entropies, kappas and features against loops, identities, scipy, scikit-learn, statsmodels."""

from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import spatial, stats
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa

from analysis import diversity
from analysis.calibration import brier_error
from analysis.diversity import streaming
from analysis.probabilities import softmax
from tests.analysis.test_diversity import members

SEEDS = st.integers(0, 2**32 - 1)


def over_pairs(measure: Callable[[np.ndarray, np.ndarray], float], *rows: np.ndarray) -> float:
    values = [measure(a, b) for a, b in combinations(*rows, 2)]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


@settings(max_examples=25)
@given(SEEDS)
def test_divergences_agree_with_scipy(seed: int) -> None:
    logits, labels = members(seed, count=3, examples=7)
    probabilities = softmax(logits)
    found = diversity.diversity_scores(logits, labels)
    one_way = [stats.entropy(probabilities[a], probabilities[b], axis=1).mean() for a, b in permutations(range(3), 2)]
    assert found["kl_divergence_score"] == pytest.approx(np.mean(one_way))
    # scipy gives the divergence's root.
    js = over_pairs(lambda a, b: float((spatial.distance.jensenshannon(a, b, axis=1) ** 2).mean()), probabilities)
    assert found["js_divergence_score"] == pytest.approx(js)
    whole = stats.entropy(probabilities.mean(axis=0), axis=1).mean()
    own = stats.entropy(probabilities, axis=2).mean()
    assert found["predictive_entropy_score"] == pytest.approx(whole)
    assert found["member_entropy_score"] == pytest.approx(own)
    assert found["mutual_information_score"] == pytest.approx(whole - own)
    votes = [np.bincount(row, minlength=3) for row in logits.argmax(axis=2).T]
    assert found["vote_entropy_score"] == pytest.approx(np.mean([stats.entropy(row) for row in votes]))


@settings(max_examples=25)
@given(SEEDS)
def test_variance_is_what_the_ensemble_gains_in_brier_score(seed: int) -> None:
    logits, labels = members(seed)
    ensemble = diversity.ensemble_log_probabilities(logits)
    gain = np.mean([brier_error(member, labels) for member in logits]) - brier_error(ensemble, labels)
    assert diversity.prediction_variance_score(logits) == pytest.approx(gain)
    assert diversity.prediction_variance_score(logits) == pytest.approx(softmax(logits).var(axis=0).sum(axis=1).mean())


@settings(max_examples=25)
@given(SEEDS, st.integers(2, 5))
def test_kappas_agree_with_libraries(seed: int, count: int) -> None:
    logits, labels = members(seed, count=count)
    answers = logits.argmax(axis=2)
    right = answers == labels
    with np.errstate(invalid="ignore"):
        of_labels = over_pairs(cohen_kappa_score, answers)
        of_errors = over_pairs(cohen_kappa_score, right)
        correlation = over_pairs(lambda a, b: np.corrcoef(a, b)[0, 1], right)
    assert diversity.label_kappa_error(answers) == pytest.approx(of_labels)
    assert diversity.error_consistency_error(answers, labels) == pytest.approx(of_errors)
    assert diversity.error_correlation_error(answers, labels) == pytest.approx(correlation)
    table = np.stack([right.sum(axis=0), count - right.sum(axis=0)], axis=1)
    assert diversity.interrater_kappa_error(answers, labels) == pytest.approx(fleiss_kappa(table))
    shared = np.minimum(table[:, 0], table[:, 1]) / (count - int(np.ceil(count / 2)))
    assert diversity.right_entropy_score(answers, labels) == pytest.approx(shared.mean())


def test_a_table_worked_by_hand() -> None:
    # Of 10 examples 4 are right for both, 2 for the first, 1 for the second, 3 for neither.
    first = np.array([0] * 4 + [0] * 2 + [1] + [1] * 3)
    second = np.array([0] * 4 + [1] * 2 + [0] + [1] * 3)
    truth = np.zeros(10, dtype=int)
    pair = np.stack([first, second])
    assert diversity.ratio_error_score(pair, truth) == pytest.approx((0.2 + 0.1) / 0.3)
    assert diversity.q_statistic_error(pair, truth) == pytest.approx((12 - 2) / (12 + 2))
    assert diversity.error_consistency_error(pair, truth) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert diversity.error_correlation_error(pair, truth) == pytest.approx((12 - 2) / np.sqrt(6 * 4 * 5 * 5))
    rho = 10 / np.sqrt(600)
    assert diversity.independent_members_score(pair, truth) == pytest.approx(2 / (1 + rho))
    assert diversity.right_entropy_score(pair, truth) == pytest.approx(0.3)


def test_effective_members_of_two_groups() -> None:
    # Five members, of which two and three predict alike: shares of .4 and .6 of one ensemble.
    logits = np.array([[[99.0, 0.0]]] * 2 + [[[0.0, 99.0]]] * 3)
    expected = np.exp(-(0.4 * np.log(0.4) + 0.6 * np.log(0.6)))
    assert diversity.effective_members_score(logits) == pytest.approx(expected)


@settings(max_examples=25)
@given(SEEDS, st.integers(1, 12), st.sampled_from(("probabilities", "log_probabilities")))
def test_parts_and_threads_change_nothing(seed: int, size: int, combine: str) -> None:
    logits, labels = members(seed, count=3)
    whole = diversity.diversity_scores(logits, labels, combine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "ENTRIES", 9 * size)
        in_parts = diversity.diversity_scores(list(logits), labels, combine)
        assert diversity.diversity_scores(logits, labels, combine, threads=2) == pytest.approx(
            in_parts, rel=0, nan_ok=True
        )
    assert in_parts == pytest.approx(whole, nan_ok=True)


def test_members_may_be_mapped_from_disk_and_are_read_in_parts(tmp_path, monkeypatch) -> None:
    logits, labels = members(0, count=3, examples=50)
    mapped = []
    for number, member in enumerate(logits.astype(np.float16)):
        np.save(tmp_path / f"{number}.npy", member)
        mapped.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    monkeypatch.setattr(streaming, "ENTRIES", 90)
    sizes: list[int] = []
    whole = streaming.log_softmax
    monkeypatch.setattr(streaming, "log_softmax", lambda values: sizes.append(values.size) or whole(values))
    found = diversity.diversity_scores(mapped, labels)
    assert max(sizes) <= 90
    monkeypatch.undo()
    assert found == pytest.approx(diversity.diversity_scores(logits.astype(np.float16), labels))


def test_the_pairs_ensemble_is_right_where_neither_member_is() -> None:
    # Class 0 is nobody's first choice, and the pair's: so the normalised disagreement is 1 / max(0, 1).
    logits = np.log([[[0.45, 0.54, 0.01]], [[0.45, 0.01, 0.54]]])
    assert diversity.normalised_disagreement_score(logits, [0]) == 1.0
    assert diversity.diversity_scores(logits, [0])["ensemble_gain_score"] == 1.0


@settings(max_examples=15)
@given(SEEDS, st.integers(3, 40))
def test_features_agree_with_gram_matrices(seed: int, examples: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(loc=3.0, size=(3, examples, 5))
    centre = np.eye(examples) - 1 / examples
    grams = [centre @ member @ member.T @ centre for member in features]
    expected = over_pairs(lambda a, b: 1 - (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), np.stack(grams))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.diversity.features.ROWS", 7)
        assert diversity.feature_diversity_score(features) == pytest.approx(expected, abs=1e-5)
    assert diversity.cka_score(features[0], features[1]) == pytest.approx(
        1 - diversity.feature_diversity_score(features[:2])
    )


def test_features_know_no_rotation_scale_or_shift() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4))
    turned = 3.0 * features @ np.linalg.qr(rng.normal(size=(4, 4)))[0] + 7.0
    assert diversity.cka_score(features, turned) == pytest.approx(1.0, abs=1e-5)
    assert np.isnan(diversity.cka_score(features, np.ones((30, 4))))
    assert np.isnan(diversity.feature_diversity_score([features]))
    with pytest.raises(ValueError, match="as many examples each"):
        diversity.cka_score(features, features[:5])


def test_undefined_measures_are_nan() -> None:
    everywhere_right = np.zeros((2, 4), dtype=int)
    labels = np.zeros(4, dtype=int)
    for measure in (diversity.error_consistency_error, diversity.error_correlation_error,
                    diversity.interrater_kappa_error, diversity.q_statistic_error):  # fmt: skip
        assert np.isnan(measure(everywhere_right, labels))
    assert np.isnan(diversity.label_kappa_error(everywhere_right))
    assert np.isnan(diversity.kl_divergence_score(np.zeros((2, 0, 3))))
    assert np.isnan(diversity.vote_entropy_score([[0, 1]]))
    with pytest.raises(ValueError, match="labels from 0"):
        diversity.vote_entropy_score([[-1, 0], [0, 0]])
    with pytest.raises(ValueError, match="combine must be"):
        diversity.diversity_scores(np.zeros((2, 1, 2)), [0], "votes")
