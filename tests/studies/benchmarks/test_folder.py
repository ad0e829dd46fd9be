"""A user's own image folders: classes that must agree, splits that are given or cut."""

import numpy as np
import pytest

from studies.benchmarks import DataError, Folder
from tests.studies.benchmarks.trees import write_picture

CLASSES = ("ash", "beech", "oak")


def write_tree(tree, classes=CLASSES, each=10, start=0):
    for label, name in enumerate(classes):
        for number in range(each):
            write_picture(tree / name / f"{number}.png", start + 100 * label + number)
    return tree


@pytest.fixture
def trees(tmp_path):
    return write_tree(tmp_path / "forest"), write_tree(tmp_path / "herbarium", CLASSES[:2], 4, 1000)


def test_one_tree_is_parted_by_the_seed(trees):
    benchmark = Folder("leaves", trees[0], {"herbarium": trees[1]})
    assert benchmark.classes == CLASSES
    assert {split: len(benchmark.load(split)) for split in benchmark.splits} == {
        "train": 21, "id_val": 3, "id_test": 6, "ood/herbarium": 8,
    }  # fmt: skip
    names = [name for split in ("train", "id_val", "id_test") for name in benchmark.listing(split).names]
    assert sorted(names) == sorted(f"{c}/{n}.png" for c in CLASSES for n in range(10))
    other = Folder("leaves", trees[0], {}, seed=1)
    assert other.listing("id_test").names != benchmark.listing("id_test").names
    assert benchmark.check() == []
    assert benchmark.load("train").images[:2].shape == (2, 224, 224, 3)
    assert benchmark.train_counts.tolist() == [7, 7, 7]


def test_files_of_equal_names_below_two_roots_are_two_sources(trees):
    benchmark = Folder("leaves", trees[0], {"herbarium": trees[1], "again": trees[1]})
    sources = [source for split in benchmark.splits for source in benchmark.load(split).sources.tolist()]
    assert len(set(sources)) == len(sources) == 46


def test_given_parts_are_kept_and_missing_ones_cut_from_training(tmp_path):
    root = tmp_path / "forest"
    write_tree(root / "train")
    write_tree(root / "test", each=3, start=500)
    benchmark = Folder("leaves", root, {})
    assert {split: len(benchmark.load(split)) for split in benchmark.splits} == {"train": 27, "id_val": 3, "id_test": 9}
    assert all(name.startswith("test/") for name in benchmark.listing("id_test").names)
    write_tree(root / "val", each=2, start=800)
    benchmark = Folder("leaves", root, {})
    assert {split: len(benchmark.load(split)) for split in benchmark.splits} == {"train": 30, "id_val": 6, "id_test": 9}


def test_classes_that_only_id_has_are_allowed_and_named(trees):
    benchmark = Folder("leaves", trees[0], {"herbarium": trees[1]})
    assert benchmark.absent_classes("ood/herbarium") == ("oak",)
    assert np.bincount(benchmark.load("ood/herbarium").labels).tolist() == [4, 4]


def test_classes_that_id_lacks_are_one_error(trees):
    write_tree(trees[1], ("elm", "fir"), 1)
    benchmark = Folder("leaves", trees[0], {"herbarium": trees[1]})
    message = "herbarium has 2 folders that are no class of the ID training tree: elm, fir; rename or remove them"
    with pytest.raises(DataError, match=message):
        benchmark.load("ood/herbarium")
    assert [problem for problem in benchmark.check() if "elm, fir" in problem] == benchmark.check()


def test_empty_class_is_named(trees):
    (trees[0] / "yew").mkdir()
    assert Folder("leaves", trees[0], {}).check() == [
        "train has no image of class 3 (yew)",
        "id_val has no image of class 3 (yew)",
    ]


def test_one_tree_under_two_names_is_told(trees):
    problems = Folder("leaves", trees[0], {"again": trees[0]}).check()
    assert any("files lie in train and in ood/again" in problem for problem in problems)


def test_manifest_knows_no_place(trees, tmp_path):
    before = Folder("leaves", trees[0], {"herbarium": trees[1]}).manifest
    moved = trees[0].rename(tmp_path / "moved")
    assert Folder("leaves", moved, {"herbarium": trees[1]}).manifest == before
    assert Folder("leaves", moved, {"herbarium": trees[1]}, metric="macro_f1").manifest != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "recall"}, "metric must be accuracy or macro_f1, got 'recall'"),
        ({"id_val_fraction": 0.5, "id_test_fraction": 0.5}, "leave something to train on, got 0.5 and 0.5"),
        ({"id_val_fraction": 0.0}, "must be positive"),
        ({"ood_roots": {"a/b": "."}}, "must not be empty or hold a slash, got 'a/b'"),
        ({"ood_roots": {"attic": "nowhere"}}, "needs the folder nowhere, which is not there"),
        ({"id_root": "nowhere"}, "needs the folder nowhere"),
    ],
)
def test_impossible_settings_are_refused(changes, message, trees):
    with pytest.raises(ValueError, match=message):
        Folder(**{"name": "leaves", "id_root": trees[0], "ood_roots": {}} | changes)


def test_tree_without_classes_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no class folders"):
        Folder("leaves", tmp_path, {})
