"""The exponential long tail of CIFAR-100-LT: each class has a constant part fewer images than the one before."""

from __future__ import annotations

import numpy as np

from studies.benchmarks.draws import Draws


def tail_counts(most: int, classes: int, imbalance: float) -> np.ndarray:
    """Images that stay of each class: :math:`\\lfloor n\\, r^{-i/(C-1)} \\rfloor` for class ``i``.

    The profile and the order of the classes are those of Cao et al. (NeurIPS 2019), who start at 500 images a class.

    Args:
        most: Images :math:`n` of class 0.
        classes: Number of classes :math:`C`, at least 2.
        imbalance: The ratio :math:`r` of the commonest class to the rarest.

    Raises:
        ValueError: If the rarest class would have no image.

    Example:
        >>> tail_counts(500, 100, 100.0).sum()
        np.int64(10847)
    """
    if imbalance > most:
        raise ValueError(f"imbalance must not exceed the {most} images of a class, got {imbalance}")
    return np.array([int(most * (1 / imbalance) ** (rank / (classes - 1))) for rank in range(classes)], np.int64)


def thin(labels: np.ndarray, classes: int, imbalance: float, *key: str | int) -> np.ndarray:
    """Chooses the images that stay; which of a class do is drawn.

    Args:
        labels: Balanced, shape ``(N,)``.
        classes: Number of classes.
        imbalance: The ratio of the commonest class to the rarest.
        *key: Names the random stream.

    Returns:
        Positions of the images that stay, ascending.
    """
    most = int(np.bincount(labels, minlength=classes).min())
    kept = []
    for label, count in enumerate(tail_counts(most, classes, imbalance)):
        members = np.flatnonzero(labels == label)
        kept.append(members[Draws(*key, label).order(len(members))[:count]])
    return np.sort(np.concatenate(kept))
