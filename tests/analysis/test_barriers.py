"""Barriers on curves worked by hand and against a dense loop; what each convention sees and does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.barriers import barrier_errors, chord_barrier_error, max_barrier_error, midpoint_barrier_error

PATH = [0.0, 0.25, 0.5, 0.75, 1.0]


def test_one_path_by_all_three_conventions() -> None:
    losses, accuracies = [1.0, 1.2, 3.0, 2.5, 2.0], [0.8, 0.7, 0.4, 0.5, 0.6]
    found = barrier_errors(PATH, losses, accuracies)
    assert found["max_barrier_error"] == pytest.approx(3.0 - 1.5)
    assert found["midpoint_barrier_error"] == pytest.approx(0.7 - 0.4)
    assert found["chord_barrier_error"] == pytest.approx(3.0 - 1.5)


def test_what_the_conventions_differ_in() -> None:
    downhill = [3.0, 2.5, 2.0, 1.5, 1.0]
    assert max_barrier_error(PATH, downhill) == 1.0
    assert chord_barrier_error(PATH, downhill) == 0.0
    beside = [0.9, 0.1, 0.9, 0.9, 0.9]
    assert midpoint_barrier_error(PATH, beside) == 0.0
    assert chord_barrier_error(PATH, [1 - value for value in beside]) == pytest.approx(0.8)
    assert midpoint_barrier_error(PATH, [0.5, 0.5, 0.9, 0.5, 0.5]) == pytest.approx(-0.4)


@given(st.lists(st.floats(0, 10), min_size=2, max_size=12))
def test_against_loops(losses: list[float]) -> None:
    alphas = np.linspace(0, 1, len(losses))
    heights = [loss - ((1 - a) * losses[0] + a * losses[-1]) for a, loss in zip(alphas, losses)]
    assert chord_barrier_error(alphas, losses) == pytest.approx(max(heights), abs=1e-12)
    assert chord_barrier_error(alphas, losses) >= -1e-12
    mean = (losses[0] + losses[-1]) / 2
    assert max_barrier_error(alphas, losses) == pytest.approx(max(losses) - mean)
    assert max_barrier_error(alphas, losses) >= abs(losses[0] - losses[-1]) / 2 - 1e-12
    # Neither knows a direction.
    back = losses[::-1]
    assert chord_barrier_error(alphas, back) == pytest.approx(chord_barrier_error(alphas, losses), abs=1e-12)


def test_bad_paths_are_refused_and_missing_midpoints_are_nan() -> None:
    assert np.isnan(midpoint_barrier_error([0.0, 0.3, 1.0], [1.0, 0.5, 1.0]))
    with pytest.raises(ValueError, match="rise from 0 to 1"):
        max_barrier_error([0.1, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="rise from 0 to 1"):
        chord_barrier_error([0.0, 0.6, 0.5, 1.0], [1.0] * 4)
    with pytest.raises(ValueError, match="one shape"):
        max_barrier_error([0.0, 1.0], [1.0] * 3)
