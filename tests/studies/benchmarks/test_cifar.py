"""CIFAR-100: the pixels that torchvision reads, pickles that run nothing, corruptions in order, the long tail."""

import os
import pickle

import numpy as np
import pytest
import torchvision.datasets
from torchvision.datasets import cifar

from studies.benchmarks import DataError
from studies.benchmarks.cifar.longtail import tail_counts
from studies.benchmarks.cifar.pickles import read_pickle
from studies.benchmarks.corruptions import CORRUPTIONS
from tests.studies.benchmarks.trees import write_cifar


@pytest.fixture
def broken(tmp_path):
    """A copy that a test may damage."""
    write_cifar(tmp_path)
    return tmp_path


class Wipes:
    """What a hostile pickle would run."""

    def __reduce__(self):
        return os.mkdir, ("hacked",)


@pytest.mark.filterwarnings("ignore")
def test_pictures_and_labels_are_torchvisions(minis, monkeypatch):
    monkeypatch.setattr(cifar, "check_integrity", lambda *_: True)
    benchmark = minis.benchmark("cifar100")
    theirs = torchvision.datasets.CIFAR100(minis.data, train=False)
    test = benchmark.load("id_test")
    np.testing.assert_array_equal(test.images, theirs.data)
    assert test.labels.tolist() == theirs.targets
    assert list(benchmark.classes) == theirs.classes
    theirs = torchvision.datasets.CIFAR100(minis.data, train=True)
    for split in (benchmark.load("train"), benchmark.load("id_val")):
        origin = -1 - split.sources
        np.testing.assert_array_equal(split.images, theirs.data[origin])
        assert split.labels.tolist() == np.array(theirs.targets)[origin].tolist()


def test_id_validation_is_balanced(minis):
    assert np.bincount(minis.benchmark("cifar100").load("id_val").labels).tolist() == [5] * 10


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickles_of_newer_pythons_are_read(protocol, tmp_path):
    table = {b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"fine_labels": [0, 1], "kind": "x"}
    (tmp_path / "train").write_bytes(pickle.dumps(table, protocol))
    found = read_pickle(tmp_path / "train")
    assert found["data"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["fine_labels"] == [0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"data": Wipes()}), "it names posix.mkdir, which no CIFAR file does"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "it names builtins.eval"),
        (b"c_codecs\nencode\n(Vab\nVzip\ntR.", "bytes in the encoding 'zip'"),
        (pickle.dumps([1]), "must hold a table, it holds list"),
        (pickle.dumps({"a": 1})[:-3], "cannot read"),
        (b"<html>", "cannot read"),
    ],
)
def test_hostile_and_damaged_pickles_run_nothing(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_pickle(tmp_path / "train")
    assert not (tmp_path / "hacked").exists()


def test_severities_lie_one_after_the_other_and_stay_on_disk(minis):
    benchmark = minis.benchmark("cifar100c")
    assert len(benchmark.corruption_splits) == 75
    stored = np.load(minis.data / "CIFAR-100-C" / "fog.npy")
    for severity in (1, 3, 5):
        split = benchmark.load(f"corruption/fog/{severity}")
        np.testing.assert_array_equal(split.images, stored[40 * (severity - 1) : 40 * severity])
        assert isinstance(split.images, np.memmap)
        assert split.labels.tolist() == benchmark.load("id_test").labels.tolist()
        assert split.sources.tolist() == benchmark.load("id_test").sources.tolist()


def test_extra_kinds_are_loaded_by_name_and_counted_nowhere(minis):
    benchmark = minis.benchmark("cifar100c")
    assert len(benchmark.load("corruption/speckle_noise/2")) == 40
    assert {split.split("/")[1] for split in benchmark.corruption_splits} == set(CORRUPTIONS)


@pytest.mark.parametrize("split", ["corruption/rain/1", "corruption/fog/6", "corruption/fog", "ood/real"])
def test_unknown_corruption_is_refused(split, minis):
    with pytest.raises(ValueError, match=r"unknown split .*corruption/<kind>/<1..5> with kind in gaussian_noise"):
        minis.benchmark("cifar100c").load(split)
    with pytest.raises(ValueError, match=r"choose one of train, id_val, id_test$"):
        minis.benchmark("cifar100").load(split)


@pytest.mark.parametrize(
    ("file", "array", "message"),
    [
        ("fog.npy", np.zeros((40, 32, 32, 3), np.uint8), r"fog.npy must be uint8 of shape \(200, 32, 32, 3\)"),
        ("fog.npy", np.array([{}]), "cannot read .*fog.npy"),
        ("labels.npy", np.zeros(200, int), "does not repeat the test's labels five times"),
        ("fog.npy", None, "there is no file .*fog.npy"),
    ],
)
def test_damaged_corruption_is_told(file, array, message, broken, minis):
    path = broken / "CIFAR-100-C" / file
    if array is None:
        path.unlink()
    else:
        np.save(path, array)
    benchmark = minis.benchmark("cifar100c", broken)
    with pytest.raises(DataError, match=message):
        benchmark.load("corruption/fog/1")
    assert len(benchmark.check()) == 1


def test_long_tail_has_the_published_profile():
    counts = tail_counts(500, 100, 100.0)
    assert (counts.sum(), counts[0], counts[-1]) == (10847, 500, 5)
    with pytest.raises(ValueError, match="must not exceed the 20 images of a class, got 50"):
        tail_counts(20, 100, 50)


def test_long_tail_thins_training_alone(minis):
    whole, tail = minis.benchmark("cifar100"), minis.benchmark("cifar100-lt")
    assert tail.train_counts.tolist() == tail_counts(25, 10, 5.0).tolist()
    assert set(tail.load("train").sources) < set(whole.load("train").sources)
    for split in ("id_val", "id_test"):
        assert tail.load(split).sources.tolist() == whole.load(split).sources.tolist()
    assert tail.groups["few"]
    assert whole.groups == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"imbalance": 0.5}, "imbalance must be at least 1"), ({"shots": "liu"}, "unknown convention 'liu'")],
)
def test_impossible_tail_is_refused(changes, message, minis):
    with pytest.raises(ValueError, match=message):
        minis.benchmark("cifar100-lt", **changes)


def test_files_that_are_not_the_publishers_are_told(minis):
    problems = minis.benchmark("cifar100", md5={"train": "16019d7e3df5f24257cddd939b257f8d"}).check()
    assert len(problems) == 1
    assert "is not the publisher's file" in problems[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fine_labels": [0, 10]}, r"labels in .*train must lie in 0..9, got 10"),
        ({"fine_labels": [0]}, "must hold 2 labels under fine_labels"),
        ({"data": np.zeros((2, 10), np.uint8)}, "must hold images of 3072 bytes"),
        ({"data": None}, "must hold images of 3072 bytes"),
    ],
)
def test_table_of_another_form_is_told(change, message, broken, minis):
    table = {"data": np.zeros((2, 3072), np.uint8), "fine_labels": [0, 1]} | change
    (broken / "cifar-100-python" / "train").write_bytes(pickle.dumps(table, 2))
    with pytest.raises(DataError, match=message):
        minis.benchmark("cifar100", broken).load("train")


def test_missing_file_is_told(broken, minis):
    (broken / "cifar-100-python" / "meta").unlink()
    assert "there is no file" in minis.benchmark("cifar100", broken).check()[0]
