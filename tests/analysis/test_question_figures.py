"""The figures of the two questions: their tables by numbers, their drawings by what they show."""

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

from analysis import theme
from analysis.figures import FIGURES, NothingToDraw
from analysis.granularity import granularities, printed_granularities
from analysis.latex import to_latex
from analysis.one_run import ensembles, printed_ensembles
from analysis.printing import to_markdown
from tests.analysis.test_one_run import METHODS


@pytest.fixture(scope="module")
def rivals(rivals):
    return rivals.keep(rivals.cells.loc[rivals.cells["method"].isin(METHODS), "cell"])


def drawn(name, frame):
    with theme.style():
        canvas = Canvas(figsize=FIGURES[name].size)
        return FIGURES[name].draw(frame, canvas), canvas


def test_granularity_shows_its_table(crossed) -> None:
    frame = FIGURES["granularity"].table(crossed)
    assert frame["label"].unique().tolist() == ["row", "column", "block"]
    found = granularities(crossed).set_index(["granularity", "response"])
    for mark in frame[frame["panel"].ne("train_time_ratio")].itertuples():
        line = found.loc[(mark.label, mark.panel)]
        assert [mark.estimate, mark.low, mark.high] == [line[f"difference{end}"] for end in ("", "_low", "_high")]
        assert (mark.is_significant, mark.is_kept, mark.cells) == (
            line["is_significant"],
            line["is_kept"],
            line["cells"],
        )
    axes, _ = drawn("granularity", frame)
    assert len(axes) == 4
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["row", "column", "block"]
    kept = sum(text.get_text() == "kept" for panel in axes for text in panel.texts)
    assert kept == frame["is_kept"].sum() > 0
    with pytest.raises(NothingToDraw, match="run the study granularity"):
        FIGURES["granularity"].table(crossed.keep(crossed.cells.query("granularity == 'row'")["cell"]))


def test_one_run_shows_its_table(rivals, small) -> None:
    frame = FIGURES["one_run"].table(rivals)
    found = ensembles(rivals)
    assert frame["row"].nunique() == len(found)
    reference = frame[frame["label"].eq("GMixout, ensemble of members")].set_index("panel")
    assert reference.loc[["id_difference", "ood_difference"], "estimate"].eq(0.0).all()
    costly = frame[frame["label"].str.contains("training")]
    assert costly["is_beside"].all()
    assert "Ensemble (5.4× training)" in set(costly["label"])
    axes, canvas = drawn("one_run", frame)
    assert len(axes) == 3
    assert len(axes[0].get_yticklabels()) == len(found)
    assert canvas.get_size_inches()[0] == theme.WIDTH_INCHES
    with pytest.raises(NothingToDraw, match="run the study ensemble"):
        FIGURES["one_run"].table(small)


def test_printed_tables_carry_intervals_marks_and_missing_seeds(crossed, rivals) -> None:
    lost = crossed.cells.query("granularity == 'row' and seed == 2")["cell"]
    text = printed_granularities(granularities(crossed.keep(set(crossed.cells["cell"]) - set(lost))))
    rows = text.set_index("masks of")
    assert rows.loc["row", "seeds"] == "4 (1 missing)"
    assert rows.loc["element", "ID − element (points)"] == "—"
    assert rows.loc["block", "ID − element (points)"].endswith("] *")
    assert "ID" not in rows.loc["block", "kept"].split(", ")
    assert rows.loc["row", "training time"] == "0.83×"
    one = ensembles(rivals)
    text = printed_ensembles(one).set_index("side")
    line = one.set_index(["method", "weights"]).loc[("ensemble/short", "ensemble")]
    assert text.loc["Ensemble (short)", "OOD − members (points)"].startswith(
        f"{100 * line['ood_difference']:+.1f} [{100 * line['ood_difference_low']:+.1f}, "
    )
    assert np.isnan(one.set_index(["method", "weights"]).loc[("gmixout", "ensemble"), "id_difference"])
    for form in (to_markdown, to_latex):
        assert form(printed_ensembles(one)).count("\n") >= len(one) + 2
