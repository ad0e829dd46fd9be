"""Results in order, with the next ones already being made: how images are read while the model computes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from studies.reading import Reading

Key = TypeVar("Key")
Result = TypeVar("Result")
Job = Callable[[], object]


def ahead(
    begin: Callable[[Key], tuple[Result, Sequence[Job]]], keys: Iterable[Key], threads: int = 1, depth: int = 2
) -> Iterator[Result]:
    """Makes the result of every key, in order, at most ``depth`` of them in advance, in threads of its own.

    Threads that are done with one result's jobs go on to the next one's. What is made depends on the keys alone, never
    on who is faster. An error is raised where its result is due. Leaving early, by ``close`` or because of an error,
    waits for what is being made and drops it.

    Args:
        begin: From a key to its result, and the jobs that must be done before it is one.
        keys: In the order of use; may be endless.
        threads: At least 1.
        depth: At least 1.

    Example:
        >>> def begin(key):
        ...     squares = []
        ...     return squares, [lambda: squares.append(key * key)]
        >>> list(ahead(begin, range(4)))
        [[0], [1], [4], [9]]
    """
    if depth < 1 or threads < 1:
        raise ValueError(f"depth and threads must be at least 1, got {depth} and {threads}")
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Result, list[Future[object]]]] = deque()
        try:
            for key in keys:
                result, jobs = begin(key)
                waiting.append((result, [pool.submit(job) for job in jobs]))
                if len(waiting) > depth:
                    yield _finished(*waiting[0])
                    waiting.popleft()
            while waiting:
                yield _finished(*waiting[0])
                waiting.popleft()
        finally:
            for _, futures in waiting:
                for future in futures:
                    future.cancel()


def _finished(result: Result, futures: list[Future[object]]) -> Result:
    for future in futures:
        future.result()
    return result


class Readable(Protocol):
    """Images that are not in memory as they are needed."""

    reading: Reading

    @property
    def shape(self) -> tuple[int, int, int, int]: ...

    def fill(self, out: npt.NDArray[np.uint8], positions: npt.NDArray[np.int64], crops: Any) -> None: ...


def read_ahead(
    images: Readable,
    batches: Iterable[npt.NDArray[np.int64]],
    room: Callable[[tuple[int, ...]], Any] = lambda shape: np.empty(shape, np.uint8),
    crops: Iterable[Any] | None = None,
) -> Iterator[Any]:
    """Reads batches of images, in order, by as many threads and as far ahead as ``images.reading`` says.

    Args:
        images: What is read.
        batches: Positions of each batch's images, shape ``(n,)``.
        room: Makes memory for a shape, uint8; anything that NumPy sees as an array.
        crops: Passed to ``images.fill`` with each batch; by default None.

    Returns:
        For each batch what ``room`` gave, filled: shape ``(n, height, width, 3)``.
    """
    threads = images.reading.readers

    def begin(batch: tuple[npt.NDArray[np.int64], Any]) -> tuple[Any, list[Job]]:
        positions, crop = batch
        out = room((len(positions), *images.shape[1:]))
        seen = np.asarray(out)
        rows = np.array_split(np.arange(len(positions)), min(threads, max(1, len(positions))))
        parts = [slice(part[0], part[-1] + 1) for part in rows if len(part)]
        return out, [partial(images.fill, seen[part], positions[part], crop) for part in parts]

    pairs = ((positions, None) for positions in batches) if crops is None else zip(batches, crops, strict=True)
    return ahead(begin, pairs, threads, images.reading.ahead)
