"""Where a study adds something to all training, its plainest methods stand for the references of every table."""

import pandas as pd
import pytest

from analysis.comparisons import compare
from analysis.frontier import ood_at_matched_id
from analysis.overview import overview
from analysis.records import Records
from analysis.tables import costs, summary

KEPT = ("zero_shot", "full", "full+mixup", "lora", "gmixout")


@pytest.fixture(scope="module")
def both(rivals):
    """Records of a few methods, and the same where every one that trains has crops in its name."""
    plain = rivals.keep(rivals.cells.loc[rivals.cells["method"].isin(KEPT), "cell"])
    cells = plain.cells.copy()
    names = {name: name.replace("full", "full+crop").replace("lora", "lora+crop").replace("gmixout", "gmixout+crop")
             for name in KEPT}  # fmt: skip
    cells["method"] = cells["method"].map(names)
    return plain, Records(cells, plain.metrics, plain.examples, plain.curves), names


@pytest.mark.parametrize("table", [compare, costs, summary, ood_at_matched_id])
def test_tables_are_the_same_but_for_names(table, both):
    plain, cropped, names = both
    expected, found = table(plain), table(cropped)
    for column in ("method", "reference"):
        if column in expected:
            expected[column] = expected[column].map(names)
    pd.testing.assert_frame_equal(found, expected, check_like=True)


def test_overview_has_its_differences(both):
    expected, found = overview(both[0]), overview(both[1])
    for score in ("ID", "OOD"):
        for label in ("Full fine-tuning", "GMixout"):
            differences = expected[f"{score} − {label}"].tolist()
            assert found[f"{score} − {label} + random crops"].tolist() == differences
            assert sum("[" in one for one in differences) == len(KEPT) - 1


def test_plain_method_stands_for_itself(both):
    assert set(compare(both[0])["reference"]) == {"full", "gmixout"}
