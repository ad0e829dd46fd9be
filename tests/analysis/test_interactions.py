"""Whether a lever's effect depends on another: by hand, by brute force, and with a planted truth."""

import numpy as np
import pytest

from analysis.comparisons import paired_p_value
from analysis.families import holm
from analysis.interactions import _gaps, lever_interactions, printed_interactions
from analysis.intervals import t_interval
from analysis.levers import measured_levers
from analysis.records import Records
from tests.analysis.coverage import assert_covers, assert_rejects_at_level
from tests.analysis.planted import Truth, plant

ANCHORS, SPARSITIES = ("anchor", ("pretrained", "ema")), ("sparsity", (0.5, 0.9))


def test_a_row_is_the_difference_of_differences_by_brute_force(small) -> None:
    found = lever_interactions(small)
    row = found.query("lever == 'anchor' and other == 'sparsity' and response == 'ood_score'").iloc[0]
    cells = measured_levers(small)
    values = cells.set_index(["run", "resample_every", "anchor", "sparsity"])["ood_score"].to_dict()
    by_run = {}
    for run in cells["run"].unique():
        changes = []
        for period in (1.0, 10.0):
            y = {
                (anchor, sparsity): values[run, period, anchor, sparsity]
                for anchor in ANCHORS[1] for sparsity in SPARSITIES[1]
            }  # fmt: skip
            changes.append(y["ema", 0.9] - y["pretrained", 0.9] - y["ema", 0.5] + y["pretrained", 0.5])
        by_run[run] = np.mean(changes)
    gaps = list(by_run.values())
    interval = t_interval(gaps)
    assert (row["effect"], row["low"], row["high"]) == pytest.approx((interval.estimate, interval.low, interval.high))
    assert row["p_value"] == pytest.approx(paired_p_value(gaps), nan_ok=True)
    assert (row["runs"], row["settings"]) == (2, 2)
    assert 0.0 <= row["partial_eta_squared"] <= 1.0
    # Three pairs, one contrast each; the synthetic calibration error never moves, so nothing is tested there.
    assert found.groupby("response").size().eq(3).all()
    assert found["holm_p_value"].tolist() == pytest.approx(holm(found["p_value"]).tolist(), nan_ok=True)
    text = printed_interactions(found)
    assert text["levers"].tolist()[0] == "anchor (pretrained → EMA) × period k (1 → 10)"
    assert text["OOD accuracy (points)"].str.contains(r"\[").all()


def test_lost_runs_are_left_out_and_no_cells_have_no_rows(small) -> None:
    lost = small.cells.query("method == 'gmixout' and seed == 1 and sparsity == 0.9")["cell"]
    found = lever_interactions(small.keep(set(small.cells["cell"]) - set(lost)))
    with_sparsity = found[found["other"].eq("sparsity")]
    assert with_sparsity["runs"].eq(1).all()
    assert with_sparsity["p_value"].isna().all()
    assert found[found["other"].eq("resample_every")]["runs"].eq(2).all()
    assert lever_interactions(Records.empty()).empty


def interval(seed: int, interaction: float):
    gaps, _ = _gaps(plant(seed, Truth(interaction=interaction), runs=6), "ood_score", ANCHORS, SPARSITIES,
                    ["run", "resample_every"])  # fmt: skip
    return t_interval(gaps), paired_p_value(gaps)


@pytest.mark.slow
def test_a_planted_interaction_is_covered_and_none_is_seldom_found() -> None:
    def ends(seed: int) -> tuple[float, float, float]:
        found = interval(seed, 0.01)[0]
        return found.low, 4 * 0.01, found.high

    assert_covers(ends, 0.95)
    assert_rejects_at_level(lambda seed: interval(seed, 0.0)[1] < 0.05, 0.05)
