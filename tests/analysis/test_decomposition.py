"""The decomposition against Ueda and Nakano's formulas, exact identities, planted truths, and cases worked by hand."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from analysis import decomposition
from analysis.accuracy import accuracy_score, cross_entropy_error
from analysis.calibration import brier_error
from analysis.decomposition import averaging_gaps, decompose
from analysis.diversity import ensemble_log_probabilities
from analysis.probabilities import log_softmax, softmax

SEEDS = st.integers(0, 2**32 - 1)


def runs(seed: int, number: int = 4, members: int = 3, examples: int = 11) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=examples)
    shared = rng.normal(size=(number, 1, examples, 3))
    places = rng.normal(size=(1, members, 1, 3))
    return np.eye(3)[labels] + shared + places + rng.normal(size=(number, members, examples, 3)), labels


def terms(frame: pd.DataFrame) -> pd.Series:
    return frame.set_index("term")["estimate"]


@settings(max_examples=30)
@given(SEEDS, st.integers(2, 5), st.integers(2, 4))
def test_brier_terms_are_ueda_and_nakanos(seed: int, number: int, members: int) -> None:
    logits, labels = runs(seed, number, members)
    probabilities = softmax(logits)
    found = terms(decompose(logits, labels))
    truth = np.eye(3)[labels]
    deviations = probabilities - probabilities.mean(axis=0)
    within = [np.einsum("snc,snc->", deviations[:, a], deviations[:, b]) / (number - 1) / len(labels)
              for a, b in product(range(members), repeat=2)]  # fmt: skip
    products = np.array(within).reshape(members, members)
    variance = np.trace(products) / members
    covariance = (products.sum() - np.trace(products)) / (members * (members - 1))
    assert found["variance"] == pytest.approx(variance)
    assert found["covariance"] == pytest.approx(covariance)
    plugged_in = ((probabilities.mean(axis=(0, 1)) - truth) ** 2).sum(axis=1).mean()
    of_ensemble = variance / members + (1 - 1 / members) * covariance
    assert found["ensemble_variance"] == pytest.approx(of_ensemble)
    assert found["bias"] == pytest.approx(plugged_in - of_ensemble / number)


@settings(max_examples=30)
@given(SEEDS, st.sampled_from(decomposition.LOSSES), st.integers(2, 4))
def test_terms_add_up_to_what_was_measured(seed: int, loss: str, members: int) -> None:
    logits, labels = runs(seed, 3, members)
    found = terms(decompose(logits, labels, loss))
    measure, combine = {"brier": (brier_error, "probabilities"),
                        "cross_entropy": (cross_entropy_error, "log_probabilities")}[loss]  # fmt: skip
    of_members = np.mean([measure(member, labels) for run in logits for member in run])
    of_ensembles = np.mean([measure(ensemble_log_probabilities(run, combine), labels) for run in logits])
    assert found["member_error"] == pytest.approx(of_members)
    assert found["ensemble_error"] == pytest.approx(of_ensembles)
    rest = found["variance"] / members + (1 - 1 / members) * found["covariance"]
    assert found["bias"] + rest == pytest.approx(of_ensembles)
    assert found["bias"] + found["drift"] + found["variance"] == pytest.approx(of_members)
    gain = found["drift"] + (1 - 1 / members) * (found["variance"] - found["covariance"])
    assert found["gain"] == pytest.approx(gain) == pytest.approx(of_members - of_ensembles)


def test_spread_of_log_probabilities_is_a_divergence_from_their_centroid() -> None:
    # Two runs of one member: half of the jackknife's work, done by hand.
    logits, labels = runs(0, 2, 1)
    logs = log_softmax(logits)[:, 0]
    centroid = log_softmax(logs.mean(axis=0))
    divergence = np.mean([(np.exp(centroid) * (centroid - one)).sum(axis=1).mean() for one in logs])
    # Leaving one run out leaves a single one, without a spread: twice the plug-in value.
    assert terms(decompose(logits, labels, "cross_entropy"))["variance"] == pytest.approx(2 * divergence)
    assert divergence == pytest.approx(-logsumexp(logs.mean(axis=0), axis=1).mean())


def test_brier_terms_are_unbiased_however_few_the_runs() -> None:
    # All pairs of runs of a world with four equally likely ones: the mean estimate is the world's own.
    logits, labels = runs(1, 4, 2)
    world = softmax(logits)
    truth = np.eye(3)[labels]
    deviations = world - world.mean(axis=0)
    estimates = pd.DataFrame([terms(decompose(logits[[a, b]], labels)) for a, b in product(range(4), repeat=2)])
    mean = estimates.mean()
    assert mean["bias"] == pytest.approx(((world.mean(axis=(0, 1)) - truth) ** 2).sum(axis=1).mean())
    assert mean["variance"] == pytest.approx((deviations**2).sum(axis=3).mean())
    assert mean["covariance"] == pytest.approx((deviations[:, 0] * deviations[:, 1]).sum(axis=2).mean())
    places = world.mean(axis=0)
    assert mean["drift"] == pytest.approx(((places - places.mean(axis=0)) ** 2).sum(axis=2).mean())


@pytest.mark.parametrize("loss", decomposition.LOSSES)
def test_limits(loss: str) -> None:
    logits, labels = runs(2)
    alike = terms(decompose(np.repeat(logits[:, :1], 3, axis=1), labels, loss))
    assert alike["drift"] == pytest.approx(0.0, abs=1e-12)
    assert alike["gain"] == pytest.approx(0.0, abs=1e-12)
    assert alike["variance"] == pytest.approx(alike["covariance"])
    still = terms(decompose(np.repeat(logits[:1], 3, axis=0), labels, loss))
    assert still[["variance", "covariance", "ensemble_variance"]].to_numpy() == pytest.approx(0.0, abs=1e-12)
    assert still["gain"] == pytest.approx(still["drift"])
    alone = terms(decompose(logits[:1], labels, loss))
    assert alone.dropna().index.tolist() == ["member_error", "ensemble_error", "gain"]
    single = terms(decompose(logits[:, :1], labels, loss))
    assert single[single.isna()].index.tolist() == ["covariance"]
    assert np.isnan(terms(decompose(logits[:, :, :0], labels[:0], loss))).all()


def test_parts_change_nothing_and_files_will_do(tmp_path, monkeypatch) -> None:
    logits, labels = runs(3)
    whole = decompose(logits, labels)
    np.save(tmp_path / "runs.npy", logits)
    monkeypatch.setattr(decomposition, "ENTRIES", 5 * logits[:, :, 0].size)
    in_parts = decompose(list(np.load(tmp_path / "runs.npy", mmap_mode="r")), labels)
    pd.testing.assert_frame_equal(whole, in_parts)


def test_intervals_over_seeds_and_examples() -> None:
    logits, labels = runs(4, 6, 2, 40)
    found = {over: decompose(logits, labels, over=over).set_index("term") for over in decomposition.OVER}
    widths = {over: frame["high"] - frame["low"] for over, frame in found.items()}
    assert (widths["both"] > widths["seeds"]).all()
    # The member error of a run is a plain mean, so its intervals are textbook.
    errors = np.array([[brier_error(member, labels) for member in run] for run in logits]).mean(axis=1)
    half = 2.5705818 * errors.std(ddof=1) / np.sqrt(6)
    assert widths["seeds"]["member_error"] == pytest.approx(2 * half)
    assert decompose(logits[:2], labels)[["low", "high"]].isna().all(axis=None)
    examples = decompose(logits[:2], labels, over="examples")
    assert examples[["low", "high"]].notna().all(axis=None)


@pytest.mark.slow
@pytest.mark.parametrize("loss", decomposition.LOSSES)
def test_intervals_cover_planted_terms(loss: str) -> None:
    # Gaussian logits whose terms are known from very many runs; 6 runs each, 200 draws.
    rng = np.random.default_rng(0)
    centre, labels = rng.normal(size=(60, 3)), rng.integers(3, size=60)

    def drawn(number: int) -> np.ndarray:
        shared = 0.6 * rng.normal(size=(number, 1, 60, 3))
        return centre + shared + 0.6 * rng.normal(size=(number, 2, 60, 3))

    truth = terms(decompose(drawn(1500), labels, loss))
    names = ["bias", "variance", "covariance", "ensemble_error", "gain"]
    hits = pd.DataFrame(
        [_covers(decompose(drawn(6), labels, loss).set_index("term").loc[names], truth[names]) for _ in range(200)]
    )
    # Three standard errors of a coverage of .95 over 200 draws are .046.
    assert (hits.mean() >= 0.95 - 0.046).all(), hits.mean()


def _covers(frame: pd.DataFrame, truth: pd.Series) -> pd.Series:
    return frame["low"].le(truth) & truth.le(frame["high"])


@settings(max_examples=20)
@given(SEEDS)
def test_gaps_are_differences_of_what_each_model_scores(seed: int) -> None:
    logits, labels = runs(seed, 2, 3)
    members, average = logits[0], logits[1, 0]
    found = averaging_gaps(members, labels, average).set_index("metric")
    for metric, measure in (("accuracy_score", accuracy_score), ("brier_error", brier_error),
                            ("cross_entropy_error", cross_entropy_error)):  # fmt: skip
        row = found.loc[metric]
        assert row["member"] == pytest.approx(np.mean([measure(member, labels) for member in members]))
        assert row["ensemble"] == pytest.approx(measure(np.log(softmax(members).mean(axis=0)), labels))
        assert row["log_ensemble"] == pytest.approx(measure(members.mean(axis=0), labels))
        assert row["average_gap"] == pytest.approx(measure(average, labels) - row["ensemble"])
        assert row["log_gap"] == pytest.approx(row["log_ensemble"] - row["ensemble"])
    # Both losses are convex: averaging cannot hurt.
    assert (found.loc[["brier_error", "cross_entropy_error"], "ensemble_gap"] <= 1e-12).all()
    assert averaging_gaps(members, labels)[["weight_average", "average_gap"]].isna().all(axis=None)


def test_bad_input_is_refused() -> None:
    logits, labels = runs(0)
    with pytest.raises(ValueError, match="loss must be one of"):
        decompose(logits, labels, "hinge")
    with pytest.raises(ValueError, match="over must be one of"):
        decompose(logits, labels, over="members")
    with pytest.raises(ValueError, match="level must lie"):
        decompose(logits, labels, level=95)
    with pytest.raises(ValueError, match="as many members each"):
        decompose([list(logits[0]), list(logits[1][:2])], labels)
    with pytest.raises(ValueError, match="labels must be whole numbers in"):
        decompose(logits, labels + 3)


def test_weighted_examples_are_a_mean_over_domains() -> None:
    logits, labels = runs(5, 4, 2, 15)
    sizes = np.repeat([5, 10], [5, 10])
    whole = decompose(logits, labels, weights=1 / sizes)
    parts = [decompose(logits[:, :, part], labels[part]) for part in (slice(0, 5), slice(5, 15))]
    mean = (parts[0]["estimate"] + parts[1]["estimate"]) / 2
    assert whole["estimate"].to_numpy() == pytest.approx(mean.to_numpy())
    pd.testing.assert_frame_equal(decompose(logits, labels, over="both", weights=np.full(15, 7.0)),
                                  decompose(logits, labels, over="both"))  # fmt: skip
    with pytest.raises(ValueError, match="at least 0, one an example"):
        decompose(logits, labels, weights=np.ones(3))
