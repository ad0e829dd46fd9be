"""Sums over examples that are read in parts, and means over the pairs of an ensemble's members."""

from dataclasses import fields
from typing import Any, Self

import numpy as np

from analysis.probabilities import Floats


class Sums:
    """A dataclass of sums over examples: those of parts of the examples add up, field by field."""

    def __add__(self, other: Self) -> Self:
        own: Any = self
        return type(self)(*(getattr(own, field.name) + getattr(other, field.name) for field in fields(own)))


def mean_over_pairs(values: Floats) -> float:
    """Mean of a matrix ``(members, members)`` above its diagonal; NaN entries are left out, NaN if none is left.

    Example:
        >>> mean_over_pairs(np.array([[9.0, 1.0, 2.0], [9.0, 9.0, np.nan], [9.0, 9.0, 9.0]]))
        1.5
    """
    above = values[np.triu_indices(len(values), 1)]
    defined = above[~np.isnan(above)]
    return float(defined.mean()) if defined.size else float("nan")
