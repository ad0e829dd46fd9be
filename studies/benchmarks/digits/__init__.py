"""`digits`: real handwriting in six drawn domains, without any download."""

from studies.benchmarks.digits.benchmark import Digits

__all__ = ["Digits"]
