"""What a finished cell has of each objective, read from its records."""

import math
from collections.abc import Sequence

from analysis.metric import main_metrics
from analysis.records import Records
from analysis.shifts import shift_scores
from studies.settings import OBJECTIVES


def values_of(records: Records, names: Sequence[str]) -> list[float]:
    """The objectives of one finished cell, in this order; NaN where its records have none.

    Args:
        records: Of the cell alone.
        names: Keys of ``OBJECTIVES``.
    """
    return [_value(records, name) for name in names]


def _value(records: Records, name: str) -> float:
    objective = OBJECTIVES[name]
    if objective.column:
        found = records.cells[objective.column].iloc[0]
        return math.nan if found is None or found != found else float(found)
    if objective.shift:
        scores = shift_scores(records.metrics, str(main_metrics(records).iloc[0]), weights=("reported",))
        return float(scores[objective.shift].iloc[0]) if len(scores) else math.nan
    metrics = records.metrics
    of_weights = metrics["weights"].eq(objective.weights) & metrics["split"].eq(objective.split)
    found = metrics.loc[of_weights & metrics["metric"].eq(objective.metric), "value"]
    return float(found.iloc[0]) if len(found) else math.nan
