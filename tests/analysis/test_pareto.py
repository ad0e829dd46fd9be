"""The Pareto front against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.pareto import pareto_front

COARSE = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, float("nan")])


@given(st.lists(st.tuples(COARSE, COARSE), max_size=12))
def test_agrees_with_brute_force(points: list[tuple[float, float]]) -> None:
    x, y = np.array(points).reshape(-1, 2).T
    found = pareto_front(x, y)
    for i in range(len(x)):
        is_beaten = any(x[j] >= x[i] and y[j] >= y[i] and (x[j] > x[i] or y[j] > y[i]) for j in range(len(x)))
        assert found[i] == (not is_beaten and np.isfinite([x[i], y[i]]).all())


@given(st.integers(0, 2**32 - 1))
def test_order_does_not_matter_and_something_is_on_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.random((2, 9))
    order = rng.permutation(9)
    assert (pareto_front(x[order], y[order]) == pareto_front(x, y)[order]).all()
    assert pareto_front(x, y)[[x.argmax(), y.argmax()]].all()


def test_equal_points_stay_together() -> None:
    assert pareto_front([0.5, 0.5, 0.4], [0.5, 0.5, 0.5]).tolist() == [True, True, False]
    assert pareto_front([], []).tolist() == []
    with pytest.raises(ValueError, match="one ID and one OOD each"):
        pareto_front([0.5], [0.5, 0.6])
