"""Turns, rounds and ratios."""

import math

import pandas as pd
import pytest
import torch

from benchmarks import timing

CPU = torch.device("cpu")


def test_ratios_are_taken_within_rounds():
    # The machine is ten times slower in the second half; the ratio is 0.5 throughout.
    times = pd.DataFrame({"full": [10.0, 10.0, 100.0, 100.0], "ours": [5.0, 5.0, 50.0, 50.0]})
    assert timing.paired_ratios(times, "full").loc["ours"].tolist() == [0.5, 0.5, 0.5]
    assert timing.paired_ratios(times, "ours").loc["full", "ratio"] == 2.0


def test_quartiles_of_ratios():
    times = pd.DataFrame({"full": [1.0] * 5, "ours": [1.0, 2.0, 3.0, 4.0, 5.0]})
    found = timing.paired_ratios(times, "full", "to_full").loc["ours"]
    assert found.to_dict() == {"to_full": 3.0, "to_full_q25": 2.0, "to_full_q75": 4.0}


def test_without_the_reference_there_is_no_ratio():
    assert timing.paired_ratios(pd.DataFrame({"ours": [1.0]}), "full").isna().all(axis=None)


def test_everybody_has_one_turn_a_round_in_an_order_that_rotates():
    calls = []
    contestants = {name: lambda name=name: calls.append(name) for name in "abc"}
    times = timing.rounds_of(contestants, 3, CPU, warmup=1)
    assert calls == [*"cab", *"abc", *"bca", *"cab"]
    assert times.shape == (3, 3)
    assert (times >= 0).all(axis=None)


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, timing.FEWEST_ROUNDS), (math.inf, 6)])
def test_rounds_end_when_the_time_is_spent(seconds, rounds):
    assert len(timing.rounds_of({"a": lambda: None}, 6, CPU, seconds=seconds)) == rounds


def test_cold_calls_are_warmed_up_once():
    calls = []
    assert len(timing.cold_milliseconds(lambda: calls.append(1), 4, CPU)) == 4
    assert len(calls) == 5
