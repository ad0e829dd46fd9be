"""Every benchmark keeps the contract; unknown names are refused; torch stays outside."""

import subprocess
import sys

import numpy as np
import pytest

from studies.benchmarks import BENCHMARKS, Split, load
from tests.studies.benchmarks.contract import BenchmarkContract


class TestDigits(BenchmarkContract):
    name = "digits"


class TestDigitsLongtail(BenchmarkContract):
    name = "digits-longtail"


def test_every_benchmark_is_under_contract():
    assert {case.name for case in BenchmarkContract.__subclasses__()} == set(BENCHMARKS)


def test_manifests_differ():
    assert len({load(name).manifest for name in BENCHMARKS}) == len(BENCHMARKS)


def test_unknown_benchmark_is_refused_with_the_valid_names():
    with pytest.raises(ValueError, match="unknown benchmark 'mnist'; choose one of digits, digits-longtail"):
        load("mnist")


def test_split_of_unequal_lengths_is_refused():
    with pytest.raises(ValueError, match="as many labels and sources as images, got 2 images, 1 labels, 2 sources"):
        Split("train", np.zeros((2, 32, 32, 3), np.uint8), np.zeros(1, np.int64), np.zeros(2, np.int64))


def test_benchmarks_do_not_import_torch():
    script = "import sys, studies.benchmarks as b; b.load('digits').load('id_val'); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
