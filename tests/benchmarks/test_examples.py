"""The examples in the benchmarks' docstrings are true."""

import doctest
import importlib

import pytest

MODULES = (
    "bars",
    "budget",
    "cases",
    "kernels",
    "live",
    "models",
    "record",
    "redraw",
    "scaling",
    "stored",
    "timing",
    "faults.standin",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(f"benchmarks.{name}"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0
