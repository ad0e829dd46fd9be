"""Bias and variance over runs are added to the records of every run of a group, and drawn along the levers."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas

from analysis import theme
from analysis.decomposition import decompose
from analysis.design import with_setting
from analysis.figures import FIGURES
from analysis.records import Records
from studies.shared_rows import with_decomposition
from tests.analysis.synthetic import fabricate

SPLITS = ("id_test", "id_val", "ood/real", "ood/clipart")


@pytest.fixture(scope="module")
def made() -> tuple[Records, pd.DataFrame]:
    whole = fabricate(anchors=("pretrained", "ema"), periods=(10.0,), sparsities=(0.5, 0.9), learning_rates=(1e-3,))
    records = whole.keep(whole.cells.query("method in ('gmixout', 'zero_shot')")["cell"])
    rng, frames = np.random.default_rng(0), []
    for _, group in with_setting(records.cells.query("method == 'gmixout'")).groupby("setting"):
        for split in SPLITS:
            runs = rng.normal(size=(len(group), 3, 30, 4))
            found = decompose(runs, rng.integers(4, size=30))
            cells = tuple(group["cell"])
            frames.append(found.assign(split=split, cells=pd.Series([cells] * len(found), dtype=object)))
    return records, pd.concat(frames, ignore_index=True)


def test_every_run_of_a_group_gets_what_all_of_them_say(made) -> None:
    records, terms = made
    added = with_decomposition(records, terms)
    for row in terms[terms["split"].eq("ood/real")].to_dict("records"):
        for cell in row["cells"]:
            ours = added.metrics[added.metrics["cell"].eq(cell) & added.metrics["split"].eq("ood/real")]
            ours = ours.set_index("metric")["value"]
            assert ours[f"brier_{row['term']}"] == pytest.approx(row["estimate"])
            # Two runs give no interval, and nothing stands in for it.
            assert f"brier_{row['term']}_low" not in ours
    new = added.metrics.iloc[len(records.metrics) :]
    assert set(new["split"]) == {"id_test", "ood/real", "ood/clipart"}
    assert set(new["cell"]) == set(records.cells.query("method == 'gmixout'")["cell"])


def test_nothing_is_added_where_there_is_one_run_or_another_loss(made) -> None:
    records, terms = made
    assert with_decomposition(records, terms.assign(runs=1)) is records
    assert with_decomposition(records, terms.assign(loss="cross_entropy")) is records


def test_the_parts_of_a_bar_are_the_ensembles_error(made) -> None:
    records, terms = made
    frame = FIGURES["bias_variance"].table(with_decomposition(records, terms))
    assert set(frame["part"]) == {"bias", "variance_share", "covariance_share"}
    assert set(frame["lever"]) == {"anchor", "sparsity"}
    ours = frame.query("lever == 'sparsity' and level == '0.9' and shift == 'id'")
    cells = set(records.cells.query("method == 'gmixout' and sparsity == 0.9")["cell"])
    errors = terms[terms["term"].eq("ensemble_error") & terms["split"].eq("id_test")]
    errors = errors[[set(group) <= cells for group in errors["cells"]]]
    assert ours["estimate"].sum() == pytest.approx(errors["estimate"].mean())
    assert ours["settings"].tolist() == [2, 2, 2]
    with theme.style():
        assert FIGURES["bias_variance"].draw(frame, Canvas(figsize=FIGURES["bias_variance"].size))
    assert "Bias contains" in FIGURES["bias_variance"].caption(frame)
