"""The paragraphs on granularity and on the ensemble inside a run say what their tables do, also with lost runs."""

import numpy as np
import pytest

from analysis.figures.words import percent
from analysis.finding import not_found
from analysis.granularity import granularities
from analysis.one_run import ensembles
from analysis.power import detectable_within, minimum_detectable_effect
from analysis.question_findings import ensemble_findings, granularity_findings
from analysis.records import Records, cells_frame


def test_granularities_verdicts_are_those_of_their_tests(crossed) -> None:
    rows = granularities(crossed).set_index(["granularity", "response"])
    found = {one.topic: one for one in granularity_findings(crossed)}
    assert list(found) == [
        "Granularity: GMixout, rows", "Granularity: GMixout, columns", "Granularity: GMixout, blocks",
        "Which granularity?"]  # fmt: skip
    names = {"id_score": "ID", "ood_score": "OOD", "diversity_score": "members' disagreement"}
    for granularity in ("row", "column", "block"):
        text = found[f"Granularity: GMixout, {granularity}s"].text
        head = text.split(". ")[0]
        for response, name in names.items():
            row = rows.loc[granularity, response]
            assert (name in head) == bool(row["is_kept"])
            assert f"{name} {percent(row['difference'], signed=True)} [" in text
        assert f"{row['train_time_ratio']:.2f} times the training time" in text
    # Blocks lose ten points of ID: planted, and found.
    assert "(no difference" not in found["Granularity: GMixout, blocks"].text.split("ID ")[1].split(";")[0]
    assert found["Granularity: GMixout, blocks"].is_significant
    assert "single entries stay the safe choice" in found["Which granularity?"].text


def test_lost_seeds_are_told_and_what_has_no_pair_says_so(crossed) -> None:
    cells = crossed.cells
    lost = set(cells.query("granularity == 'row' and seed == 2")["cell"])
    lost |= set(cells.query("granularity == 'element' and sparsity == 0.5")["cell"])
    lost |= set(cells.query("granularity == 'block' and sparsity == 0.8")["cell"])
    rows = [row | ({"status": "failed"} if row["cell"] in lost else {}) for row in cells.to_dict("records")]
    kept = [not cell for cell in crossed.metrics["cell"].isin(lost)]
    records = Records(cells_frame(rows), crossed.metrics[kept], crossed.examples, crossed.curves)
    found = {one.topic: one for one in granularity_findings(records)}
    assert "1 seed of the study without a pair." in found["Granularity: GMixout, rows"].text
    assert "4 seeds" in found["Granularity: GMixout, rows"].test
    assert "no run has a partner of element masks" in found["Granularity: GMixout, blocks"].text
    assert not any("nan" in one.text for one in found.values())


def test_the_ensembles_verdict_is_that_of_its_tests(rivals, small) -> None:
    rows = ensembles(rivals)
    gains, sides = ensemble_findings(rivals)
    base = rows[rows["method"].eq("gmixout") & rows["weights"].eq("ensemble")].iloc[0]
    assert f"{percent(base['ensemble_gain'], signed=True)} [" in gains.text
    equal = rows[rows["has_equal_training"].eq(True)]
    assert sides.is_significant == bool(equal[["is_id_significant", "is_ood_significant"]].to_numpy().any())
    for name, word in (("id", "ID"), ("ood", "OOD")):
        none = f"No side of equal training can be told from them by {word}."
        assert (none in sides.text) == (not equal[f"is_{name}_significant"].any())
    short = rows[rows["method"].eq("ensemble/short") & rows["weights"].eq("ensemble")].iloc[0]
    assert f"averaged: {percent(short['id_difference'], signed=True)} [" in sides.text
    assert f"Holm over {int(base['family_tests'])} tests" in sides.test
    assert "nan" not in gains.text + sides.text
    assert ensemble_findings(small) == []


def test_what_could_have_been_found_is_the_paired_tests() -> None:
    gaps = np.array([0.01, -0.02, 0.03, 0.0, 0.015])
    half = 2.7764451051977987 * gaps.std(ddof=1) / np.sqrt(5)
    expected = minimum_detectable_effect(float(gaps.std(ddof=1)), 5)
    assert detectable_within(gaps.mean() - half, gaps.mean() + half, 5) == pytest.approx(expected)
    assert np.isnan(detectable_within(0.01, 0.01, 5))
    assert not_found(1.0, float("nan")) == "no difference found, p = 1"
