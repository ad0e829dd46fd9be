"""The benchmarks by name. NumPy only: torch stops at the door."""

from __future__ import annotations

import functools
from collections.abc import Callable

from studies.benchmarks.benchmark import Benchmark, Split
from studies.benchmarks.digits import Digits

__all__ = ["BENCHMARKS", "Benchmark", "Split", "load"]

BENCHMARKS: dict[str, Callable[[], Benchmark]] = {
    "digits": Digits,
    "digits-longtail": functools.partial(Digits, longtail=True),
}


@functools.cache
def load(name: str) -> Benchmark:
    """Returns a benchmark by its name; one object per process, so that its splits are rendered once.

    Raises:
        ValueError: If there is no such benchmark; the message lists the valid names.

    Example:
        >>> load("digits").classes[:3]
        ('0', '1', '2')
    """
    if name not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {name!r}; choose one of {', '.join(sorted(BENCHMARKS))}")
    return BENCHMARKS[name]()
