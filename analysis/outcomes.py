"""One row a chosen cell: what it was, and everything that came out of it."""

import pandas as pd

from analysis.design import PLACE, with_setting
from analysis.metric import main_metrics
from analysis.records import LEVERS, Records, among, remembered
from analysis.shifts import SHIFT_COLUMNS, member_scores, shift_scores

MEMBER_COLUMNS = ("diversity_score", "id_diversity_score", "ensemble_gain_score", "id_ensemble_gain_score")
COUNT_COLUMNS = ("trained_per_episode", "touched_over_run", "total_parameters", "subnetworks")


def outcomes(records: Records, selection: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
    """The cells of a selection with their scores, one row a (cell, weights, alpha).

    Args:
        records: Records of one benchmark, or of several (aggregated benchmark by benchmark).
        selection: Rows of :func:`analysis.selection.select` or ``oracle_select``.
        metric: What scores are made of, such as ``accuracy_score``; by default each benchmark's main metric.

    Returns:
        Columns of identity (``cell``, ``benchmark``, ``backbone``, ``method``, ``setting``, ``run``,
        ``learning_rate``, levers, ``member_kind``), ``weights`` (reported or wise), ``alpha``, the columns of
        :func:`analysis.shifts.shift_scores` and :func:`analysis.shifts.member_scores` (the latter for reported only),
        and the parameter counts as float64. Numbers that do not exist are NaN.
    """
    return _outcomes(records, tuple(sorted({cell for cells in selection["cells"] for cell in cells})), metric)


@remembered
def _outcomes(records: Records, wanted: tuple[str, ...], metric: str | None) -> pd.DataFrame:
    cells = with_setting(records.cells[among(records.cells["cell"], wanted)])
    counts = {name: cells[name].astype("Float64").to_numpy(dtype="float64", na_value=float("nan"))
              for name in COUNT_COLUMNS}  # fmt: skip
    identity = ["cell", *PLACE, "method", "setting", "run", "learning_rate", *LEVERS, "member_kind"]
    known = cells[identity].assign(**counts)
    metrics = records.metrics[among(records.metrics["cell"], wanted)]
    main = main_metrics(records)
    parts = []
    for _, place in known.groupby(PLACE):
        ours = metrics[among(metrics["cell"], place["cell"])]
        scores = shift_scores(ours, metric or str(main[place["cell"].iloc[0]]))
        scores = scores.merge(member_scores(ours), on="cell", how="left")
        scores.loc[scores["weights"].ne("reported"), list(MEMBER_COLUMNS)] = float("nan")
        parts.append(place.merge(scores, on="cell", how="inner"))
    if not parts:
        numbers = {name: pd.Series(dtype="float64") for name in ("alpha", *SHIFT_COLUMNS, *MEMBER_COLUMNS)}
        return known.iloc[:0].assign(weights=pd.Series(dtype="string"), **numbers)
    return pd.concat(parts, ignore_index=True).assign(alpha=lambda frame: frame["alpha"].round(6))


def with_split_means(rows: pd.DataFrame, records: Records, metric: str) -> pd.DataFrame:
    """Adds another metric's ID value and its mean over the OOD domains, as ``id_`` and ``ood_`` with its name.

    Args:
        rows: Rows of :func:`outcomes`.
        records: The records they are of.
        metric: Such as ``calibration_error``; NaN where a row's cell does not have it.
    """
    keys = ["cell", "weights", "alpha"]
    metrics = records.metrics[among(records.metrics["cell"], set(rows["cell"]))]
    scores = shift_scores(metrics, metric, weights=tuple(rows["weights"].unique()), kinds=())[
        [*keys, "id_score", "ood_score"]
    ]
    scores = scores.rename(columns={"id_score": f"id_{metric}", "ood_score": f"ood_{metric}"})
    return rows.merge(scores.assign(alpha=scores["alpha"].round(6)), on=keys, how="left")


def places(records: Records) -> list[Records]:
    """The records of each (benchmark, backbone), in order."""
    keys = records.cells[PLACE].drop_duplicates().sort_values(PLACE)
    if len(keys) == 1:
        # The same object, so that what was computed from it is remembered.
        return [records]
    return [records.where(**dict(zip(PLACE, key))) for key in keys.itertuples(index=False)]
