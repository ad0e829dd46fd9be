"""Results in order, with the next ones already being made: what reads images while the model computes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")

DEPTH = 2
"""Results that are made in advance: one is being used, one is ready, and reading itself has several threads."""


def ahead(make: Callable[[Key], Result], keys: Iterable[Key], depth: int = DEPTH) -> Iterator[Result]:
    """Makes the result of every key, in order, at most ``depth`` of them in advance, in a thread of its own.

    What is made depends on the keys alone, never on who is faster. An error is raised where its result is due. Leaving
    early, by ``close`` or because of an error, waits for what is being made and drops it.

    Args:
        make: From a key to its result.
        keys: In the order of use; may be endless.
        depth: At least 1.

    Example:
        >>> list(ahead(lambda key: key * key, range(4)))
        [0, 1, 4, 9]
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    remaining = iter(keys)
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for key in remaining:
                waiting.append(pool.submit(make, key))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
