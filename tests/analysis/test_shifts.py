"""Aggregation over splits against loops, and NaN wherever a split is missing."""

import numpy as np
import pytest

from analysis.shifts import corruption_errors, mean_corruption_error, member_scores, severity_scores, shift_scores
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


def test_corruptions_are_the_ood_splits_where_there_is_no_other_shift(small) -> None:
    alone = small.metrics[~small.metrics["split"].str.startswith("ood/")]
    scores = shift_scores(alone, weights=("reported", "wise")).set_index("cell")
    reported = scores[scores["weights"].eq("reported")]
    assert reported["ood_score"].equals(reported["corruption_score"])
    assert reported["gap_error"].equals(reported["id_score"] - reported["corruption_score"])
    cell = reported.index[0]
    kinds = [np.mean([value(alone, cell, f"corruption/{kind}/{s}") for s in range(1, 6)]) for kind in KINDS]
    assert reported.loc[cell, "worst_domain_score"] == pytest.approx(min(kinds))
    # WiSE-FT's models are not evaluated on corruptions.
    assert scores.loc[scores["weights"].eq("wise"), "ood_score"].isna().all()
    # Where a domain is known, but not this one's number, the number is missing.
    assert shift_scores(small.metrics, "accuracy_score", domains=("none",))["ood_score"].isna().all()
    cut = small.metrics[small.metrics["weights"].ne("reported") | ~small.metrics["split"].str.startswith("ood/")]
    assert shift_scores(cut, weights=("reported",))["ood_score"].isna().all()


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


def test_corruption_errors_agree_with_a_loop(small) -> None:
    errors = corruption_errors(small.metrics)
    cell, other = small.cells["cell"].iloc[[0, 5]]
    ours = errors[errors["cell"].eq(cell)]
    assert len(ours) == len(KINDS) * 5
    by_kind = [
        np.mean([1 - value(small.metrics, cell, f"corruption/{kind}/{s}") for s in range(1, 6)]) for kind in KINDS
    ]
    means = mean_corruption_error(errors).set_index("cell")["mean_corruption_error"]
    assert means[cell] == pytest.approx(np.mean(by_kind))
    shifted = shift_scores(small.metrics, weights=("reported",)).set_index("cell")["corruption_score"]
    assert means.loc[shifted.index].to_numpy() == pytest.approx(1 - shifted.to_numpy())
    reference = errors[errors["cell"].eq(other)]
    ratios = []
    for kind in KINDS:
        sums = [frame.loc[frame["kind"].eq(kind), "error"].sum() for frame in (ours, reference)]
        ratios.append(sums[0] / sums[1])
    relative = mean_corruption_error(errors, reference).set_index("cell")["mean_corruption_error"]
    assert relative[cell] == pytest.approx(np.mean(ratios))
    assert relative[other] == pytest.approx(1.0)


def test_a_missing_severity_makes_the_corruption_error_nan(small) -> None:
    errors = corruption_errors(small.metrics)
    cell = errors["cell"].iloc[0]
    cut = errors[~(errors["cell"].eq(cell) & errors["kind"].eq("fog") & errors["severity"].eq(3))]
    found = mean_corruption_error(cut).set_index("cell")["mean_corruption_error"]
    assert found[found.isna()].index.tolist() == [cell]
    with pytest.raises(ValueError, match="once; choose one cell"):
        mean_corruption_error(errors, errors)
    assert corruption_errors(small.metrics.iloc[:0]).empty
