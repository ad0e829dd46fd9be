"""Random draws that are equal on every machine."""

from __future__ import annotations

import hashlib

import numpy as np


class Draws:
    """A stream of random numbers named by its key.

    Only uniform numbers are taken from NumPy: its bit streams are guaranteed, the algorithms behind
    ``Generator.normal``, ``integers`` or ``permutation`` are not. The rest is derived here.

    Args:
        *key: Strings and integers that name the stream; equal keys give equal draws.
        dtype: ``float64`` for images whose bytes must agree on every machine; ``float32`` is faster and will do
            where only the distribution matters. The two give different draws.

    Example:
        >>> bool((Draws("digits", 1).uniform(0, 1, (3,)) == Draws("digits", 1).uniform(0, 1, (3,))).all())
        True
    """

    def __init__(self, *key: str | int, dtype: type[np.floating] = np.float64) -> None:
        digest = hashlib.sha256(repr(key).encode()).digest()
        self._generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
        self.dtype = dtype

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform numbers in ``[low, high)``."""
        return self._generator.random(shape, dtype=self.dtype) * self.dtype(high - low) + self.dtype(low)

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normal numbers, by inversion."""
        # Half a second of imports, which most commands do without.
        from scipy.special import ndtri

        tiny = np.finfo(self.dtype).tiny
        return ndtri(np.maximum(self._generator.random(shape, dtype=self.dtype), tiny))

    def noise(self, shape: tuple[int, ...]) -> np.ndarray:
        """Bell-shaped numbers of mean 0 and variance 1 in ``[-3, 3]``: the sum of three uniforms, fast, no tails."""
        total = self._generator.random(shape, dtype=self.dtype)
        total += self._generator.random(shape, dtype=self.dtype)
        total += self._generator.random(shape, dtype=self.dtype)
        # Three uniforms have mean 3/2 and variance 3/12.
        return (total - self.dtype(1.5)) * self.dtype(2)

    def integers(self, below: int, shape: tuple[int, ...]) -> np.ndarray:
        """Integers in ``[0, below)``, ``int64``."""
        return (self._generator.random(shape) * below).astype(np.int64)

    def chance(self, probability: float, shape: tuple[int, ...]) -> np.ndarray:
        """Booleans that are true with the given probability."""
        return self._generator.random(shape) < probability

    def order(self, count: int) -> np.ndarray:
        """A random order of ``range(count)``, ``int64``."""
        return np.argsort(self._generator.random(count), kind="stable")
