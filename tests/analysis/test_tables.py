"""The closing tables: numbers against records, pairing, honest holes, and their printed forms."""

import numpy as np
import pandas as pd
import pytest

from analysis import latex, printing
from analysis.levers import lever_effects, lever_variance
from analysis.records import Records
from analysis.selection import select
from analysis.shifts import shift_scores
from analysis.tables import summary
from tests.analysis.rivals import RIVALS


@pytest.fixture(scope="module")
def frame(records) -> pd.DataFrame:
    return summary(records, draws=300)


def test_a_row_a_method_and_a_wise_row(frame) -> None:
    reported = frame[frame["weights"].eq("reported")]
    assert reported["method"].tolist() == ["zero_shot", "linear_probe", "full", "random_mask", "mixout", "gmixout"]
    assert frame.loc[frame["weights"].eq("wise"), "method"].tolist() == reported["method"].tolist()[1:]
    assert frame.loc[frame["weights"].eq("wise"), "alpha"].between(0, 1).all()


def test_scores_are_the_means_of_the_chosen_cells(records, frame) -> None:
    scores = shift_scores(records.metrics, weights=("reported",)).set_index("cell")
    for row in select(records).to_dict("records"):
        ours = scores.loc[list(row["cells"])]
        shown = frame[frame["method"].eq(row["method"]) & frame["weights"].eq("reported")].iloc[0]
        for name in ("id_score", "ood_score", "corruption_score", "gap_error"):
            assert shown[name] == pytest.approx(ours[name].mean())
            assert shown[f"{name}_low"] < shown[name] < shown[f"{name}_high"]
        assert shown["id_score_over"] == "seeds and examples"
        assert shown["corruption_score_over"] == "seeds"
        assert shown["cells"] == row["cells"]


def test_differences_are_paired_by_seed(records, frame) -> None:
    scores = shift_scores(records.metrics, weights=("reported",)).set_index("cell")["ood_score"]
    seeds = records.cells.set_index("cell")["seed"]
    rows = frame[frame["weights"].eq("reported")].set_index("method")
    by_seed = {m: {seeds[c]: scores[c] for c in rows.loc[m, "cells"]} for m in ("full", "mixout")}
    expected = np.mean([by_seed["mixout"][seed] - by_seed["full"][seed] for seed in (0, 1)])
    assert rows.loc["mixout", "ood_difference"] == pytest.approx(expected)
    assert rows.loc["mixout", "paired_seeds"] == 2
    assert np.isnan(rows.loc["full", "ood_difference"])
    wide = rows.loc["mixout", "ood_difference_t_high"] - rows.loc["mixout", "ood_difference_t_low"]
    assert wide > 0


def test_one_zero_shot_cell_is_paired_with_every_seed(records, frame) -> None:
    extra = records.cells.query("method == 'zero_shot' and seed == 1")["cell"]
    cut = records.keep(set(records.cells["cell"]) - set(extra))
    row = summary(cut, draws=300).iloc[0]
    assert row["method"] == "zero_shot"
    assert row["seeds"] == 1
    assert row["paired_seeds"] == 2
    assert row["ood_difference"] == pytest.approx(frame.iloc[0]["ood_difference"])
    assert np.isnan(row["corruption_score_low"])


def test_holes_are_shown(records) -> None:
    lost = records.cells.query("method == 'mixout' and seed == 1")["cell"]
    frame = summary(records.keep(set(records.cells["cell"]) - set(lost[:1])), draws=50)
    assert frame["missing"].sum() in (0, 2)
    metrics = records.metrics[~records.metrics["split"].str.startswith("corruption")]
    bare = summary(Records(records.cells, metrics, records.examples.iloc[:0], records.curves), draws=50)
    assert bare["corruption_score"].isna().all()
    assert bare["id_score"].notna().all()
    assert bare["id_score_over"].eq("seeds").all()
    text = printing.printed_summary(bare)
    assert "corruption (%)" not in text
    assert "ID (%)" in text


def test_effects_find_what_was_put_in(records) -> None:
    effects = lever_effects(records, draws=500)
    assert len(effects) == 5 * 5
    sparsity = effects[effects["lever"].eq("sparsity")].set_index("response")
    assert sparsity.loc["ood_score", "effect"] > 0
    assert sparsity.loc["diversity_score", "effect"] < 0
    assert sparsity.loc[["ood_score", "diversity_score"], "excludes_zero"].all()
    assert (effects["low"] <= effects["effect"]).all()
    assert (effects["effect"] <= effects["high"]).all()
    assert effects["partial_eta_squared"].between(0, 1).all()
    anchors = effects[effects["lever"].eq("anchor")]
    assert set(anchors["from_level"]) == {"pretrained"}
    variance = lever_variance(records)
    assert {"anchor:sparsity", "run", "residual"} <= set(variance["term"])


