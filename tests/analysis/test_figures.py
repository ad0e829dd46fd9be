"""Figures: their tables by numbers, their drawings by smoke, their files by the hash inside and by their bytes."""

import xml.etree.ElementTree
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas
from PIL import Image

from analysis import theme
from analysis.figures import FIGURES, NothingToDraw
from analysis.figures.render import draw_all
from analysis.levers import lever_cells
from analysis.records import Records, cells_frame, concatenate
from analysis.selection import select
from analysis.shifts import severity_scores, shift_scores
from tests.analysis.rivals import fabricate_rivals
from tests.analysis.synthetic import ALPHAS, fabricate

RIVALS_FIGURES = ("rivals_plane", "rivals_cost", "one_run")
# Every way of drawing is among them; that each figure can be drawn is tested above.
REPEATED = ["methods_and_levers", "heatmaps", "diversity_vs_ood_gain", "rivals_plane", "cost_fronts"]
# Tested in a file of their own, with what these fabricated records lack.
OF_LATER_RECORDS = ("reliability", "loss_surface", "bias_variance")
# Percent is in the cells or on the colour bar of a map; partial eta squared is no percent.
NUMBERS_INSIDE = ("heatmaps", "lever_pairs", "lever_importance", "corruption_grid")


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_keeps_the_contract(name: str, records, small, shared, rivals, longtailed, crossed) -> None:
    if name in RIVALS_FIGURES:
        wholes = [rivals]
    elif name == "longtail_groups":
        wholes = [longtailed]
    elif name == "granularity":
        wholes = [crossed]
    elif name == "learning_rate_frontier":
        wholes = [records]
    elif name == "effective_robustness":
        wholes = [rivals]
    elif name in OF_LATER_RECORDS:
        return
    elif name in ("training_curves", "corruption_grid", "cost_fronts"):
        wholes = [small, rivals]
    else:
        wholes = [small, shared]
    for whole in wholes:
        frame = FIGURES[name].table(whole)
        known = set(whole.cells["cell"])
        assert len(frame)
        assert all(isinstance(cells, tuple) and set(cells) <= known for cells in frame["cells"])
        with theme.style():
            axes = FIGURES[name].draw(frame, Canvas(figsize=FIGURES[name].size))
        assert axes
        shown = [text.get_text() for panel in axes for text in (panel.xaxis.label, panel.yaxis.label)]
        assert any("%" in text for text in shown) or name in NUMBERS_INSIDE
        words = FIGURES[name].caption(frame)
        assert any(letter.isdigit() for letter in words)
        assert not any(odd in words for odd in ("nan", "None", "<NA>", "unknown"))


@pytest.fixture(scope="module")
def shared() -> Records:
    return fabricate(periods=(10.0, float("inf")), sparsities=(0.5, 0.9), shared=True, learning_rates=(1e-3,))


@pytest.fixture(scope="module")
def longtailed() -> Records:
    return fabricate(anchors=("ema",), periods=(10.0,), sparsities=(0.9,), learning_rates=(1e-3,), groups=True)


@pytest.mark.parametrize("name", FIGURES)
def test_absent_data_are_a_clear_reason(name: str, small) -> None:
    bare = Records(small.cells, small.metrics.iloc[:0], small.examples.iloc[:0], small.curves)
    if name not in ("heatmaps", "training_curves"):
        with pytest.raises(NothingToDraw, match="this figure needs"):
            FIGURES[name].table(bare)


def test_plane_holds_methods_curves_and_settings(records) -> None:
    frame = FIGURES["id_ood_plane"].table(records)
    assert frame["kind"].value_counts().to_dict() == {
        "setting": 48, "wise": 5 * len(ALPHAS), "method": 6, "wise_selected": 5}  # fmt: skip
    scores = shift_scores(records.metrics, weights=("reported",)).set_index("cell")
    point = frame[frame["kind"].eq("setting")].iloc[7]
    assert point["ood_score"] == pytest.approx(scores.loc[list(point["cells"]), "ood_score"].mean())
    assert point["id_score"] == pytest.approx(scores.loc[list(point["cells"]), "id_score"].mean())


def test_lever_panels_level_means(records) -> None:
    frame = FIGURES["lever_panels"].table(records)
    cells = lever_cells(records, rates="common")
    level = frame.query("kind == 'level' and lever == 'sparsity' and level == '0.9' and response == 'ood_score'")
    assert level["estimate"].item() == pytest.approx(cells.loc[cells["sparsity"].eq(0.9), "ood_score"].mean())
    assert level["low"].item() < level["estimate"].item() < level["high"].item()
    assert len(level["cells"].item()) == 12 * 2 * 2
    assert (frame["kind"] == "setting").sum() == 3 * (3 * 48 + 2 * 48)


def test_heatmaps_and_their_holes(records) -> None:
    frame = FIGURES["heatmaps"].table(records)
    assert len(frame) == 48
    assert frame["is_selected"].sum() == 1
    chosen = select(records).set_index("method").loc["gmixout"]
    marked = frame[frame["is_selected"]].iloc[0]
    assert (marked["anchor"], marked["sparsity"]) == (chosen["anchor"], chosen["sparsity"])
    lost = records.cells.query("anchor == 'ema' and sparsity == 0.9 and resample_every == 10")["cell"]
    metrics = records.metrics[~records.metrics["cell"].isin(lost)]
    holed = FIGURES["heatmaps"].table(Records(records.cells, metrics, records.examples, records.curves))
    assert holed["id_score"].isna().sum() == 1
    with theme.style():
        axes = FIGURES["heatmaps"].draw(holed, Canvas())
    assert sum(text.get_text() == "none" for panel in axes for text in panel.texts) == 4


