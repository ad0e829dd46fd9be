"""Which classes count as many, medium and few, by the number of their training images: two published conventions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shots:
    """Where the lines lie: at least ``many_from`` images is many, at most ``few_to`` few, the rest medium."""

    many_from: int
    few_to: int


SHOTS: dict[str, Shots] = {
    # More than 100, 20 to 100, fewer than 20: Kang et al., ICLR 2020, and most since.
    "kang": Shots(many_from=101, few_to=19),
    # At least 100, 21 to 99, at most 20: the public code of Liu et al., CVPR 2019.
    "oltr": Shots(many_from=100, few_to=20),
}


def shot_groups(train_counts: np.ndarray, convention: str) -> dict[str, tuple[int, ...]]:
    """Class ids by the number of their training images.

    Args:
        train_counts: Training images per class, shape ``(classes,)``.
        convention: A name in ``SHOTS``.

    Returns:
        ``many``, ``medium`` and ``few``, each a tuple of class ids in ascending order.

    Raises:
        ValueError: If the convention is unknown.

    Example:
        >>> shot_groups(np.array([101, 100, 20, 19]), "kang")
        {'many': (0,), 'medium': (1, 2), 'few': (3,)}
        >>> shot_groups(np.array([101, 100, 20, 19]), "oltr")
        {'many': (0, 1), 'medium': (), 'few': (2, 3)}
    """
    if convention not in SHOTS:
        raise ValueError(f"unknown convention {convention!r}; choose one of {', '.join(SHOTS)}")
    lines = SHOTS[convention]
    many, few = train_counts >= lines.many_from, train_counts <= lines.few_to
    parts = {"many": many, "medium": ~many & ~few, "few": few}
    return {name: tuple(np.flatnonzero(part).tolist()) for name, part in parts.items()}