def test_levers_are_compared_at_equal_rates(records) -> None:
    """A validation that prefers another rate at each sparsity must not pass for an effect of the sparsity."""
    metrics = records.metrics.copy()
    known = records.cells.set_index("cell")[["sparsity", "learning_rate", "method"]]
    cell = known.loc[metrics["cell"]].reset_index(drop=True)
    is_ours = cell["method"].eq("gmixout").to_numpy() & metrics["weights"].eq("reported").to_numpy()
    is_fast = cell["learning_rate"].eq(cell["learning_rate"].max()).to_numpy(dtype=bool)
    is_held = cell["sparsity"].ge(0.9).fillna(False).to_numpy(dtype=bool)
    metric = metrics["metric"].eq("accuracy_score").to_numpy()
    favoured = is_ours & metric & metrics["split"].eq("id_val").to_numpy() & (is_fast == is_held)
    metrics.loc[favoured, "value"] = 1.0
    skewed = Records(records.cells, metrics, records.examples, records.curves)
    before, after = (lever_effects(stored, draws=50).query("response == 'ood_score'") for stored in (records, skewed))
    pd.testing.assert_frame_equal(before, after)


def test_a_side_arm_without_partners_is_no_lever(records) -> None:
    """Settings that differ from the grid in two levers at once tell nothing about either."""
    cells = records.cells.copy()
    is_ours = cells["method"].eq("gmixout")
    is_arm = is_ours & cells["anchor"].eq("latest") & cells["sparsity"].eq(0.9)
    for lever, usual, unusual in (("granularity", "element", "row"), ("count", "exact", "bernoulli")):
        cells.loc[is_ours, lever] = usual
        cells.loc[is_arm, lever] = unusual
    found = lever_effects(Records(cells, records.metrics, records.examples, records.curves), draws=50)
    assert set(found["lever"]) == {"anchor", "resample_every", "sparsity", "learning_rate"}
    assert (found["pairs"] > 0).all()


def test_several_benchmarks_stay_apart(small) -> None:
    rows = small.cells.assign(cell="x" + small.cells["cell"])
    rows["benchmark"] = pd.array(["digits-longtail"] * len(rows), dtype="string")
    from analysis.records import concatenate

    def renamed(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(cell="x" + table["cell"])

    other = Records(rows, renamed(small.metrics), renamed(small.examples), renamed(small.curves))
    both = summary(concatenate([small, other]), draws=50)
    one = summary(small, draws=50)
    assert len(both) == 2 * len(one)
    columns = ["id_score", "ood_score", "ood_difference_low", "corruption_score_high"]
    for _, part in both.groupby("benchmark"):
        pd.testing.assert_frame_equal(part[columns].reset_index(drop=True), one[columns])


def test_summary_of_methods_without_a_learning_rate(rivals) -> None:
    frame = summary(rivals, draws=50)
    rows = frame[frame["weights"].eq("reported")].set_index("method")
    assert len(rows) == len(RIVALS)
    scores = shift_scores(rivals.metrics, weights=("reported",)).set_index("cell")["ood_score"]
    seeds = rivals.cells.set_index("cell")["seed"]
    full = {seeds[cell]: scores[cell] for cell in rows.loc["full", "cells"]}
    for method in ("uniform_soup", "ensemble", "ensemble/short"):
        row = rows.loc[method]
        assert np.isnan(row["learning_rate"])
        assert (row["seeds"], row["paired_seeds"]) == (3, 3)
        assert row["ood_difference"] == pytest.approx(np.mean([scores[c] - full[seeds[c]] for c in row["cells"]]))
    assert (rows.loc["zero_shot", "seeds"], rows.loc["zero_shot", "paired_seeds"]) == (1, 3)
    assert frame.loc[frame["weights"].eq("wise"), "method"].isin(["uniform_soup"]).any()
    text = printing.printed_summary(frame)["method"].tolist()
    assert {"Ensemble (short)", "GMixout + RandAugment", "Full fine-tuning + label smoothing"} <= set(text)


def test_empty_records_give_empty_tables() -> None:
    empty = Records.empty()
    assert len(summary(empty)) == len(lever_effects(empty)) == len(lever_variance(empty)) == 0
    assert len(printing.printed_summary(summary(empty))) == len(printing.printed_effects(lever_effects(empty))) == 0


def test_printed_forms(records, frame, tmp_path) -> None:
    text = printing.printed_summary(frame)
    assert text["method"].iloc[0] == "Zero-shot"
    assert text["method"].iloc[2].startswith("Linear probe + WiSE-FT α=")
    first = frame.iloc[0]
    shown = f"{100 * first['id_score']:.1f} [{100 * first['id_score_low']:.1f}, {100 * first['id_score_high']:.1f}]"
    assert text["ID (%)"].iloc[0] == shown
    markdown = printing.to_markdown(text)
    assert markdown.count("\n") == len(text) + 2
    text = latex.to_latex(printing.printed_effects(lever_effects(records, draws=50)))
    assert text.startswith("\\begin{tabular}")
    assert text.isascii()
    printing.to_csv(frame, tmp_path / "s.csv", "f" * 64)
    assert (tmp_path / "s.csv").read_text().startswith("# records sha256:" + "f" * 64 + "\n")
    back = pd.read_csv(tmp_path / "s.csv", comment="#")
    assert back["id_score"].to_numpy() == pytest.approx(frame["id_score"].to_numpy(), abs=0)
    assert tuple(back["cells"].iloc[0].split(";")) == frame["cells"].iloc[0]
