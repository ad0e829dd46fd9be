"""Finished cells without training, for tests of what happens around cells."""

from analysis.records import Records, cells_frame, curves_frame, examples_frame, metrics_frame, write
from studies.frames import cell_row
from studies.settings import CellSettings
from studies.store import TABLES, CellFolder

SPLITS = ("id_val", "id_test", "ood/stroke", "ood/photo")


def finished_cell(
    cell: CellSettings, folder: CellFolder, score: float, ood: float = 0.5, diversity: float = 0.1
) -> None:
    """Writes a finished cell's folder: this accuracy on the ID splits, that one on the OOD domains."""
    scores = {split: ood if split.startswith("ood/") else score for split in SPLITS}
    about = {"cell": cell.identity, "weights": "reported", "examples": 100}
    rows = [about | {"split": split, "metric": "accuracy_score", "value": value} for split, value in scores.items()]
    members = about | {"weights": "members", "split": "id_val", "metric": "label_disagreement_score"}
    row = cell_row(cell, "done", wall_time_s=2.0, train_time_s=1.0, training_flops=1e6 * cell.steps)
    with folder.lease():
        folder.prepare(cell.canonical)
        tables = (cells_frame([row]), metrics_frame([*rows, members | {"value": diversity}]))
        write(Records(*tables, examples_frame(), curves_frame()), folder.path)
        folder.finish(TABLES)
