"""Means over the pairs of an ensemble's members."""

import numpy as np

from analysis.probabilities import Floats


def mean_over_pairs(values: Floats) -> float:
    """Mean of a matrix ``(members, members)`` above its diagonal; NaN entries are left out, NaN if none is left.

    Example:
        >>> mean_over_pairs(np.array([[9.0, 1.0, 2.0], [9.0, 9.0, np.nan], [9.0, 9.0, 9.0]]))
        1.5
    """
    above = values[np.triu_indices(len(values), 1)]
    defined = above[~np.isnan(above)]
    return float(defined.mean()) if defined.size else float("nan")
