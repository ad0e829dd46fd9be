"""Distances and angles against one long vector, and by hand."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine, euclidean

from analysis import geometry


def models(seed: int, number: int = 4) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"a": rng.normal(size=(3, 2)).astype(np.float32), "b": rng.normal(size=4)} for _ in range(number)]


def long(model: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([part.ravel().astype(float) for part in model.values()])


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_agrees_with_scipy_on_one_long_vector(seed: int) -> None:
    origin, first, second, third = models(seed)
    assert geometry.distance(first, second) == pytest.approx(euclidean(long(first), long(second)))
    expected = np.arccos(1 - cosine(long(first) - long(origin), long(second) - long(origin)))
    assert geometry.update_angle(first, second, origin) == pytest.approx(expected)
    members = [first, second, third]
    centre = np.mean([long(member) for member in members], axis=0)
    assert geometry.locality(members) == pytest.approx(max(euclidean(long(member), centre) for member in members))
    layers = geometry.layer_updates(first, origin).set_index("layer")
    assert np.hypot(*layers["distance"]) == pytest.approx(geometry.distance(first, origin))
    angles = geometry.layer_angles(members, origin).set_index("layer")["angle"]
    by_hand = [np.arccos(1 - cosine(x["b"] - origin["b"], y["b"] - origin["b"])) for x, y in combinations(members, 2)]
    assert angles["b"] == pytest.approx(np.mean(by_hand))


def test_changed_entries_and_what_is_undefined() -> None:
    origin = {"w": np.array([1.0, 2.0, 0.0, 4.0]), "zero": np.zeros(2)}
    moved = {"w": np.array([1.0, 2.5, 0.0, 4.0]), "zero": np.array([0.0, 1.0])}
    layers = geometry.layer_updates(moved, origin).set_index("layer")
    assert layers["changed_fraction"].tolist() == [0.25, 0.5]
    assert layers.loc["w", "relative_distance"] == pytest.approx(0.5 / np.sqrt(21))
    assert np.isnan(layers.loc["zero", "relative_distance"])
    assert np.isnan(geometry.update_angle(moved, origin, origin))
    assert np.isnan(geometry.layer_angles([moved, origin], origin)["angle"]).all()


def test_models_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="only one has 'b'"):
        geometry.distance({"a": np.zeros(1)}, {"a": np.zeros(1), "b": np.zeros(1)})
    with pytest.raises(ValueError, match="one shape"):
        geometry.distance({"a": np.zeros(1)}, {"a": np.zeros(2)})
    with pytest.raises(ValueError, match="same layers"):
        geometry.average([])
