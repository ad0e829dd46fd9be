"""Bias and variance of members over a study's runs, as rows of every run: so that its records alone can draw them."""

import pandas as pd

from analysis.records import Records, metrics_frame

LOSS = "brier"


def with_decomposition(records: Records, terms: pd.DataFrame) -> Records:
    """Adds the terms of every group of at least two runs to the records of each of its cells.

    Args:
        records: Records of the cells.
        terms: From :func:`studies.decomposed.decomposed`; its Brier terms on ``id_test`` and the OOD domains are taken.

    Returns:
        The records with rows whose ``weights`` is ``members`` and whose ``metric`` is ``brier_bias``,
        ``brier_variance`` and so on, with ``_low`` and ``_high`` where there is an interval.
    """
    kept = terms[terms["loss"].eq(LOSS) & terms["runs"].ge(2)]
    known = set(records.cells["cell"])
    rows = []
    for row in kept.to_dict("records"):
        split = str(row["split"])
        if split != "id_test" and not split.startswith("ood/"):
            continue
        values = {"": row["estimate"], "_low": row["low"], "_high": row["high"]}
        rows += [
            {"cell": cell, "weights": "members", "split": split, "metric": f"{LOSS}_{row['term']}{end}",
             "value": float(value), "examples": int(row["examples"])}
            for cell in row["cells"] if cell in known for end, value in values.items() if not pd.isna(value)
        ]  # fmt: skip
    if not rows:
        return records
    metrics = pd.concat([records.metrics, metrics_frame(rows)], ignore_index=True)
    return Records(records.cells, metrics, records.examples, records.curves)
