"""How often an interval holds the truth, held against the binomial of its nominal rate."""

from collections.abc import Callable

import numpy as np
from scipy import stats

DRAWS = 200
# Chance that a right estimator fails one such test: no tuning, the same for all.
ALARM = 1e-3


def assert_covers(interval_of: Callable[[int], tuple[float, float, float]], level: float, draws: int = DRAWS) -> None:
    """``interval_of`` maps a seed to (low, truth, high); the hits must be what ``level`` makes plausible."""
    ends = np.array([interval_of(seed) for seed in range(draws)])
    assert np.isfinite(ends).all()
    hits = int(((ends[:, 0] <= ends[:, 1]) & (ends[:, 1] <= ends[:, 2])).sum())
    chance = stats.binomtest(hits, draws, level).pvalue
    assert chance > ALARM, f"{hits} of {draws} intervals hold the truth, {level} of them should (p = {chance:.1e})"


def assert_rejects_at_level(is_rejected: Callable[[int], bool], significance: float, draws: int = DRAWS) -> None:
    """Where nothing is to be found, at most ``significance`` of the tests may find something."""
    hits = sum(is_rejected(seed) for seed in range(draws))
    chance = stats.binomtest(hits, draws, significance, alternative="greater").pvalue
    assert chance > ALARM, f"{hits} of {draws} tests reject, {significance} of them may (p = {chance:.1e})"
