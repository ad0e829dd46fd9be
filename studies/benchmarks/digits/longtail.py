"""The long-tailed training set: how many scans of each class stay, and which classes count as many, medium, few."""

from __future__ import annotations

import functools

import numpy as np

from studies.benchmarks.benchmark import Split
from studies.benchmarks.digits.splits import PER_CLASS
from studies.benchmarks.draws import Draws

FEWEST_SCANS = 2
"""Scans of the rarest class; the commonest keeps all of its training scans."""

MANY_ABOVE = 40
FEW_BELOW = 15
"""Training images of a class: above ``MANY_ABOVE`` is many, below ``FEW_BELOW`` few, else medium.

ImageNet-LT draws the lines at 100 and 20 images; here the commonest class has 84."""


@functools.cache
def scans_per_class() -> np.ndarray:
    """Scans that stay per class, ``int64``, shape ``(10,)``: an exponential tail, classes in a fixed random order."""
    most = PER_CLASS["train"]
    tail = most * (FEWEST_SCANS / most) ** (np.arange(10) / 9)
    counts = np.empty(10, np.int64)
    counts[Draws("digits long tail").order(10)] = np.floor(tail + 0.5)
    counts.flags.writeable = False
    return counts


def thin(train: Split) -> Split:
    """Keeps the long tail of a balanced training split; images of the scans that stay are unchanged."""
    kept = []
    for label, count in enumerate(scans_per_class()):
        members = np.unique(train.sources[train.labels == label])
        kept.append(members[Draws("digits long tail", label).order(len(members))[:count]])
    stays = np.isin(train.sources, np.concatenate(kept))
    return Split(train.name, train.images[stays], train.labels[stays], train.sources[stays])


def groups(train_counts: np.ndarray) -> dict[str, tuple[int, ...]]:
    """Class ids by the number of their training images.

    Args:
        train_counts: Training images per class, shape ``(classes,)``.

    Returns:
        ``many``, ``medium`` and ``few``, each a tuple of class ids in ascending order.

    Example:
        >>> groups(np.array([84, 30, 6]))
        {'many': (0,), 'medium': (1,), 'few': (2,)}
    """
    many, few = train_counts > MANY_ABOVE, train_counts < FEW_BELOW
    parts = {"many": many, "medium": ~many & ~few, "few": few}
    return {name: tuple(np.flatnonzero(part).tolist()) for name, part in parts.items()}
