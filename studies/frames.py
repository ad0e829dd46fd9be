"""One cell's row and its four record tables."""

from collections.abc import Iterable
from typing import Any

from analysis.accuracy import correct
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
from studies.engine import PLAIN, Engine
from studies.failures import DIVERGED, PRUNED, Failure
from studies.outputs import Outputs
from studies.rows import Row, metric_rows, training_rows
from studies.settings import CellSettings
from studies.store import CellFolder

KEPT_EXAMPLES = ("id_val", "id_test", "ood/")
"""Splits, or beginnings of splits, whose right answers are kept one by one."""


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
    points = [
        {"cell": cell, "step": step, "metric": metric, "value": value}
        for step, metric, value in (*curve, *training_rows(outputs))
    ]
    return Records(
        cells_frame([row]),
        metrics_frame([{"cell": cell, **found} for found in metric_rows(outputs)]),
        examples_frame(examples),
        curves_frame(points),
    )


def write_failure(
    cell: CellSettings, folder: CellFolder, failure: Failure, device: str = "cpu", engine: Engine = PLAIN
) -> None:
    """Keeps a failure in the cell's folder, with the cell's row; diverged and pruned runs are results of their own."""
    status = failure.kind if failure.kind in (DIVERGED, PRUNED) else "failed"
    row = cell_row(cell, status, failure.kind, **provenance.columns(device, engine))
    empty = Records.empty()
    write(Records(cells_frame([row]), empty.metrics, empty.examples, empty.curves), folder.path)
    folder.fail(failure)
