"""The figures of all methods: numbers, fronts and costs against the tables, one key for both, nothing else crowded."""

import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas

from analysis import theme
from analysis.figures import FIGURES, NothingToDraw
from analysis.levers import LEVER_STUDY
from analysis.pareto import pareto_front
from analysis.records import Records, cells_frame
from analysis.selection import select
from analysis.shifts import shift_scores
from analysis.tables import summary
from tests.analysis.rivals import RIVALS
from tests.analysis.synthetic import ALPHAS


@pytest.fixture(scope="module")
def plane(rivals) -> pd.DataFrame:
    return FIGURES["rivals_plane"].table(rivals)


@pytest.fixture(scope="module")
def cost(rivals) -> pd.DataFrame:
    return FIGURES["rivals_cost"].table(rivals)


def drawn(name: str, frame: pd.DataFrame) -> tuple[Canvas, list]:
    with theme.style():
        figure = Canvas(figsize=FIGURES[name].size, layout="constrained")
        return figure, FIGURES[name].draw(frame, figure)


def test_the_plane_holds_every_method_and_curve(rivals, plane) -> None:
    points = plane[plane["kind"].eq("method")]
    assert points["method"].tolist() == theme.in_order(RIVALS)
    assert points["number"].tolist() == list(range(1, len(RIVALS) + 1))
    with_curve = set(RIVALS) - {"zero_shot", "ensemble", "ensemble/short"}
    curves = plane[plane["kind"].eq("wise")]
    assert curves.groupby("method").size().to_dict() == dict.fromkeys(with_curve, len(ALPHAS))
    assert curves["number"].isna().all()
    scores = shift_scores(rivals.metrics, weights=("wise",))
    row = curves.query("method == 'swad' and alpha == 0.5").iloc[0]
    ours = scores[scores["cell"].isin(row["cells"]) & scores["alpha"].eq(0.5)]
    assert row["cells"] == select(rivals).set_index("method").loc["swad", "cells"]
    assert row["ood_score"] == pytest.approx(ours["ood_score"].mean())


def test_points_and_intervals_are_those_of_the_summary(rivals, plane) -> None:
    points = plane[plane["kind"].eq("method")].set_index("method")
    rows = summary(rivals).query("weights == 'reported'").set_index("method")
    for ours, theirs in (("id", "id_score"), ("ood", "ood_score")):
        for end, name in (("_score", ""), ("_low", "_low"), ("_high", "_high")):
            found = points[f"{ours}{end}"].astype(float)
            assert found.to_numpy() == pytest.approx(rows.loc[points.index, f"{theirs}{name}"].to_numpy(dtype=float))


def test_fronts_are_of_the_points_and_of_everything(plane) -> None:
    points = plane[plane["kind"].eq("method")]
    assert (points["is_on_front"] == pareto_front(points["id_score"], points["ood_score"])).all()
    assert not plane.loc[plane["kind"].eq("wise"), "is_on_front"].any()
    assert (plane["is_on_wise_front"] == pareto_front(plane["id_score"], plane["ood_score"])).all()
    assert plane.loc[plane["kind"].eq("wise"), "is_on_wise_front"].any()


def test_costs_are_relative_to_full_fine_tuning(plane, cost) -> None:
    rows = cost.set_index("method")
    for method, (_, _, ratio, passes) in RIVALS.items():
        assert rows.loc[method, "training_flops_ratio"] == pytest.approx(ratio)
        assert rows.loc[method, "inference_passes"] == passes
    assert rows.index[rows["kind"].eq("free")].tolist() == ["zero_shot"]
    numbers = plane[plane["kind"].eq("method")].set_index("method")["number"]
    assert rows["number"].to_dict() == numbers.to_dict()
    trained = cost[cost["kind"].eq("method")]
    for name in ("id", "ood"):
        best = [score >= trained.loc[trained["training_flops_ratio"].le(ratio), f"{name}_score"].max()
                for score, ratio in zip(trained[f"{name}_score"], trained["training_flops_ratio"])]  # fmt: skip
        assert trained[f"is_on_{name}_front"].tolist() == best
    assert not cost.loc[cost["kind"].eq("free"), ["is_on_id_front", "is_on_ood_front"]].any(axis=None)


