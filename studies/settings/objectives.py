"""What a search may look at: ID validation and costs; anything of a test split under the name oracle alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Objective:
    """One number of a finished cell.

    Attributes:
        direction: Whether more or less of it is better.
        metric: A metric of the records, with ``weights`` and ``split``; or empty.
        weights: Whose metric.
        split: On which split.
        column: A column of the cell's row; or empty.
        shift: A column of `analysis.shifts.shift_scores`; or empty.
    """

    direction: Literal["maximize", "minimize"]
    metric: str = ""
    weights: str = "reported"
    split: str = "id_val"
    column: str = ""
    shift: str = ""

    @property
    def is_oracle(self) -> bool:
        """Whether it reads a test split."""
        return bool(self.shift) or (bool(self.metric) and self.split != "id_val")


_COSTS = (
    "training_flops",
    "train_time_s",
    "wall_time_s",
    "peak_memory_bytes",
    "stored_floats",
    "trained_per_episode",
    "touched_over_run",
    "inference_passes",
)

OBJECTIVES: Mapping[str, Objective] = {
    "id_val_accuracy_score": Objective("maximize", "accuracy_score"),
    "id_val_macro_f1_score": Objective("maximize", "macro_f1_score"),
    "id_val_cross_entropy_error": Objective("minimize", "cross_entropy_error"),
    "id_val_diversity_score": Objective("maximize", "label_disagreement_score", weights="members"),
    **{cost: Objective("minimize", column=cost) for cost in _COSTS},
    "id_test_accuracy_score": Objective("maximize", "accuracy_score", split="id_test"),
    "ood_score": Objective("maximize", shift="ood_score"),
    "corruption_score": Objective("maximize", shift="corruption_score"),
}
"""By the name that a study's file uses; the diversity is the members' label disagreement."""

JUDGED = ("id_val_accuracy_score", "id_val_macro_f1_score")
"""Objectives that a run already shows while it trains, so that a search can end it early."""
