"""Comparisons: families of Holm against statsmodels, the t-test against scipy, pairing by run, holes, printed forms."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis import latex, printing
from analysis.comparisons import compare, paired_p_value
from analysis.records import Records, cells_frame, concatenate
from analysis.selection import select
from analysis.shifts import shift_scores
from analysis.tables import summary
from tests.analysis.rivals import RIVALS, fabricate_rivals
from tests.analysis.test_selection import permuted


@pytest.fixture(scope="module")
def frame(rivals) -> pd.DataFrame:
    return compare(rivals, draws=100)


def with_gap(whole: Records, method: str, split: str, gaps: dict[int, float]) -> Records:
    """The records with one method's accuracy on a split set to full fine-tuning's plus a gap, by seed."""
    metrics = whole.metrics.copy()
    is_there = metrics["split"].eq(split) & metrics["metric"].eq("accuracy_score") & metrics["weights"].eq("reported")
    cells = whole.cells.set_index("cell")
    full = {cells.loc[cell, "seed"]: cell for cell in select(whole).set_index("method").loc["full", "cells"]}
    value = metrics[is_there].set_index("cell")["value"]
    for cell in cells.index[cells["method"].eq(method)]:
        seed = cells.loc[cell, "seed"]
        metrics.loc[is_there & metrics["cell"].eq(cell), "value"] = value[full[seed]] + gaps[seed]
    return Records(whole.cells, metrics, whole.examples, whole.curves)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_the_t_test_is_scipys(values: list[float]) -> None:
    gaps = np.array(values) + 0.1 * np.arange(len(values))
    assert paired_p_value(gaps) == pytest.approx(stats.ttest_1samp(gaps, 0.0).pvalue)


def test_no_spread_is_no_test() -> None:
    assert np.isnan(paired_p_value([0.01]))
    assert np.isnan(paired_p_value([]))
    assert np.isnan(paired_p_value([0.1 + 0.2, 0.3, 0.3]))
    assert paired_p_value([0.0, 0.0]) == 1.0


def test_a_row_a_reference_method_and_score(frame) -> None:
    assert len(frame) == 2 * (len(RIVALS) - 1) * 3
    assert not (frame["method"] == frame["reference"]).any()
    assert list(frame["reference"].unique()) == ["full", "gmixout"]
    assert list(frame["score"].unique()) == ["id_score", "ood_score", "corruption_score"]
    over = frame.groupby("score")["difference_over"].unique().map(list).to_dict()
    assert over["ood_score"] == ["seeds and examples"]
    assert over["corruption_score"] == ["seeds"]


def test_differences_are_paired_by_seed(rivals, frame) -> None:
    scores = shift_scores(rivals.metrics, weights=("reported",)).set_index("cell")["ood_score"]
    seeds = rivals.cells.set_index("cell")["seed"]
    chosen = select(rivals).set_index("method")["cells"]
    by_seed = {method: {seeds[cell]: scores[cell] for cell in cells} for method, cells in chosen.items()}
    for row in frame.query("score == 'ood_score' and method != 'zero_shot'").to_dict("records"):
        ours, base = by_seed[row["method"]], by_seed[row["reference"]]
        gaps = [ours[seed] - base[seed] for seed in (0, 1, 2)]
        expected = stats.ttest_rel([ours[seed] for seed in (0, 1, 2)], [base[seed] for seed in (0, 1, 2)])
        assert row["difference"] == pytest.approx(np.mean(gaps))
        assert row["p_value"] == pytest.approx(expected.pvalue)
        assert (row["p_value"] < 0.05) == (row["difference_t_low"] > 0 or row["difference_t_high"] < 0)
        assert (row["paired_seeds"], row["unpaired_seeds"]) == (3, 0)
        assert set(row["cells"]) == {*chosen[row["method"]], *chosen[row["reference"]]}
    zero_shot = frame.query("score == 'ood_score' and method == 'zero_shot' and reference == 'full'").iloc[0]
    assert zero_shot["difference"] == pytest.approx(by_seed["zero_shot"][0] - np.mean(list(by_seed["full"].values())))
    assert (zero_shot["paired_seeds"], zero_shot["unpaired_seeds"], zero_shot["seeds"]) == (3, 0, 1)


def test_zero_shot_is_a_reference_of_every_seed(rivals, frame) -> None:
    rows = compare(rivals, ("zero_shot",), draws=20).query("score == 'ood_score'").set_index("method")
    assert (rows["paired_seeds"].unique().tolist(), rows["unpaired_seeds"].unique().tolist()) == ([3], [0])
    other = frame.query("score == 'ood_score' and method == 'zero_shot' and reference == 'full'").iloc[0]
    assert rows.loc["full", "difference"] == pytest.approx(-other["difference"])
    assert rows.loc["full", "p_value"] == pytest.approx(other["p_value"])


def test_differences_are_those_of_the_summary(rivals) -> None:
    rows = compare(rivals, references=("full",), draws=100).set_index(["method", "score"])
    methods = summary(rivals, draws=100).query("weights == 'reported' and method != 'full'").set_index("method")
    for method in methods.index:
        for name in ("id", "ood", "corruption"):
            found = rows.loc[(method, f"{name}_score"), ["difference", "difference_t_low", "difference_t_high"]]
            ends = [f"{name}_difference", f"{name}_difference_t_low", f"{name}_difference_t_high"]
            assert found.tolist() == pytest.approx(methods.loc[method, ends].tolist())


def test_a_family_is_all_methods_and_scores_of_one_reference(frame) -> None:
    for _, family in frame.groupby("reference"):
        known = family.dropna(subset=["p_value"])
        assert known["holm_p_value"].to_numpy() == pytest.approx(multipletests(known["p_value"], method="holm")[1])
        assert (family["is_significant"] == family["holm_p_value"].le(0.05)).all()
    assert frame["is_significant"].any()
    assert not frame["is_significant"].all()


def test_more_comparisons_make_it_harder(rivals) -> None:
    gapped = with_gap(rivals, "lora", "id_test", {0: 0.1000, 1: 0.1001, 2: 0.0999})
    frames = (compare(gapped, ("full",), scores, draws=20) for scores in (["id_score"], ["id_score", "ood_score"]))
    few, many = (rows.query("method == 'lora' and score == 'id_score'").iloc[0] for rows in frames)
    assert few["difference_t_low"] > 0.09
    expected = stats.ttest_1samp([0.1, 0.1001, 0.0999], 0.0).pvalue
    assert few["p_value"] == many["p_value"] == pytest.approx(expected, rel=1e-6)
    assert few["p_value"] < few["holm_p_value"] < many["holm_p_value"]
    assert few["is_significant"]


def test_a_constant_gap_has_no_p_value_and_an_equal_method_has_one(rivals) -> None:
    for gap, expected in ((0.02, float("nan")), (0.0, 1.0)):
        rows = compare(with_gap(rivals, "lora", "id_test", dict.fromkeys((0, 1, 2), gap)), ("full",), draws=20)
        row = rows.query("method == 'lora' and score == 'id_score'").iloc[0]
        assert row["p_value"] == pytest.approx(expected, nan_ok=True)
        assert row["holm_p_value"] == pytest.approx(expected, nan_ok=True)
        assert not row["is_significant"]


def test_settings_are_chosen_on_id_validation_alone(rivals, frame) -> None:
    other = compare(permuted(rivals, 0), draws=20)
    assert other["cells"].tolist() == frame["cells"].tolist()
    assert not other["difference"].equals(frame["difference"])


def test_missing_seeds_are_shown(rivals, frame) -> None:
    lost = set(rivals.cells.query("method == 'diwa' and seed == 1")["cell"])
    rows = rivals.cells.to_dict("records")
    cells = [row | {"status": "failed"} if row["cell"] in lost else row for row in rows]
    holed = Records(cells_frame(cells), rivals.metrics, rivals.examples, rivals.curves)
    found = compare(holed, ("full",), draws=20)
    row = found.query("method == 'diwa' and score == 'ood_score'").iloc[0]
    assert (row["seeds"], row["missing"], row["paired_seeds"], row["unpaired_seeds"]) == (2, 1, 2, 1)
    shown = printing.printed_comparisons(found).set_index("method").loc["DiWA"]
    assert shown["seeds"] == "2 (1 missing)"
    assert shown["OOD − Full fine-tuning (points)"].endswith(" (2 paired)")
    # A seed that was never run is nobody's failure, but the pairs say that it is not there.
    gone = compare(rivals.keep(set(rivals.cells["cell"]) - lost), ("full",), draws=20)
    row = gone.query("method == 'diwa' and score == 'ood_score'").iloc[0]
    assert (row["missing"], row["unpaired_seeds"]) == (0, 1)


def test_wise_weights_are_compared_where_asked(rivals) -> None:
    rows = compare(rivals, ("full",), weights=("reported", "wise"), draws=20)
    itself = rows.query("method == 'full'")
    assert itself["weights"].eq("wise").all()
    assert itself["alpha"].between(0, 1).all()
    assert itself.set_index("score").loc["ood_score", "difference"] > 0
    # WiSE-FT weights are not tested on corruptions: no number, no test, not counted in the family.
    assert np.isnan(itself.set_index("score").loc["corruption_score", "holm_p_value"])
    assert "ensemble" not in set(rows.query("weights == 'wise'")["method"])
    text = printing.printed_comparisons(rows)
    assert text["method"].str.contains("Full fine-tuning \\+ WiSE-FT α=").any()
    assert text.loc[text["method"].str.contains("WiSE"), "corruption − Full fine-tuning (points)"].eq("—").all()


def test_printed_stars_follow_holm(frame, tmp_path) -> None:
    text = printing.printed_comparisons(frame)
    assert len(text) == len(RIVALS)
    assert text["method"].tolist()[:2] == ["Zero-shot", "Linear probe"]
    shown = text.set_index("method")
    headings = {"id_score": "ID", "ood_score": "OOD", "corruption_score": "corruption"}
    for row in frame.to_dict("records"):
        label = {"full": "Full fine-tuning", "gmixout": "GMixout"}[row["reference"]]
        heading = f"{headings[row['score']]} − {label} (points)"
        cell = shown.loc[printing.theme.look(row["method"]).label, heading]
        assert cell.endswith(" *") == row["is_significant"]
        assert cell.startswith(f"{100 * row['difference']:+.1f} [")
    assert shown.loc["Full fine-tuning", "ID − Full fine-tuning (points)"] == "—"
    assert latex.to_latex(text).isascii()
    assert printing.to_markdown(text).count("\n") == len(text) + 2
    printing.to_csv(frame, tmp_path / "c.csv", "f" * 64)
    back = pd.read_csv(tmp_path / "c.csv", comment="#")
    assert back["holm_p_value"].to_numpy() == pytest.approx(frame["holm_p_value"].to_numpy(), abs=0, nan_ok=True)


def test_places_are_families_of_their_own(frame) -> None:
    whole = fabricate_rivals(seeds=(0, 1), learning_rates=(1e-3,))
    tables = [table.assign(cell="x" + table["cell"]) for table in (whole.cells, whole.metrics, whole.examples,
                                                                 whole.curves)]  # fmt: skip
    tables[0]["benchmark"] = pd.array(["other"] * len(tables[0]), dtype="string")
    both = compare(concatenate([whole, Records(*tables)]), ("full",), draws=20)
    one = compare(whole, ("full",), draws=20)
    assert both["benchmark"].tolist() == ["digits"] * len(one) + ["other"] * len(one)
    for _, part in both.groupby("benchmark"):
        columns = ["method", "difference", "difference_low", "holm_p_value"]
        pd.testing.assert_frame_equal(part[columns].reset_index(drop=True), one[columns])
    assert {"benchmark", "backbone"} <= set(printing.printed_comparisons(both).columns)
    assert "benchmark" not in printing.printed_comparisons(one)


def test_empty_records_absent_references_and_bad_choices(rivals) -> None:
    assert len(compare(Records.empty())) == 0
    assert len(printing.printed_comparisons(compare(Records.empty()))) == 0
    assert len(compare(rivals, ("flyp",))) == 0
    with pytest.raises(ValueError, match="reported and wise, got member"):
        compare(rivals, weights=("member",))
    with pytest.raises(ValueError, match=r"significance must lie in \(0, 1\), got 5"):
        compare(rivals, significance=5)
