"""What each method costs at its chosen setting: parameters, memory, training and inference, beside full fine-tuning."""

from typing import Any

import pandas as pd

from analysis import theme
from analysis.design import PLACE
from analysis.outcomes import places
from analysis.records import Records, remembered
from analysis.selection import select

COSTS = ("trained_per_episode", "touched_over_run", "total_parameters", "stored_floats", "training_flops",
         "train_time_s", "training_steps", "inference_passes")  # fmt: skip
COST_COLUMNS = [*PLACE, "method", "setting", "learning_rate", "candidates", "seeds", "missing", "diverged", *COSTS,
                *(f"{name}_ratio" for name in COSTS), "cells"]  # fmt: skip


@remembered
def costs(records: Records, reference: str = "full") -> pd.DataFrame:
    """Each method's costs at the learning rate and setting chosen on ID validation, means over seeds.

    The cost of the choice itself is no part of them: ``candidates`` says how many settings and learning rates were
    tried, each with every seed. ``train_time_s`` was measured, on whatever the records' ``device`` is; the others are
    counts. Sequential and sparse methods can train all parameters over a run and few at a time: ``touched_over_run``
    against ``trained_per_episode``.

    Args:
        records: Any records.
        reference: Method of the ratios, or its plainest form (:func:`analysis.theme.plainest`).

    Returns:
        Per (benchmark, backbone) a row a method in theme order: ``COST_COLUMNS``; a ``*_ratio`` is the mean over the
        reference's mean, NaN where either is unknown or the reference's is 0.
    """
    rows: list[dict[str, Any]] = []
    for records_here in places(records):
        chosen = select(records_here)
        numbers = records_here.cells.set_index("cell")[list(COSTS)].astype("Float64").astype("float64")
        picks = {row["method"]: row for row in chosen.to_dict("records")}
        means = {method: numbers.loc[list(pick["cells"])].mean() for method, pick in picks.items()}
        base = means.get(theme.plainest(means, reference), pd.Series(float("nan"), index=list(COSTS)))
        for method in theme.in_order(picks):
            known = {name: value for name, value in picks[method].items() if name in COST_COLUMNS}
            ratios = (means[method] / base.where(base.ne(0.0))).add_suffix("_ratio")
            rows.append({**known, **means[method], **ratios})
    return pd.DataFrame(rows, columns=COST_COLUMNS)
