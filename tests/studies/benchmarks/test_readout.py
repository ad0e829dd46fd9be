"""Readouts: the maximum over the classes that count as one, by a slow and obvious twin."""

import numpy as np
import pytest

from studies.benchmarks.readout import Readout, one_each


def test_largest_logit_of_each_class():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(7, 20)).astype(np.float16)
    columns = ((3,), (19, 0, 4), (4,), (11, 2))
    got = Readout(columns).apply(logits)
    expected = np.stack([logits[:, list(positions)].max(axis=1) for positions in columns], axis=1)
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == np.float16


def test_subset_keeps_the_order_it_is_given():
    logits = np.arange(5.0)[None]
    assert one_each([4, 1]).apply(logits).tolist() == [[4.0, 1.0]]


def test_nan_is_not_hidden():
    assert np.isnan(Readout(((0, 1),)).apply(np.array([[np.nan, 1.0]]))).all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [((), "needs classes"), (((1,), ()), "at least one position"), (((0, -1),), "must not be negative, got -1")],
)
def test_impossible_readout_is_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        Readout(columns)


def test_too_few_logits_are_refused():
    with pytest.raises(ValueError, match=r"shape \(N, 4 or more\), got \(2, 3\)"):
        one_each([3]).apply(np.zeros((2, 3)))