def test_diversity_pairs_with_full_fine_tuning(records) -> None:
    frame = FIGURES["diversity_vs_ood_gain"].table(records)
    scores = shift_scores(records.metrics, weights=("reported",)).set_index("cell")["ood_score"]
    seeds = records.cells.set_index("cell")["seed"]
    full = {seeds[cell]: scores[cell] for cell in select(records).set_index("method").loc["full", "cells"]}
    point = frame.iloc[3]
    expected = np.mean([scores[cell] - full[seeds[cell]] for cell in point["cells"]])
    assert point["gain_over_full_score"] == pytest.approx(expected)
    assert set(frame["member_kind"]) == {"visited", "trajectory"}


def test_corruption_table_averages_kinds_and_seeds(records) -> None:
    frame = FIGURES["corruption_severity"].table(records).set_index(["method", "severity"])
    cells = list(select(records).set_index("method").loc["full", "cells"])
    scores = severity_scores(records.metrics).query("severity == 3").set_index("cell")["score"]
    assert frame.loc[("full", 3), "score"] == pytest.approx(scores.loc[cells].mean())
    assert frame.loc[("full", 3), "difference"] == 0.0
    assert frame.loc[("full", 3), "lowest"] <= frame.loc[("full", 3), "highest"]


def with_rivals(whole: Records) -> Records:
    """The records and three rivals of a study on the same benchmark."""
    others = fabricate_rivals(seeds=(0, 1), learning_rates=(1e-3,))
    rivals = others.cells["method"].isin(["swad", "ensemble", "full+randaugment"])
    return concatenate([whole, others.keep(others.cells.loc[rivals, "cell"])])


@pytest.mark.slow
def test_files_name_their_records_and_repeat_to_the_byte(tmp_path: Path) -> None:
    small = with_rivals(fabricate(anchors=("pretrained", "ema"), periods=(1.0, 10.0), sparsities=(0.5, 0.9)))
    before = dict(mpl.rcParams)
    steps: list[tuple[str, int, int]] = []
    first = draw_all(small, tmp_path / "a", REPEATED, progress=lambda *step: steps.append(step))
    again = draw_all(small, tmp_path / "b", REPEATED)
    assert dict(mpl.rcParams) == before
    assert [one.name for one in first] == REPEATED
    assert steps[-1] == ("", len(REPEATED), len(REPEATED))
    fingerprint = small.fingerprint()
    for one, other in zip(first, again, strict=True):
        assert not one.skipped
        png, svg, csv, words = one.files
        with Image.open(png) as image:
            assert image.info["Source"] == f"records sha256:{fingerprint}"
        assert fingerprint in svg.read_text()
        xml.etree.ElementTree.parse(svg)
        assert csv.read_text().splitlines()[0] == f"# records sha256:{fingerprint}"
        assert "cells" in pd.read_csv(csv, comment="#")
        assert words.read_text().endswith(f"cells of the records sha256:{fingerprint[:12]}.\n")
        for path, copy in zip(one.files, other.files, strict=True):
            assert path.read_bytes() == copy.read_bytes()
    assert len(list((tmp_path / "a").iterdir())) == 4 * len(REPEATED)


def test_frontier_with_lost_runs_is_drawn(records) -> None:
    rows = records.cells.to_dict("records")
    for row in rows:
        is_high = row["learning_rate"] == 3e-3
        if is_high and (row["method"] == "mixout" or (row["method"] == "full" and row["seed"] == 0)):
            row["status"] = "diverged"
    lossy = Records(cells_frame(rows), records.metrics, records.examples, records.curves)
    frame = FIGURES["learning_rate_frontier"].table(lossy)
    with theme.style():
        axes = FIGURES["learning_rate_frontier"].draw(frame, Canvas())
    (legend,) = axes[0].figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert "Mixout at 0.003: diverged" in labels
    assert "some runs diverged or missing" in labels


def test_a_figure_without_data_is_skipped_and_the_others_drawn(small, tmp_path: Path) -> None:
    metrics = small.metrics[~small.metrics["split"].str.startswith("corruption")]
    drawn = draw_all(Records(small.cells, metrics, small.examples, small.curves), tmp_path,
                     ["corruption_severity", "id_ood_plane"])  # fmt: skip
    assert "needs accuracies on corruptions" in drawn[0].skipped
    assert len(drawn[1].files) == 4


def test_empty_records_and_unknown_names(tmp_path: Path) -> None:
    assert all(one.skipped for one in draw_all(Records.empty(), tmp_path))
    with pytest.raises(ValueError, match="got pie"):
        draw_all(Records.empty(), tmp_path, ["pie"])


def test_references_alone_can_be_drawn(tmp_path: Path) -> None:
    names = ["id_ood_plane", "lever_panels", *RIVALS_FIGURES]
    drawn = {one.name: one for one in draw_all(fabricate(anchors=(), learning_rates=(1e-3,)), tmp_path, names)}
    assert len(drawn["id_ood_plane"].files) == 4
    assert drawn["lever_panels"].skipped
    for name in set(RIVALS_FIGURES) - {"one_run"}:
        assert "methods beside the lever study's" in drawn[name].skipped
    assert "needs members of a GMixout run" in drawn["one_run"].skipped
