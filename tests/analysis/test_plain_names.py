"""A study that adds something to all training has the figures of one that does not, and says what it adds."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import theme
from analysis.figures.render import caption, redrawn
from analysis.levers import lever_cells, with_arms
from analysis.plain_names import UNTRAINED, plain_name, plainly_named, shared_additions, shared_words
from analysis.records import Records
from tests.analysis.synthetic import fabricate

ADDED = ("crop", "flip")
FIGURES = ("learning_rate_frontier", "corruption_severity")


def renamed(records: Records, change) -> Records:
    cells = records.cells.copy()
    cells["method"] = pd.array([change(row) for row in cells.to_dict("records")], dtype="string")
    return Records(cells, records.metrics, records.examples, records.curves)


def with_additions(row) -> str:
    is_trained = theme.look(row["method"]).family not in UNTRAINED
    return "+".join([row["method"], *(ADDED if is_trained else ())])


@pytest.fixture(scope="module")
def both():
    plain = fabricate(anchors=("pretrained", "ema"), periods=(1.0, 10.0), sparsities=(0.5, 0.9))
    return plain, renamed(plain, with_additions)


def test_figures_are_those_of_plain_names_and_say_what_is_added(both):
    plain, added = both
    for expected, found in zip(redrawn(plain, FIGURES), redrawn(added, FIGURES), strict=True):
        assert expected.frame is not None, expected.skipped
        pd.testing.assert_frame_equal(found.frame, expected.frame)
        assert (expected.note, found.note) == (
            "", "All training is with random crops, mirroring, unless a method says otherwise."
        )  # fmt: skip
        assert found.note in caption(found, "0" * 64)


def test_plain_records_stay_the_object_they_are(both):
    plain, added = both
    assert plainly_named(plain) is plain
    assert plainly_named(added) is plainly_named(added)
    assert added.fingerprint() != plain.fingerprint() == plainly_named(added).fingerprint()


def test_each_benchmark_has_its_own_additions(both):
    plain, added = both
    cells = added.cells.assign(benchmark=pd.array(["other"] * len(added.cells), dtype="string"))
    cells["cell"] = "x" + cells["cell"]
    metrics = added.metrics.assign(cell="x" + added.metrics["cell"])
    two = Records(pd.concat([plain.cells, cells], ignore_index=True),
                  pd.concat([plain.metrics, metrics], ignore_index=True), plain.examples, plain.curves)  # fmt: skip
    assert set(plainly_named(two).cells["method"]) == set(plain.cells["method"])
    assert shared_words(two) == "All training is with random crops, mirroring on other, unless a method says otherwise."


def test_what_a_method_lacks_is_told():
    methods = pd.Series(["full+crop+logit_adjusted", "mixout+crop+logit_adjusted", "flyp+crop", "ensemble"])
    shared = shared_additions(methods)
    assert shared == ("crop", "logit_adjusted")
    names = [plain_name(name, shared) for name in methods]
    assert names == ["full", "mixout", "flyp+no_logit_adjusted", "ensemble"]
    assert theme.look(names[2]).label == "FLYP − logit adjustment"


@given(st.sets(st.tuples(st.sampled_from(["full", "full/long", "mixout", "gmixout"]),
                         st.sets(st.sampled_from(["crop", "flip", "mixup"]))
                         .map(sorted).map(tuple))))  # fmt: skip
def test_no_two_names_become_one(parts):
    names = ["+".join([base, *additions]) for base, additions in parts]
    shared = shared_additions(pd.Series(names, dtype=object))
    assert len({plain_name(name, shared) for name in names}) == len(names)


def test_arms_are_what_levers_do_and_no_candidates(both):
    plain, _ = both

    def to_arm(row) -> str:
        is_arm = row["method"] == "gmixout" and row["resample_every"] == 10.0
        return "gmixout/period" if is_arm else row["method"]

    parted = renamed(plain, to_arm)
    pd.testing.assert_frame_equal(lever_cells(parted, "common").sort_values("cell", ignore_index=True),
                                  lever_cells(plain, "common").sort_values("cell", ignore_index=True))  # fmt: skip
    assert set(plainly_named(parted).where(method="gmixout").cells["resample_every"]) == {1.0}


def test_an_arm_that_repeats_a_setting_counts_once(both):
    plain, _ = both
    ours = plain.where(method="gmixout")
    copy = renamed(ours, lambda row: "gmixout/sparsity").cells
    copy["cell"] = "x" + copy["cell"]
    twice = Records(pd.concat([plain.cells, copy], ignore_index=True), plain.metrics, plain.examples, plain.curves)
    assert set(with_arms(twice).cells["cell"]) == set(ours.cells["cell"])
