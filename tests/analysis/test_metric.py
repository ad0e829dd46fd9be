"""A benchmark scored by macro-F1 is selected and reported by it; all others by accuracy, as ever."""

import numpy as np
import pandas as pd
import pytest

from analysis.comparisons import compare
from analysis.figures.render import canvas, caption, redrawn
from analysis.findings import findings
from analysis.metric import ACCURACY, main_metric, main_metrics
from analysis.outcomes import outcomes
from analysis.records import Records, metrics_frame
from analysis.selection import candidates, oracle_select, select, select_alpha
from analysis.shifts import shift_scores
from analysis.tables import summary


def scored_by_macro_f1(whole: Records) -> Records:
    """The same cells with a macro-F1 beside each accuracy, which ranks them the other way round."""
    extra = whole.metrics[whole.metrics["metric"].eq(ACCURACY)]
    extra = extra.assign(metric="macro_f1_score", value=1.0 - extra["value"])
    rows = [row for frame in (whole.metrics, extra) for row in frame.to_dict("records")]
    return Records(whole.cells, metrics_frame(rows), whole.examples, whole.curves)


def renamed(whole: Records, benchmark: str) -> Records:
    """The same records as those of another benchmark, with other hashes."""
    names = {cell: cell[::-1] for cell in whole.cells["cell"]}
    frames = [frame.assign(cell=frame["cell"].map(names).astype("string"))
              for frame in (whole.cells, whole.metrics, whole.examples, whole.curves)]  # fmt: skip
    return Records(frames[0].assign(benchmark=benchmark), *frames[1:])


def test_the_default_is_accuracy_and_naming_it_changes_nothing(records) -> None:
    assert main_metric(records) == ACCURACY
    for by in ("method", "setting"):
        pd.testing.assert_frame_equal(select(records, by), select(records, by, metric=ACCURACY))
    pd.testing.assert_frame_equal(select_alpha(records), select_alpha(records, metric=ACCURACY))
    pd.testing.assert_frame_equal(outcomes(records, select(records)), outcomes(records, select(records), ACCURACY))


def test_macro_f1_chooses_where_it_is_the_benchmarks_own(records) -> None:
    other = scored_by_macro_f1(records)
    assert main_metric(other) == "macro_f1_score"
    by_accuracy = candidates(other, metric=ACCURACY)
    pd.testing.assert_frame_equal(by_accuracy, candidates(records))
    for method, group in by_accuracy.groupby("method"):
        chosen = select(other).set_index("method").loc[method]
        assert chosen["id_val_score"] == pytest.approx(1.0 - group["id_val_score"].min())
    full = select(other).set_index("method").loc["full"]
    assert full["learning_rate"] != select(records).set_index("method").loc["full", "learning_rate"]
    alphas = select_alpha(other).set_index("method")["alpha"]
    assert not alphas.equals(select_alpha(records).set_index("method")["alpha"])
    worst = oracle_select(other).set_index("method").loc["full"]
    scores = shift_scores(other.metrics, "macro_f1_score", weights=("reported",)).set_index("cell")["ood_score"]
    assert worst["oracle_ood_score"] == pytest.approx(scores[list(worst["cells"])].mean())


def test_reported_numbers_are_of_the_same_metric(records) -> None:
    other = scored_by_macro_f1(records)
    row = summary(other).query("method == 'full' and weights == 'reported'").iloc[0]
    own = other.metrics.query("metric == 'macro_f1_score' and weights == 'reported' and split == 'id_test'")
    values = own.set_index("cell")["value"][list(row["cells"])]
    assert row["id_score"] == pytest.approx(values.mean())
    # A mean of right answers would be accuracy, so the interval must not be made of them.
    assert row["id_score_over"] == "seeds"
    ours = compare(other, draws=20)
    assert np.isfinite(ours["difference"]).any()


def test_each_benchmark_has_its_own_metric(records) -> None:
    other = scored_by_macro_f1(renamed(records, "cameras"))
    both = Records(*(pd.concat([getattr(one, name) for one in (records, other)], ignore_index=True)
                     for name in ("cells", "metrics", "examples", "curves")))  # fmt: skip
    metrics = main_metrics(both)
    assert set(metrics[list(records.cells["cell"])]) == {ACCURACY}
    assert set(metrics[list(other.cells["cell"])]) == {"macro_f1_score"}
    chosen = select(both)
    ours = chosen[chosen["benchmark"].ne("cameras")].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, select(records))
    with pytest.raises(ValueError, match="cut them down"):
        main_metric(both)


def test_figures_call_the_metric_by_its_name(small) -> None:
    plane, corrupted = redrawn(scored_by_macro_f1(small), ["id_ood_plane", "corruption_severity"])
    axes = canvas(plane).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("ID macro-F1 (%)", "OOD macro-F1, mean of the domains (%)")
    assert "Macro-F1 in and out of distribution" in caption(plane, "0" * 64)
    # What is accuracy on every benchmark stays accuracy.
    assert canvas(corrupted).axes[0].get_ylabel() == "accuracy, mean of the corruption kinds (%)"
    assert canvas(next(redrawn(small, ["id_ood_plane"]))).axes[0].get_xlabel() == "ID accuracy (%)"


def test_findings_call_the_metric_by_its_name(small) -> None:
    texts = [one.text for one in findings(scored_by_macro_f1(small))]
    assert any("ID macro-F1" in text for text in texts)
    assert not any("accuracy" in text for text in texts)
