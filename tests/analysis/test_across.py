"""Effects over several benchmarks: the mixed model on the cells of the records, families, what is printed."""

import pandas as pd
import pytest

from analysis.across import across_benchmarks, printed_across
from analysis.families import holm
from analysis.levers import RESPONSES, lever_cells
from analysis.mixed import mixed_model
from analysis.records import Records, concatenate


def renamed(records: Records, benchmark: str) -> Records:
    def cells(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(cell=benchmark + table["cell"])

    rows = cells(records.cells)
    rows["benchmark"] = pd.array([benchmark] * len(rows), dtype="string")
    metrics = cells(records.metrics)
    is_ood = metrics["split"].str.startswith("ood/") & metrics["metric"].eq("accuracy_score")
    metrics.loc[is_ood, "value"] *= 0.9
    return Records(rows, metrics, cells(records.examples), cells(records.curves))


def test_effects_are_the_mixed_models(small) -> None:
    both = concatenate([small, renamed(small, "other")])
    frame = across_benchmarks(both)
    assert set(frame["response"]) == set(RESPONSES)
    assert set(frame["lever"]) == {"anchor", "resample_every", "sparsity"}
    parts = [lever_cells(both.where(benchmark=name), rates="common") for name in ("digits", "other")]
    model = mixed_model(pd.concat(parts, ignore_index=True), "ood_score", ["anchor", "resample_every", "sparsity"],
                        has_intervals=False)  # fmt: skip
    ours = frame[frame["response"].eq("ood_score")].reset_index(drop=True)
    assert ours["effect"].to_numpy() == pytest.approx(model.effects["effect"].to_numpy())
    assert ours["degrees"].eq(1.0).all()
    assert frame["holm_p_value"].to_numpy() == pytest.approx(holm(frame["p_value"]), nan_ok=True)
    text = printed_across(frame)
    assert len(text) == 3
    assert text["benchmarks"].eq("2").all()
    first = ours.iloc[0]
    assert (
        text["OOD accuracy (points)"].iloc[0].startswith(f"{100 * first['effect']:+.2f} [{100 * first['low']:+.2f}, ")
    )


def test_one_benchmark_has_no_rows(small) -> None:
    assert across_benchmarks(small).empty
    assert across_benchmarks(Records.empty()).empty
