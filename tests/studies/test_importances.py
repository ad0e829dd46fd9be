"""Importances: the forest's shares against variances that were planted, and both measures on the stored records."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.anova import anova
from studies.importances import ANOVA_WARNING, FANOVA_WARNING, fanova, importances
from tests.studies.running import here

RECORDS = Path(__file__).parents[2] / "figures/levers-quick/records"


@pytest.fixture
def crossed():
    """A crossed design in which a makes nine times the variance of b, and c none."""
    grid = pd.MultiIndex.from_product([range(4), range(4), ["x", "y"], range(3)], names=["a", "b", "c", "run"])
    frame = grid.to_frame(index=False).astype({"a": float, "b": float})
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(frame))
    return frame.assign(y=3 * frame["a"] + frame["b"] + noise)


def test_both_measures_agree_where_the_design_is_crossed_and_effects_add_up(crossed):
    shares = fanova(crossed, "y", ["a", "b", "c", "run"])
    assert sum(shares.values()) == pytest.approx(1)
    squares = anova(crossed, "y", ["a", "b", "c"], interactions=1).set_index("term")["sum_of_squares"]
    for name in ("a", "b", "c"):
        # The forest has hundredths of error of its own.
        assert shares[name] == pytest.approx(squares[name] / squares.sum(), abs=0.02)
    assert list(shares)[:2] == ["a", "b"]


def test_forest_knows_only_where_one_has_looked(crossed):
    """The warning: cells where a hardly moves make b the more important."""
    looked = pd.concat([crossed[crossed["a"].eq(3)], crossed[crossed["a"].eq(2)].head(1)])
    shares = fanova(looked, "y", ["a", "b", "c"])
    assert shares["b"] > shares["a"]


def test_nothing_is_made_up_where_nothing_differs(crossed):
    assert fanova(crossed, "y", ["a"]) == {}
    assert fanova(crossed.assign(y=1.0), "y", ["a", "b"]) == {}


def test_missing_value_is_a_level(crossed):
    frame = crossed.assign(b=crossed["b"].where(crossed["a"].gt(0), np.nan))
    assert fanova(frame, "y", ["a", "b"]).keys() == {"a", "b"}


def test_command_prints_both_side_by_side_with_their_warnings(monkeypatch):
    quick = partial(importances, responses=["ood_score"], trees=8)
    monkeypatch.setattr("studies.commands.importances.importances", quick)
    ended = here("study", "importances", "levers-quick", "--results", str(RECORDS), "--json")
    assert ended.exit_code == 0, ended.output
    told = json.loads(ended.stdout)
    assert told["warnings"] == {"fanova": FANOVA_WARNING, "anova": ANOVA_WARNING}
    found = pd.DataFrame(told["importances"]).set_index(["method", "setting"])
    levers = found.loc["gmixout"]
    assert {"anchor", "resample_every", "sparsity", "learning_rate", "run"} <= set(levers.index)
    assert levers["fanova"].sum() == pytest.approx(1)
    assert levers.loc[["anchor", "resample_every", "sparsity"], "partial_omega_squared"].notna().all()
