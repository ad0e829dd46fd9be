"""Which images of a batch one of several processes trains on, and what is drawn for them. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studies.benchmarks.draws import Draws


@dataclass(frozen=True)
class Part:
    """Some images of every batch.

    Attributes:
        rows: Positions in the batch, ascending but for a neighbour in front.
        batch: Images of the whole batch.
        neighbours: Images in front that are there only to be mixed into the next one: 0 or 1.
    """

    rows: npt.NDArray[np.int64]
    batch: int
    neighbours: int = 0

    @property
    def first(self) -> int:
        """Position of the first image that is trained on."""
        return int(self.rows[self.neighbours])

    @property
    def trained(self) -> int:
        """Images that are trained on."""
        return len(self.rows) - self.neighbours


def part_of(rank: int, ranks: int, batch: int, mixes: bool = False) -> Part:
    """A process's part of every batch: contiguous, of nearly equal size; all parts together are the batch.

    Args:
        rank: Number of the process, from 0.
        ranks: How many there are, at least 1.
        batch: Images of the whole batch.
        mixes: Whether each image is mixed with the one before it, the first with the last: then the part has the one
            before its first in front.

    Raises:
        ValueError: If there is no such process, or fewer images than processes.

    Example:
        >>> [part_of(rank, 3, 7).rows.tolist() for rank in range(3)]
        [[0, 1, 2], [3, 4], [5, 6]]
        >>> part_of(0, 2, 4, mixes=True).rows.tolist()
        [3, 0, 1]
    """
    if not 0 <= rank < ranks:
        raise ValueError(f"rank must lie in [0, {ranks}), got {rank}")
    if batch < ranks:
        raise ValueError(f"a batch must have an image for each process, got {batch} images for {ranks} processes")
    own = np.array_split(np.arange(batch), ranks)[rank]
    if mixes and ranks > 1:
        return Part(np.concatenate([(own[:1] - 1) % batch, own]), batch, 1)
    return Part(own, batch)


class PartDraws(Draws):
    """The draws of a whole batch, of which a part's are handed out: shapes begin with the part's number of images.

    Args:
        part: The part.
        *key: Names the stream, as in ``Draws``.
    """

    def __init__(self, part: Part, *key: str | int) -> None:
        super().__init__(*key)
        self._part = part

    def integers(self, below: int, shape: tuple[int, ...]) -> np.ndarray:
        return super().integers(below, (self._part.batch, *shape[1:]))[self._part.rows]

    def chance(self, probability: float, shape: tuple[int, ...]) -> np.ndarray:
        return super().chance(probability, (self._part.batch, *shape[1:]))[self._part.rows]
