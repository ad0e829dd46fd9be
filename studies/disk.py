"""Bytes that a cell leaves on the disk, before it has run: answers, labels, kept weights."""

from __future__ import annotations

from studies.benchmarks.benchmark import CORRUPTION
from studies.costs import plain_splits
from studies.settings import CellSettings, traits_of
from studies.sizes import Sizes

LOGIT_BYTES = 2
LABEL_BYTES = 8


def answer_bytes(cell: CellSettings, sizes: Sizes) -> int:
    """Bytes of the logits that a cell keeps, of all its models, with the labels; they are in memory, too, at its end.

    Args:
        cell: The settings.
        sizes: The benchmark's.

    Example:
        >>> from studies.sizes import published_sizes
        >>> cell = CellSettings(benchmark="cifar100", manifest="00", backbone="clip-vit-b16", pretrain_seed=0,
        ...                     method="full", seed=1, learning_rate=1e-3)
        >>> answer_bytes(cell, published_sizes("cifar100"))  # (2000 + 10 000) images x (100 logits and a label)
        2496000
    """
    evaluation = cell.evaluation
    plain = plain_splits(sizes.images)
    everywhere = [
        name for name in sizes.images
        if name in plain or (name.startswith(CORRUPTION) and evaluation.corruptions)
    ]  # fmt: skip
    # What is built from runs keeps their answers as its members.
    members = len(cell.sources) or evaluation.members + evaluation.fresh_members
    wise = len(evaluation.wise_alphas) if traits_of(cell.method).has_weights else 0
    one = sum(sizes.images[name] * sizes.columns[name] for name in plain)
    reported = sum(sizes.images[name] * sizes.columns[name] for name in everywhere)
    labels = sum(sizes.images[name] for name in everywhere)
    return LOGIT_BYTES * (reported + one * (members + wise)) + LABEL_BYTES * labels


def cell_bytes(cell: CellSettings, sizes: Sizes, weights: int) -> int:
    """Bytes of a finished cell's folder; its records are small beside them.

    Args:
        cell: The settings.
        sizes: The benchmark's.
        weights: Bytes of the network's weights.
    """
    return answer_bytes(cell, sizes) + (weights if cell.evaluation.keep_weights else 0)
