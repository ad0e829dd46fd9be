"""How a model's logits over a benchmark's classes become answers of a split that asks for other classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Readout:
    """The classes that a split asks for, each as positions among the benchmark's classes.

    ImageNet-R and -A ask for 200 of the 1000 classes: one position each. ObjectNet asks for 113 classes, some of which
    are several of ImageNet's: the largest logit of a class's positions is its logit. Labels of the split are positions
    in ``columns``.

    Args:
        columns: One tuple of class positions a class, none empty.

    Raises:
        ValueError: If there is no class, or one without positions, or a position is negative.

    Example:
        >>> readout = Readout(((0,), (1, 3)))
        >>> readout.apply(np.array([[1.0, 2.0, 9.0, 4.0]])).tolist()
        [[1.0, 4.0]]
    """

    columns: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.columns or not all(self.columns):
            raise ValueError(f"a readout needs classes, each with at least one position, got {self.columns!r}")
        if min(map(min, self.columns)) < 0:
            raise ValueError(f"positions of a readout must not be negative, got {min(map(min, self.columns))}")

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Takes the largest logit over the positions of each class.

        Args:
            logits: Shape ``(N, classes of the benchmark)``, any floating dtype.

        Returns:
            Shape ``(N, len(columns))``, same dtype; NaN where one of a class's logits is.

        Raises:
            ValueError: If a position lies beyond the logits.
        """
        last = max(map(max, self.columns))
        if logits.ndim != 2 or last >= logits.shape[1]:
            raise ValueError(f"the readout needs logits of shape (N, {last + 1} or more), got {logits.shape}")
        flat = np.concatenate([np.array(positions) for positions in self.columns])
        starts = np.cumsum([0, *(len(positions) for positions in self.columns[:-1])])
        return np.maximum.reduceat(logits[:, flat], starts, axis=1)


def one_each(positions: Iterable[int]) -> Readout:
    """The readout of a plain subset of the classes.

    Example:
        >>> one_each([2, 5]).columns
        ((2,), (5,))
    """
    return Readout(tuple((int(position),) for position in positions))
