"""How long so many workers take for cells of known durations."""

import heapq
from collections.abc import Iterable, Sequence

WORKERS = (1, 2, 4, 8, 16, 32, 64)


def makespan(seconds: Iterable[float], workers: int) -> float:
    """Seconds until the last cell is done, if each goes to the worker that is free first, in the given order.

    Args:
        seconds: Duration of every cell, in running order.
        workers: Number of workers, at least 1.

    Raises:
        ValueError: If there is no worker.

    Example:
        >>> makespan([3, 1, 1, 1], workers=2), makespan([3, 1, 1, 1], workers=64)
        (3.0, 3.0)
    """
    if workers < 1:
        raise ValueError(f"cells need at least one worker, got {workers}")
    free_at = [0.0] * workers
    for duration in seconds:
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)


def by_workers(seconds: Sequence[float]) -> dict[int, float]:
    """The makespan for growing numbers of workers, as far as another worker could have a cell.

    Example:
        >>> by_workers([2.0, 2.0, 2.0])
        {1: 6.0, 2: 4.0, 4: 2.0}
    """
    few = [workers for workers in WORKERS if workers == 1 or workers // 2 < len(seconds)]
    return {workers: makespan(seconds, workers) for workers in few}
