"""Aggregation over splits against loops, and NaN wherever a split is missing."""

import numpy as np
import pytest

from analysis.shifts import member_scores, severity_scores, shift_scores
from tests.analysis.synthetic import DOMAINS, KINDS, fabricate


def value(metrics, cell: str, split: str, metric: str = "accuracy_score", weights: str = "reported") -> float:
    rows = metrics[metrics["cell"].eq(cell) & metrics["split"].eq(split) & metrics["metric"].eq(metric)]
    return float(rows.loc[rows["weights"].eq(weights), "value"].item())


def test_scores_agree_with_a_loop(small) -> None:
    scores = shift_scores(small.metrics, weights=("reported",)).set_index("cell")
    for cell in small.cells["cell"].iloc[[0, 5, -1]]:
        domains = [value(small.metrics, cell, f"ood/{domain}") for domain in DOMAINS]
        corrupted = [value(small.metrics, cell, f"corruption/{kind}/{s}") for kind in KINDS for s in range(1, 6)]
        row = scores.loc[cell]
        assert row["id_score"] == value(small.metrics, cell, "id_test")
        assert row["ood_score"] == pytest.approx(np.mean(domains))
        assert row["worst_domain_score"] == min(domains)
        assert row["corruption_score"] == pytest.approx(np.mean(corrupted))
        assert row["gap_error"] == pytest.approx(row["id_score"] - np.mean(domains))
        assert np.isnan(row["many_score"])


def test_every_wise_coefficient_has_its_row(small) -> None:
    scores = shift_scores(small.metrics, weights=("wise",))
    assert not scores["id_score"].isna().any()
    assert scores.groupby("cell")["alpha"].nunique().eq(11).all()
    assert scores["corruption_score"].isna().all()


def test_a_missing_split_makes_the_mean_nan(small) -> None:
    cell = small.cells["cell"].iloc[0]
    needing = {"ood/real": ["ood_score", "worst_domain_score", "gap_error"], "corruption/fog/3": ["corruption_score"],
               "id_test": ["id_score", "gap_error"]}  # fmt: skip
    for split, names in needing.items():
        cut = small.metrics[~(small.metrics["cell"].eq(cell) & small.metrics["split"].eq(split))]
        scores = shift_scores(cut, weights=("reported",)).set_index("cell")
        assert scores.loc[cell, names].isna().all()
        assert scores.loc[cell].drop(names).drop(["weights", "alpha"]).notna().sum() >= 1
        assert scores.drop(cell)[names].notna().all(axis=None)


def test_groups_come_from_id_test() -> None:
    whole = fabricate(anchors=(), benchmark="digits-longtail", groups=True, learning_rates=(1e-3,))
    scores = shift_scores(whole.metrics, weights=("reported",))
    assert scores["many_score"].to_numpy() == pytest.approx(scores["id_score"].to_numpy() + 0.1)
    assert scores["few_score"].to_numpy() == pytest.approx(scores["id_score"].to_numpy() - 0.2)


def test_members_scores(small) -> None:
    scores = member_scores(small.metrics).set_index("cell")
    cell = small.cells.loc[small.cells["method"].eq("mixout"), "cell"].iloc[0]
    by_domain = [value(small.metrics, cell, f"ood/{d}", "label_disagreement_score", "members") for d in DOMAINS]
    assert scores.loc[cell, "diversity_score"] == pytest.approx(np.mean(by_domain))
    gain = value(small.metrics, cell, "id_test", "ensemble_gain_score", "members")
    assert scores.loc[cell, "id_ensemble_gain_score"] == gain
    zero_shot = small.cells.loc[small.cells["method"].eq("zero_shot"), "cell"]
    assert not set(zero_shot) & set(scores.index)


def test_severities_average_to_the_corruption_mean(small) -> None:
    severities = severity_scores(small.metrics)
    means = severities[severities["severity"].gt(0)].groupby("cell")["score"].mean()
    expected = shift_scores(small.metrics, weights=("reported",)).set_index("cell")["corruption_score"]
    assert means.to_numpy() == pytest.approx(expected.loc[means.index].to_numpy())
    clean = severities[severities["severity"].eq(0)].set_index("cell")["score"]
    assert clean.notna().all()


def test_nothing_in_nothing_out(small) -> None:
    assert len(shift_scores(small.metrics.iloc[:0])) == 0
    assert len(member_scores(small.metrics.iloc[:0])) == 0
    assert len(severity_scores(small.metrics.iloc[:0])) == 0
