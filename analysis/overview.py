"""One printed table of all methods: scores with intervals, differences with Holm's stars, and what each costs."""

from typing import Any

import pandas as pd

from analysis import theme
from analysis.comparisons import compare
from analysis.printing import MISSING, interval_text
from analysis.records import Records
from analysis.shifts import shift_scores
from analysis.tables import costs, summary

_DIFFERENCES = (("id_score", "full"), ("ood_score", "full"), ("id_score", "gmixout"), ("ood_score", "gmixout"))
_SHORT = {"id_score": "ID", "ood_score": "OOD"}


def overview(records: Records, digits: int = 1) -> pd.DataFrame:
    """Every method at the choice of ID validation, in printed words: percent, points, multiples of full fine-tuning.

    Args:
        records: Records of one benchmark and backbone.
        digits: Decimals of a percent.

    Returns:
        One row a method in theme order: ``method``, ``ID (%)``, ``OOD (%)``, ``corruption (%)`` and, where it was
        measured, ``robust (%)``; differences to full fine-tuning and to GMixout, a star where Holm's correction leaves
        them significant; ``training`` (operations) and ``memory`` (numbers held) as multiples of full fine-tuning's,
        and ``passes`` at test time. Intervals at 95 %.

    Raises:
        ValueError: If the records hold several benchmarks or backbones.
    """
    if len(records.cells[["benchmark", "backbone"]].drop_duplicates()) > 1:
        raise ValueError("an overview is of one benchmark and backbone; cut the records down with Records.where")
    methods = summary(records)
    methods = methods[methods["weights"].eq("reported")]
    gaps = compare(records).set_index(["method", "score", "reference"]).to_dict("index")
    prices = costs(records).set_index("method").to_dict("index")
    robust = _robust(records)
    rows = []
    for row in methods.to_dict("records"):
        method = str(row["method"])
        holes = [f"{row[name]} {name}" for name in ("missing", "diverged") if row[name]]
        text = {"method": theme.look(method).label + (f" ({', '.join(holes)})" if holes else "")}
        for score, heading in (("id_score", "ID (%)"), ("ood_score", "OOD (%)")):
            text[heading] = interval_text(row[score], row[f"{score}_low"], row[f"{score}_high"], digits)
        text["corruption (%)"] = interval_text(row["corruption_score"], float("nan"), float("nan"), digits)
        if robust:
            values = [robust[cell] for cell in row["cells"] if cell in robust]
            text["robust (%)"] = f"{100 * sum(values) / len(values):.{digits}f}" if values else MISSING
        for score, base in _DIFFERENCES:
            reference = theme.plainest(methods["method"], base)
            heading = f"{_SHORT[score]} − {theme.look(reference).label}"
            text[heading] = _gap(gaps.get((method, score, reference)), digits)
        price = prices[method]
        text["training"] = _times(price["training_flops_ratio"])
        text["memory"] = _times(price["stored_floats_ratio"])
        text["passes"] = MISSING if pd.isna(price["inference_passes"]) else f"{price['inference_passes']:.0f}"
        rows.append(text)
    return pd.DataFrame(rows)


def _robust(records: Records) -> dict[str, float]:
    scores = shift_scores(records.metrics, "robust_accuracy_score", weights=("reported",))
    known = scores.dropna(subset=["id_score"])
    return dict(zip(known["cell"], known["id_score"]))


def _gap(row: dict[Any, Any] | None, digits: int) -> str:
    if row is None:
        return MISSING
    star = " *" if row["is_significant"] else ""
    return interval_text(row["difference"], row["difference_low"], row["difference_high"], digits, signed=True) + star


def _times(ratio: float) -> str:
    return MISSING if pd.isna(ratio) else f"{ratio:.2f}×"
