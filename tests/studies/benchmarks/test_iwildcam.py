"""iWildCam: the splits, labels and pictures of the package that defines them, and what is said of damaged tables."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from studies.benchmarks import DataError
from studies.benchmarks.iwildcam import OFFICIAL
from tests.studies.benchmarks.official import IWildCamDataset
from tests.studies.benchmarks.trees import SPECIES, write_iwildcam


@pytest.fixture
def official(minis) -> IWildCamDataset:
    return IWildCamDataset(root_dir=str(minis.data), download=False)


@pytest.fixture
def broken(minis, tmp_path):
    """A copy that a test may damage: its folder, and how to open it."""
    write_iwildcam(tmp_path)
    return tmp_path / "iwildcam_v2.0", lambda: minis.benchmark("iwildcam", tmp_path)


@pytest.mark.parametrize(("ours", "theirs"), OFFICIAL.items())
def test_splits_are_the_official_ones(ours, theirs, minis, official):
    split, subset = minis.benchmark("iwildcam").load(ours), official.get_subset(theirs)
    assert split.labels.tolist() == subset.y_array.tolist()
    names = [f"train/{name}" for name in official._input_array[subset.indices]]
    assert list(split.images.names) == names
    for position in (0, len(split) - 1):
        expected = split.images.view.cut(subset[position][0].convert("RGB"))
        np.testing.assert_array_equal(split.images[np.array([position])][0], expected)


def test_macro_f1_of_our_labels_counts_the_labels_that_are_there(minis, official):
    labels = minis.benchmark("iwildcam").load("id_test").labels
    labels = labels[labels < 2]
    # A prediction of a species that is not there must not count as one more class with score 0.
    predicted = np.where(np.arange(len(labels)) == 0, 3, labels)
    theirs, _ = official.eval(torch.tensor(predicted), torch.tensor(labels), None)
    assert theirs["F1-macro_all"] == pytest.approx(
        f1_score(labels, predicted, labels=np.unique(labels), average="macro")
    )
    assert theirs["F1-macro_all"] > f1_score(labels, predicted, average="macro")


def test_classes_are_the_species(minis):
    assert minis.benchmark("iwildcam").classes == SPECIES


def test_other_cameras_for_validation_can_be_loaded_and_enter_nothing(minis):
    benchmark = minis.benchmark("iwildcam")
    assert len(benchmark.load("ood_val")) == 4
    assert "ood_val" not in (*benchmark.splits, *benchmark.ood_splits)


def test_release_without_names_has_numbers_and_says_so(broken):
    folder, opened = broken
    (folder / "categories.csv").unlink()
    (folder / "RELEASE_v2.0.txt").unlink()
    benchmark = opened()
    assert benchmark.classes[3] == "class 3"
    assert benchmark.load("train").images[:1].shape == (1, 224, 224, 3)
    problems = benchmark.check()
    assert "no RELEASE_v2.0.txt" in problems[0]
    assert "no categories.csv (columns y, name)" in problems[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id_val,", "validation,", "names the splits validation; WILDS 2.0 has id_test, id_val, test, train, val"),
        ("image_id", "image", None),
        (",filename,", ",file,", "must be a table with the columns split, filename, y"),
        (",1,301,", ",182,301,", r"labels must lie in 0..3, got 182 at .*metadata.csv line 3: train/0001-21bc.jpg"),
        (",1,301,", ",one,301,", "must have whole numbers in the column y"),
        ("0000-21bc.jpg", "../0000-21bc.jpg", "names must lie below .*line 2"),
    ],
)
def test_damaged_table_is_told_with_its_line(old, new, message, broken):
    folder, opened = broken
    table = folder / "metadata.csv"
    table.write_text(table.read_text().replace(old, new))
    if message is None:
        assert opened().check() == []
        return
    with pytest.raises(DataError, match=message):
        opened().load("train")
    assert any("metadata.csv" in problem for problem in opened().check())


def test_missing_and_empty_images_are_named_by_line(broken):
    folder, opened = broken
    (folder / "train" / "0001-21bc.jpg").unlink()
    (folder / "train" / "0002-21bc.jpg").write_bytes(b"")
    problems = opened().check()
    assert any("metadata.csv line 3 names a missing file" in problem for problem in problems)
    assert any("metadata.csv line 4 names an empty file" in problem for problem in problems)
    with pytest.raises(DataError, match=r"1 of 16 files of train are missing.*run `gmixout data check iwildcam`"):
        _ = opened().manifest


def test_absent_table_is_told(broken):
    folder, opened = broken
    (folder / "metadata.csv").unlink()
    with pytest.raises(DataError, match=r"there is no .*metadata.csv"):
        opened().load("train")


def test_folder_that_is_not_the_release_is_refused(minis, tmp_path):
    shutil.copytree(minis.data / "iwildcam_v2.0", tmp_path / "iwildcam_v1.0")
    with pytest.raises(DataError, match=r"there is no folder .*iwildcam_v2.0"):
        minis.benchmark("iwildcam", Path(tmp_path))
