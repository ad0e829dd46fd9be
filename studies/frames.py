"""One cell's arrays to its four record tables. The numbers are `analysis`'s; here they are only put in rows."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.accuracy import accuracy_score, correct, group_accuracy_score, macro_f1_score
from analysis.calibration import calibration_scores
from analysis.diversity import diversity_scores, ensemble_log_probabilities
from analysis.records import (
    Records,
    canonical_json,
    cells_frame,
    curves_frame,
    examples_frame,
    metrics_frame,
    pack,
    write,
)
from studies import provenance
from studies.failures import DIVERGED, Failure
from studies.settings import CellSettings
from studies.store import CellFolder

Logits = Mapping[str, npt.NDArray[np.float16]]
Row = dict[str, Any]
KEPT_EXAMPLES = ("id_val", "id_test", "ood/")
"""Splits, or beginnings of splits, whose right answers are kept one by one."""


@dataclass(frozen=True)
class Outputs:
    """What the models of one cell answered; logits of shape ``(examples, classes)`` by split.

    Attributes:
        labels: Labels by split.
        groups: Classes of each group (many, medium, few); empty where training is balanced.
        reported: The reported model's logits.
        metric: How the benchmark scores answers: ``accuracy``, or ``macro_f1``, which is then recorded, too.
        members: Each member's logits, oldest first.
        fresh: Logits of sub-networks of masks drawn anew.
        wise: Logits of the WiSE-FT models by alpha.
        numbers: Numbers that belong to the weights, not to a split.
        robust: Robust accuracy of the reported model on the first images of ``id_test``, and how many; or None.
    """

    labels: Mapping[str, npt.NDArray[np.int64]]
    groups: Mapping[str, tuple[int, ...]]
    reported: Logits
    metric: str = "accuracy"
    members: tuple[Logits, ...] = ()
    fresh: tuple[Logits, ...] = ()
    wise: Mapping[float, Logits] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    robust: tuple[float, int] | None = None


def cell_row(cell: CellSettings, status: str, failure: str = "", **facts: Any) -> Row:
    """The cell's row in ``cells``: its settings, what became of it, and what the run adds.

    Args:
        cell: The settings.
        status: ``done``, ``diverged`` or ``failed``.
        failure: Kind of the failure, empty if there is none.
        **facts: Further columns: times, memory, counts, versions.
    """
    return {
        "cell": cell.identity,
        "benchmark": cell.benchmark,
        "backbone": cell.backbone,
        "pretrain_seed": cell.pretrain_seed,
        "method": cell.listed_as,
        "seed": cell.seed,
        "learning_rate": cell.learning_rate,
        "steps": cell.steps,
        "batch_size": cell.training.batch_size if cell.training else 0,
        "weight_decay": cell.training.weight_decay if cell.training else None,
        **cell.levers,
        "options": canonical_json(cell.options),
        "recipe": canonical_json(cell.training.recipe.model_dump(exclude_defaults=True) if cell.training else {}),
        "settings": cell.canonical,
        "status": status,
        "failure": failure,
        "manifest": cell.manifest,
        **facts,
    }


def records(row: Row, outputs: Outputs, curve: Iterable[tuple[int, str, float]]) -> Records:
    """The four tables of a finished cell.

    Args:
        row: From :func:`cell_row`.
        outputs: What its models answered.
        curve: Rows (step, metric, value).
    """
    cell = row["cell"]
    examples = [
        {
            "cell": cell,
            "weights": "reported",
            "split": split,
            "examples": len(outputs.labels[split]),
            "correct": pack(correct(logits, outputs.labels[split])),
        }
        for split, logits in outputs.reported.items()
        if split.startswith(KEPT_EXAMPLES)
    ]
    points = [{"cell": cell, "step": step, "metric": metric, "value": value} for step, metric, value in curve]
    return Records(
        cells_frame([row]),
        metrics_frame([{"cell": cell, **found} for found in metric_rows(outputs)]),
        examples_frame(examples),
        curves_frame(points),
    )


def write_failure(cell: CellSettings, folder: CellFolder, failure: Failure, device: str = "cpu") -> None:
    """Keeps a failure in the cell's folder, with the cell's row; a diverged run is a result of its own kind."""
    status = "diverged" if failure.kind == DIVERGED else "failed"
    row = cell_row(cell, status, failure.kind, **provenance.columns(device))
    empty = Records.empty()
    write(Records(cells_frame([row]), empty.metrics, empty.examples, empty.curves), folder.path)
    folder.fail(failure)


def metric_rows(outputs: Outputs) -> Iterator[Row]:
    """Every number of a cell, without the cell's name."""
    for name, value in outputs.numbers.items():
        yield {"weights": "reported", "metric": name, "value": value}
    if outputs.robust is not None:
        score, examples = outputs.robust
        yield from _rows({"weights": "reported"}, "id_test", {"robust_accuracy_score": score}, examples)
    yield from _model_rows({"weights": "reported"}, outputs.reported, outputs)
    for alpha, logits in outputs.wise.items():
        yield from _model_rows({"weights": "wise", "alpha": alpha}, logits, outputs)
    for number, logits in enumerate(outputs.members):
        yield from _model_rows({"weights": "member", "member": number}, logits, outputs)
    if len(outputs.members) >= 2:
        yield from _ensemble_rows("members", "ensemble", outputs.members, outputs)
    if len(outputs.fresh) >= 2:
        yield {"weights": "fresh_members", "metric": "members", "value": float(len(outputs.fresh))}
        yield from _ensemble_rows("fresh_members", "fresh_ensemble", outputs.fresh, outputs)


def _model_rows(about: Row, logits: Logits, outputs: Outputs) -> Iterator[Row]:
    for split, values in logits.items():
        labels = outputs.labels[split]
        scores = _scores(values, labels, outputs.metric)
        for group, classes in outputs.groups.items():
            scores[f"accuracy_{group}_score"] = group_accuracy_score(values, labels, classes)
        yield from _rows(about, split, scores, len(labels))


def _ensemble_rows(pairs: str, whole: str, members: tuple[Logits, ...], outputs: Outputs) -> Iterator[Row]:
    for split in members[0]:
        labels = outputs.labels[split]
        stacked = np.stack([member[split] for member in members])
        yield from _rows({"weights": pairs}, split, diversity_scores(stacked, labels), len(labels))
        ensemble = ensemble_log_probabilities(stacked)
        scores = _scores(ensemble, labels, outputs.metric)
        yield from _rows({"weights": whole}, split, scores, len(labels))


def _scores(values: npt.ArrayLike, labels: npt.NDArray[np.int64], metric: str) -> dict[str, float]:
    scores = {"accuracy_score": accuracy_score(values, labels), **calibration_scores(values, labels)}
    if metric == "macro_f1":
        scores["macro_f1_score"] = macro_f1_score(values, labels)
    return scores


def _rows(about: Row, split: str, scores: Mapping[str, float], examples: int) -> Iterator[Row]:
    for metric, value in scores.items():
        yield {**about, "split": split, "metric": metric, "value": value, "examples": examples}
