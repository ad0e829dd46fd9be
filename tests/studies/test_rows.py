"""The numbers that a cell's answers come to: which rows there are, and that each is what `analysis` says of it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from analysis.accuracy import accuracy_score, harmonic_accuracy_score
from analysis.diversity import diversity_scores, ensemble_log_probabilities, feature_diversity_score
from analysis.records import metrics_frame
from analysis.selective import aurc_error
from studies.evaluate import answers, logits, to_input
from studies.features import catching
from studies.outputs import Outputs
from studies.rows import ALONG_TRAINING, metric_rows, training_rows

SPLITS = {"id_val": 20, "id_test": 31, "ood/real": 23, "ood/clipart": 17}


@pytest.fixture
def outputs() -> Outputs:
    rng = np.random.default_rng(0)
    labels = {split: rng.integers(4, size=size) for split, size in SPLITS.items()}

    def answered() -> dict[str, np.ndarray]:
        found = {split: np.eye(4)[truth] + rng.normal(size=(len(truth), 4)) for split, truth in labels.items()}
        return {split: (values - values.max(axis=1)[:, None]).astype(np.float16) for split, values in found.items()}

    largest = {split: (9 * rng.random(size)).astype(np.float32) for split, size in SPLITS.items()}
    members = tuple(answered() for _ in range(3))
    groups = {"many": (0, 1), "few": (2, 3)}
    return Outputs(labels, groups, answered(), largest=largest, members=members, member_steps=(5, 10, 15))


def frame_of(outputs: Outputs) -> pd.DataFrame:
    return metrics_frame([{"cell": "c", **row} for row in metric_rows(outputs)])


def value(frame: pd.DataFrame, weights: str, split: str, metric: str) -> float:
    rows = frame["weights"].eq(weights) & frame["split"].eq(split) & frame["metric"].eq(metric)
    return float(frame.loc[rows, "value"].item())


def test_ensembles_of_both_kinds(outputs) -> None:
    frame = frame_of(outputs)
    stacked = np.stack([member["ood/real"] for member in outputs.members])
    truth = outputs.labels["ood/real"]
    for weights, combine in (("ensemble", "probabilities"), ("log_ensemble", "log_probabilities")):
        expected = accuracy_score(ensemble_log_probabilities(stacked, combine), truth)
        assert value(frame, weights, "ood/real", "accuracy_score") == expected
    for metric, expected in diversity_scores(stacked, truth).items():
        assert value(frame, "members", "ood/real", metric) == pytest.approx(expected, nan_ok=True)


def test_detection_uses_what_the_shift_took_off(outputs) -> None:
    frame = frame_of(outputs)
    logits = {split: outputs.reported[split] + outputs.largest[split][:, None].astype(float) for split in SPLITS}
    energies = [np.log(np.exp(logits[split]).sum(axis=1)) for split in ("id_test", "ood/clipart")]
    is_inside = np.r_[np.ones(31), np.zeros(17)]
    found = value(frame, "reported", "ood/clipart", "energy_auroc_score")
    assert found == pytest.approx(roc_auc_score(is_inside, np.concatenate(energies)))
    names = set(frame.loc[frame["weights"].eq("ensemble"), "metric"])
    assert "confidence_fpr95_error" in names
    # The members' largest logits are not known, so their ensemble has no energy.
    assert not any(name.startswith("energy") for name in names)
    assert frame[frame["split"].eq("id_test")]["metric"].str.startswith("confidence").sum() == 0


def test_every_model_has_its_selective_risk_and_long_tail(outputs) -> None:
    frame = frame_of(outputs)
    logits, truth = outputs.reported["id_test"], outputs.labels["id_test"]
    assert value(frame, "reported", "id_test", "aurc_error") == pytest.approx(aurc_error(logits, truth))
    expected = harmonic_accuracy_score(logits, truth)
    assert value(frame, "reported", "id_test", "accuracy_harmonic_score") == pytest.approx(expected)
    scored = frame[frame["metric"].eq("excess_aurc_error")]
    assert set(scored["weights"]) == {"reported", "member", "ensemble", "log_ensemble"}


def test_harmonic_mean_by_hand() -> None:
    # Classes are right in 1/2, 1/1 and, in the second case, 0/1 of their examples.
    logits = np.eye(3)[[0, 1, 1]]
    assert harmonic_accuracy_score(logits, [0, 0, 1]) == pytest.approx(2 / (2 + 1))
    assert harmonic_accuracy_score(logits, [0, 1, 2]) == 0.0
    assert np.isnan(harmonic_accuracy_score(np.empty((0, 3)), np.empty(0, dtype=int)))


def test_steps_and_diversity_along_the_run(outputs) -> None:
    frame = frame_of(outputs)
    assert frame.loc[frame["metric"].eq("step"), "value"].tolist() == [5.0, 10.0, 15.0]
    curve = list(training_rows(outputs))
    assert {step for step, _, _ in curve} == {10, 15}
    assert len(curve) == 2 * 2 * len(ALONG_TRAINING)
    found = {(step, name): number for step, name, number in curve}
    pairs = {split: [outputs.members[1][split], outputs.members[2][split]] for split in SPLITS}
    by_domain = [diversity_scores(pairs[split], outputs.labels[split]) for split in ("ood/real", "ood/clipart")]
    for measure in ALONG_TRAINING:
        assert found[15, f"ood_{measure}"] == pytest.approx(np.mean([scores[measure] for scores in by_domain]))
        of_id = diversity_scores(pairs["id_test"], outputs.labels["id_test"])[measure]
        assert found[15, f"id_test_{measure}"] == pytest.approx(of_id)


def test_members_that_are_runs_have_no_time(outputs) -> None:
    apart = Outputs(outputs.labels, {}, outputs.reported, members=outputs.members)
    assert list(training_rows(apart)) == []
    assert not frame_of(apart)["metric"].eq("step").any()


def test_answers_come_apart_and_together_again() -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(5, 2, 2, 3), dtype=np.uint8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    found = answers(model, images)
    assert (found.logits.max(axis=1) == 0).all()
    whole = model(to_input(images)).detach().numpy()
    assert found.logits + found.largest[:, None] == pytest.approx(whole, abs=2e-3)


def test_features_are_compared_where_they_were_caught(outputs) -> None:
    rng = np.random.default_rng(2)
    features = tuple({"id_test": rng.normal(size=(31, 5)).astype(np.float32)} for _ in range(3))
    frame = frame_of(dataclasses.replace(outputs, features=features))
    expected = feature_diversity_score([one["id_test"] for one in features])
    assert value(frame, "members", "id_test", "feature_diversity_score") == pytest.approx(expected)
    assert frame["metric"].eq("feature_diversity_score").sum() == 1


def test_what_the_head_sees_is_caught_in_order_and_only_meanwhile(fresh, monkeypatch) -> None:
    monkeypatch.setattr("studies.features.EXAMPLES", 250)
    images = np.random.default_rng(0).integers(0, 256, size=(260, 32, 32, 3), dtype=np.uint8)
    with catching(fresh) as caught:
        logits(fresh, images)
    logits(fresh, images)
    with torch.inference_mode():
        whole = fresh.features(to_input(images[:250])).numpy()
    assert caught.features() == pytest.approx(whole, abs=1e-5)
    with catching(nn.Flatten()) as nothing:
        pass
    assert nothing.features() is None
