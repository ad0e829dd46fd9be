"""The result tables' columns: names, dtypes, units and meaning.

Fractions everywhere, never percent. A null says "does not apply" or "not known"; it never stands for zero.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

SCHEMA_VERSION = 2

STATUSES = ("done", "diverged", "pruned", "failed")
PATHS = (
    "path_members", "path_first_last", "path_member_reported", "path_pretrained_reported", "path_pretrained_anchor",
    "path_anchor_reported",
)  # fmt: skip
"""Straight lines between two models of a run; alpha is the weight of the second."""
WEIGHTS = (
    "reported", "wise", "member", "members", "ensemble", "log_ensemble", "weight_average", "fresh_members",
    "fresh_ensemble", *PATHS,
)  # fmt: skip
MEMBER_KINDS = ("visited", "trajectory", "runs", "none")
SPLIT_PATTERN = re.compile(r"(|train|id_val|id_test|ood/[^/]+|corruption/[^/]+/[1-5])")


@dataclass(frozen=True)
class Column:
    """One column: its kind, what a missing value in the input becomes, and its meaning.

    Args:
        kind: One of ``text``, ``real``, ``whole``, ``truth``, ``bytes``.
        doc: Meaning, with unit and range.
        nullable: Whether a null is a legal value.
        default: Value for a column that a builder was not given; ``...`` means the column must be given.
        is_later: Whether earlier records lack it. They are read as if they had the default in it, and keep their
            fingerprint: while every row has the default, the column does not count.
    """

    kind: str
    doc: str
    nullable: bool = False
    default: object = ...
    is_later: bool = False

    @property
    def dtype(self) -> str:
        """The pandas dtype that a valid frame has in this column."""
        if self.kind == "text":
            return "string"
        if self.kind == "real":
            return "float64"
        if self.kind == "whole":
            return "Int64" if self.nullable else "int64"
        if self.kind == "truth":
            return "boolean" if self.nullable else "bool"
        return "object"


def _optional(kind: str, doc: str) -> Column:
    return Column(kind, doc, nullable=True, default=None)


LEVER_COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "anchor": _optional("text", "masking anchor: pretrained, ema, latest, average or zero"),
        "ema_decay": _optional("real", "weight of the old anchor (lambda), in [0, 1]"),
        "ema_update": _optional("text", "episode or step: when the moving average moves"),
        "ema_bias_correction": _optional("truth", "whether the moving average is corrected for its start"),
        "resample_every": _optional("real", "resampling period k, in optimiser steps; inf keeps one mask for the run"),
        "sparsity": _optional("real", "fraction p of the masked weights held at the anchor, in [0, 1)"),
        "granularity": _optional("text", "what is masked as one: element, row, column or block"),
        "group_size": _optional("whole", "input features of one column group"),
        "block_size": _optional("whole", "side of a block"),
        "count": _optional("text", "exact or bernoulli number of trainable entries"),
        "residual": _optional("text", "reset or carry at a resample"),
        "rescale": _optional("truth", "whether the residual is multiplied by 1 / (1 - p)"),
        "moments": _optional("text", "optimiser moments at a resample: reset or carry"),
        "report": _optional("text", "which weights are evaluated: anchor, effective or student"),
        "gradient": _optional("text", "exact, or published (without the factor of the forward)"),
        "decay_to": _optional("text", "where weight decay pulls: zero or anchor"),
    }
)

CELL_COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "cell": Column("text", "identity: hash of the canonical settings, the manifest and the schema version"),
        "benchmark": Column("text", "name of the benchmark"),
        "backbone": Column("text", "name of the pretrained model"),
        "pretrain_seed": Column("whole", "seed of the pretraining"),
        "method": Column(
            "text", "fine-tuning method: zero_shot, full, gmixout, ...; then /variant, then +addition to plain training"
        ),
        "seed": Column("whole", "seed of data order, initial weights, augmentation and masks"),
        "learning_rate": _optional("real", "peak learning rate; null where nothing is trained"),
        "steps": Column("whole", "optimiser steps"),
        "batch_size": Column("whole", "images a step"),
        "weight_decay": _optional("real", "decoupled weight decay"),
        **LEVER_COLUMNS,
        "options": Column(
            "text", "canonical JSON of the method's own settings beyond the levers, empty if none", default=""
        ),
        "recipe": Column(
            "text", "canonical JSON of what differs from plain training, empty if nothing does", default=""
        ),
        "settings": Column("text", "canonical JSON of the cell's settings"),
        "status": Column("text", "done, diverged (a result), pruned (ended early by a search) or failed"),
        "failure": Column("text", "kind of the failure, empty if none", default=""),
        "trained_per_episode": _optional("whole", "parameters that train within one episode"),
        "touched_over_run": _optional("whole", "parameters that trained at any time in the run"),
        "total_parameters": _optional("whole", "parameters of the model"),
        "stored_floats": _optional(
            "whole", "numbers held between two training steps: weights, averages, anchors, optimiser state"
        ),
        "training_flops": _optional(
            "real", "floating-point operations of the whole training, sources included, counted from one step"
        ),
        "training_steps": _optional("whole", "optimiser steps in all, those of the runs it is built from included"),
        "inference_passes": _optional("whole", "forward passes an example needs at test time"),
        "subnetworks": _optional("whole", "sub-networks visited by the run"),
        "member_kind": Column(
            "text", "what the members are: visited sub-networks, a trajectory, separate runs, or none", default="none"
        ),
        "wall_time_s": _optional("real", "seconds of the whole cell"),
        "train_time_s": _optional("real", "seconds of training alone"),
        "peak_memory_bytes": _optional("whole", "largest resident memory of the process, bytes"),
        "code_version": Column("text", "version of the code that made the cell", default=""),
        "library_versions": Column("text", "JSON of library versions", default=""),
        "device": Column("text", "device in words", default=""),
        "engine": Column(
            "text",
            "canonical JSON of how training steps were carried out: device, micro_batch, activation_checkpointing, "
            "channels_last, compile, processes; empty in records that did not say",
            default="",
            is_later=True,
        ),
        "manifest": Column("text", "sha256 of the benchmark's images and labels", default=""),
        "schema_version": Column("whole", "version of these tables", default=SCHEMA_VERSION),
    }
)

METRIC_COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "cell": Column("text", "the cell that was measured"),
        "weights": Column(
            "text",
            "which weights: reported, wise, member, members (pairwise), ensemble (mean of probabilities), log_ensemble "
            "(mean of log-probabilities), weight_average (of the members); path_members (from one member to the next), "
            "path_first_last, path_<start>_<end>: models between two others; fresh_members (pairwise) and "
            "fresh_ensemble, of sub-networks of freshly drawn masks",
        ),
        "alpha": Column(
            "real",
            "WiSE-FT coefficient on the fine-tuned side, or a path's on its end, [0, 1]; null unless wise or on a path",
            True,
            float("nan"),
        ),
        "member": Column(
            "whole", "index of the member, or of the one a path starts from; -1 where there is none", default=-1
        ),
        "split": Column("text", "split name, empty if the metric belongs to the weights", default=""),
        "metric": Column(
            "text",
            "name; ends in _score (higher is better) or _error (lower is better), or is a distance or a count",
        ),
        "value": Column("real", "the number, a fraction where it counts; null if undefined", nullable=True),
        "examples": Column("whole", "examples behind the number; 0 if none", default=0),
    }
)

EXAMPLE_COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "cell": Column("text", "the cell that was measured"),
        "weights": Column("text", "which weights"),
        "split": Column("text", "split name"),
        "correct": Column("bytes", "np.packbits of the right answers, in the split's order"),
        "examples": Column("whole", "examples in the split"),
    }
)

CURVE_COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "cell": Column("text", "the cell that was trained"),
        "step": Column("whole", "optimiser steps taken"),
        "metric": Column("text", "loss, learning_rate, id_val_accuracy_score, id_test_label_disagreement_score, ..."),
        "value": Column("real", "the number; null if undefined", nullable=True),
    }
)

TABLES: Mapping[str, Mapping[str, Column]] = MappingProxyType(
    {
        "cells": CELL_COLUMNS,
        "metrics": METRIC_COLUMNS,
        "examples": EXAMPLE_COLUMNS,
        "curves": CURVE_COLUMNS,
    }
)

KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cells": ("cell",),
        "metrics": ("cell", "weights", "alpha", "member", "split", "metric"),
        "examples": ("cell", "weights", "split"),
        "curves": ("cell", "step", "metric"),
    }
)