def test_a_method_without_a_count_is_left_out_but_keeps_its_number(rivals, plane) -> None:
    rows = [
        row | ({"training_flops": None} if row["method"] == "lora" else {}) for row in rivals.cells.to_dict("records")
    ]
    whole = Records(cells_frame(rows), rivals.metrics, rivals.examples, rivals.curves)
    frame = FIGURES["rivals_cost"].table(whole).set_index("method")
    numbers = plane[plane["kind"].eq("method")].set_index("method")["number"]
    assert "lora" not in frame.index
    assert frame.loc["gmixout", "number"] == numbers["gmixout"]
    uncounted = rivals.keep(rivals.cells.query("method != 'full'")["cell"])
    with pytest.raises(NothingToDraw, match="training costs relative to full fine-tuning"):
        FIGURES["rivals_cost"].table(uncounted)


@pytest.mark.parametrize("name", ["rivals_plane", "rivals_cost"])
def test_the_key_names_every_number_once_and_in_its_colour(name: str, plane, cost) -> None:
    frame = plane if name == "rivals_plane" else cost
    figure, axes = drawn(name, frame)
    (key,) = [panel for panel in figure.axes if panel not in axes]
    texts = {" ".join(text.get_text().split()): text.get_color() for text in key.texts}
    points = frame[frame["kind"].ne("wise")]
    for row in points.to_dict("records"):
        assert texts[f"{row['number']} {row['label']}"] == theme.look(row["method"]).color
    assert len(key.texts) == len(points) + points["family"].nunique()
    bottom = min(text.get_position()[1] for text in key.texts)
    assert bottom > 0.0
    shown = points[points["kind"].eq("method")]
    for panel in axes:
        numbers = sorted(int(text.get_text()) for text in panel.texts if text.get_text().isdigit())
        assert numbers == sorted(shown["number"])


def test_lost_runs_are_shown_hollow_and_spelled_out(rivals) -> None:
    lost = rivals.cells.query("method == 'diwa' and seed == 1")["cell"]
    rows = [row | ({"status": "failed"} if row["cell"] in set(lost) else {}) for row in rivals.cells.to_dict("records")]
    whole = Records(cells_frame(rows), rivals.metrics, rivals.examples, rivals.curves)
    figure, (axes,) = drawn("rivals_plane", FIGURES["rivals_plane"].table(whole))
    assert any(text.get_text().endswith("DiWA (1 missing)") for panel in figure.axes for text in panel.texts)
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white" and line.get_marker() == "P"]
    assert len(hollow) == 1


def test_figures_of_the_lever_study_stay_readable(rivals) -> None:
    for name in ("id_ood_plane", "corruption_severity", "learning_rate_frontier"):
        frame = FIGURES[name].table(rivals)
        assert set(frame["method"]) <= set(LEVER_STUDY)
        figure, axes = drawn(name, frame)
        (legend,) = figure.legends or [axes[0].get_legend()]
        assert len(legend.get_texts()) <= 12
    alone = rivals.keep(rivals.cells.loc[rivals.cells["method"].isin(LEVER_STUDY), "cell"])
    pd.testing.assert_frame_equal(FIGURES["id_ood_plane"].table(alone), FIGURES["id_ood_plane"].table(rivals))
    rest = rivals.keep(rivals.cells.loc[~rivals.cells["method"].isin(LEVER_STUDY), "cell"])
    with pytest.raises(NothingToDraw):
        FIGURES["id_ood_plane"].table(rest)


def test_rivals_alone_can_be_drawn(rivals) -> None:
    two = rivals.keep(rivals.cells.query("method in ('swad', 'lora')")["cell"])
    frame = FIGURES["rivals_plane"].table(two)
    assert frame.loc[frame["kind"].eq("method"), "number"].tolist() == [1, 2]
    drawn("rivals_plane", frame)
    bare = Records(two.cells, two.metrics.iloc[:0], two.examples.iloc[:0], two.curves)
    with pytest.raises(NothingToDraw, match="run a study of rivals"):
        FIGURES["rivals_plane"].table(bare)
