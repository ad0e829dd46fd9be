"""Every benchmark keeps the contract; unknown names are refused; torch stays outside."""

import subprocess
import sys

import numpy as np
import pytest

from studies.benchmarks import BENCHMARKS, FACTS, Split, load
from tests.studies.benchmarks.contract import BenchmarkContract, DataContract


class TestDigits(BenchmarkContract):
    name = "digits"


class TestDigitsLongtail(BenchmarkContract):
    name = "digits-longtail"


class TestIWildCam(DataContract):
    names = ("iwildcam",)


class TestDomainNet(DataContract):
    names = tuple(name for name in BENCHMARKS if name.startswith("domainnet"))


class TestImageNet(DataContract):
    names = ("imagenet", "imagenet-lt", "imagenet-lt-oltr")


class TestCifar(DataContract):
    names = ("cifar100", "cifar100c", "cifar100-lt")


def test_every_benchmark_is_under_contract_and_has_facts():
    embedded = [case.name for case in BenchmarkContract.__subclasses__()]
    published = [name for case in DataContract.__subclasses__() for name in case.names]
    assert sorted(embedded + published) == sorted(BENCHMARKS)
    assert list(FACTS) == list(BENCHMARKS)
    assert [name for name, facts in FACTS.items() if facts.is_embedded] == embedded


def test_manifests_differ(minis):
    manifests = [load(name).manifest if FACTS[name].is_embedded else minis.benchmark(name).manifest for name in FACTS]
    assert len(set(manifests)) == len(BENCHMARKS)


def test_unknown_benchmark_is_refused_with_the_valid_names():
    with pytest.raises(
        ValueError, match=r"unknown benchmark 'mnist'; choose one of cifar100, .*digits, digits-longtail"
    ):
        load("mnist")


def test_one_object_for_one_place_and_one_set_of_options(minis, monkeypatch):
    monkeypatch.setenv("GMIXOUT_DATA", str(minis.data))
    named = load("domainnet", minis.data)
    assert load("domainnet") is named
    assert load("domainnet", minis.data, source="real") is not named
    assert load("digits") is load("digits", minis.data)


def test_split_of_unequal_lengths_is_refused():
    with pytest.raises(ValueError, match="as many labels and sources as images, got 2 images, 1 labels, 2 sources"):
        Split("train", np.zeros((2, 32, 32, 3), np.uint8), np.zeros(1, np.int64), np.zeros(2, np.int64))


def test_benchmarks_do_not_import_torch():
    script = "import sys, studies.benchmarks as b; b.load('digits').load('id_val'); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
