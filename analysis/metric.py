"""The metric that a benchmark is scored by, as its own records tell it."""

import pandas as pd

from analysis.records import Records

ACCURACY = "accuracy_score"
SPECIAL = ("macro_f1_score",)
"""Metrics that are recorded only where the benchmark is scored by them."""

PRINTED = {ACCURACY: "accuracy", "macro_f1_score": "macro-F1"}


def main_metrics(records: Records) -> pd.Series:
    """The metric of every cell's benchmark: one of ``SPECIAL`` where a cell of that benchmark has it, else accuracy.

    The metric belongs to the benchmark, so a cell that failed has it, too.

    Returns:
        Names of metrics, indexed by the cells' hashes.
    """
    benchmarks = records.cells.set_index(records.cells["cell"].astype(object))["benchmark"].astype(object)
    found = pd.Series(ACCURACY, index=benchmarks.index, dtype=object)
    for metric in SPECIAL:
        having = set(records.metrics.loc[records.metrics["metric"].eq(metric), "cell"])
        scored = set(benchmarks[benchmarks.index.isin(having)])
        found[benchmarks.isin(scored).to_numpy()] = metric
    return found


def main_metric(records: Records) -> str:
    """The metric of one benchmark's records.

    Raises:
        ValueError: If the records hold benchmarks of different metrics.
    """
    found = sorted(set(main_metrics(records)))
    if len(found) > 1:
        raise ValueError(
            f"the benchmarks of these records are scored by {', '.join(found)}; cut them down with Records.where, or "
            "name one metric"
        )
    return found[0] if found else ACCURACY
