"""The overview says what summary, comparisons and costs say."""

import pytest

from analysis import theme
from analysis.comparisons import compare
from analysis.overview import overview
from analysis.printing import interval_text
from analysis.records import concatenate
from analysis.tables import costs, summary


@pytest.fixture(scope="module")
def few(rivals):
    """The records of a handful of methods: the whole table takes a minute."""
    chosen = rivals.cells["method"].isin(
        ["zero_shot", "full", "swad", "ensemble", "gmixout", "gmixout+crop+randaugment"]
    )
    return rivals.keep(rivals.cells.loc[chosen, "cell"])


@pytest.fixture(scope="module")
def table(few):
    return overview(few).set_index("method")


def test_rows_are_the_summary_s(few, table):
    methods = summary(few).query("weights == 'reported'")
    assert list(table.index) == [theme.look(method).label for method in methods["method"]]
    for row in methods.to_dict("records"):
        printed = interval_text(row["ood_score"], row["ood_score_low"], row["ood_score_high"])
        assert table.loc[theme.look(row["method"]).label, "OOD (%)"] == printed


def test_stars_are_holm_s(few, table):
    found = compare(few)
    for row in found[found["score"].isin(["id_score", "ood_score"])].to_dict("records"):
        heading = f"{ {'id_score': 'ID', 'ood_score': 'OOD'}[row['score']] } − {theme.look(row['reference']).label}"
        assert table.loc[theme.look(row["method"]).label, heading].endswith(" *") == row["is_significant"]


def test_costs_are_multiples_of_full_fine_tuning_s(few, table):
    assert table.loc["Full fine-tuning", ["training", "memory", "passes"]].tolist() == ["1.00×", "1.00×", "1"]
    for row in costs(few).to_dict("records"):
        assert table.loc[theme.look(row["method"]).label, "training"] in (f"{row['training_flops_ratio']:.2f}×", "—")


def test_refuses_two_places(few):
    cells = few.cells.assign(backbone="other", cell="x" + few.cells["cell"])
    other = type(few)(cells.astype(few.cells.dtypes), *(
        frame.assign(cell="x" + frame["cell"]).astype(frame.dtypes)
        for frame in (few.metrics, few.examples, few.curves)
    ))  # fmt: skip
    with pytest.raises(ValueError, match="one benchmark and backbone"):
        overview(concatenate([few, other]))
