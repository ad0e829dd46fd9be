"""ImageNet, its shifts and its long tail: labels, readouts, layouts, and what is said of half-extracted archives."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from studies.benchmarks import DataError
from studies.benchmarks.imagenet.classes import read_classes
from tests.studies.benchmarks.trees import NAMES, WNIDS, write_imagenet, write_imagenet_lt, write_picture


@pytest.fixture
def broken(tmp_path):
    """A copy that a test may damage."""
    write_imagenet(tmp_path)
    write_imagenet_lt(tmp_path)
    return tmp_path / "imagenet"


@pytest.fixture
def opened(minis, broken):
    return lambda **options: minis.benchmark("imagenet", broken.parent, **options)


def test_labels_are_positions_among_the_sorted_identifiers(minis):
    benchmark = minis.benchmark("imagenet")
    for split in ("train", "id_val", "id_test", "ood/sketch"):
        files = benchmark.listing(split)
        assert [WNIDS[label] for label in files.labels] == [name.split("/")[-2] for name in files.names]
    assert benchmark.classes == NAMES


def test_id_validation_is_cut_from_training_and_never_from_the_test(minis):
    benchmark = minis.benchmark("imagenet", id_validation=2)
    training, validation = set(benchmark.listing("train").names), set(benchmark.listing("id_val").names)
    assert np.bincount(benchmark.load("id_val").labels).tolist() == [2] * 12
    assert not training & validation
    assert all(name.startswith("train/") for name in training | validation)
    assert all(name.startswith("val/") for name in benchmark.listing("id_test").names)


def test_label_of_v2_is_the_folders_number_and_not_its_rank(minis):
    files = minis.benchmark("imagenet").listing("ood/v2")
    assert [name.split("/")[-2] for name in files.names] == [str(label) for label in files.labels]
    ranks = sorted(range(12), key=str)
    assert files.labels.tolist() == ranks != sorted(ranks)


@pytest.mark.parametrize("split", ["ood/r", "ood/a"])
def test_subset_is_read_out_by_identifier(split, minis):
    benchmark = minis.benchmark("imagenet")
    files, readout = benchmark.listing(split), benchmark.readout(split)
    logits = np.eye(12)[[WNIDS.index(name.split("/")[-2]) for name in files.names]]
    assert readout.apply(logits).argmax(axis=1).tolist() == files.labels.tolist()


def test_objectnet_is_read_out_by_the_publishers_mapping(minis):
    benchmark = minis.benchmark("imagenet")
    files, readout = benchmark.listing("ood/objectnet"), benchmark.readout("ood/objectnet")
    assert [name.split("/")[-2] for name in files.names] == ["alarm_clock"] * 2 + ["banana"] * 2
    assert readout.columns == ((NAMES.index("analog clock"), NAMES.index("digital clock")), (NAMES.index("banana"),))
    assert readout.apply(np.eye(12)[[3, 5, 6]]).argmax(axis=1).tolist() == [0, 0, 1]


def test_objectnets_border_is_cut_off(minis):
    images = minis.benchmark("imagenet").load("ood/objectnet").images
    with Image.open(images.folder / images.names[0]) as image:
        inner = image.convert("RGB").crop((2, 2, image.width - 2, image.height - 2))
    np.testing.assert_array_equal(images[:1][0], images.view.cut(inner))
    assert minis.benchmark("imagenet").load("ood/a").images.border == 0


def test_shifts_may_lie_beside_and_may_be_left_out(broken, opened):
    whole = opened().manifest
    (broken / "imagenet-r").rename(broken.parent / "imagenet-r")
    (broken / "sketch").rename(broken.parent / "ImageNet-Sketch")
    assert opened().manifest == whole
    few = opened(shifts=("v2", "a"))
    assert few.ood_splits == ("ood/v2", "ood/a")
    assert few.check() == []
    assert few.manifest != whole
    with pytest.raises(ValueError, match="unknown shift 'c'; choose from v2, r, a, sketch, objectnet"):
        opened(shifts=("c",))


def test_archive_of_the_competition_is_read_as_it_is(minis, broken, opened):
    before = {split: opened().load(split).labels.tolist() for split in ("train", "id_val", "id_test")}
    names = dict(zip(opened().listing("id_test").names, before["id_test"]))
    nested = broken / "ILSVRC" / "Data" / "CLS-LOC"
    (nested / "val").mkdir(parents=True)
    rows = ["ImageId,PredictionString"]
    for name, label in reversed(names.items()):
        file = name.rpartition("/")[2]
        (broken / name).rename(nested / "val" / file)
        rows.append(f"{file.removesuffix('.JPEG')},{WNIDS[label]} 85 1 499 272 {WNIDS[label]} 3 4 5 6")
    (broken / "train").rename(nested / "train")
    shutil.rmtree(broken / "val")
    with pytest.raises(DataError, match=r"not sorted into class folders: sort it, or put LOC_val_solution.csv"):
        opened().load("id_test")
    (broken / "LOC_val_solution.csv").write_text("\n".join(rows))
    for split, labels in before.items():
        assert opened().load(split).labels.tolist() == labels
    assert opened().check() == []
    long_tail = minis.benchmark("imagenet-lt", broken.parent)
    assert long_tail.check() == []
    assert long_tail.load("id_test").labels.tolist() == before["id_test"]


def test_names_of_ones_own_come_first(broken):
    (broken / "classnames.txt").write_text("\n".join(f"name {k}" for k in range(12)))
    assert read_classes(broken).names[11] == "name 11"
    (broken / "classnames.txt").write_text("\n".join(f"{wnid} the {k}" for k, wnid in enumerate(WNIDS)))
    assert read_classes(broken).names[11] == "the 11"
    (broken / "classnames.txt").write_text("one\ntwo")
    with pytest.raises(DataError, match="has 2 names, train/ has 12 class folders"):
        read_classes(broken)
    (broken / "classnames.txt").unlink()
    (broken / "LOC_synset_mapping.txt").write_text(f"{WNIDS[0]} tench\n{WNIDS[0]} tench")
    with pytest.raises(DataError, match="must name each class once"):
        read_classes(broken)
    (broken / "LOC_synset_mapping.txt").unlink()
    with pytest.raises(DataError, match=r"need names: put LOC_synset_mapping.txt .* or classnames.txt"):
        read_classes(broken)


@pytest.mark.parametrize(
    ("tree", "split", "message"),
    [
        (
            f"train/{WNIDS[3]}",
            "train",
            f"train has no folder for 1 of 12 classes, the first is {WNIDS[3]}; it looks half",
        ),
        (f"val/{WNIDS[3]}", "id_test", "val has no folder for 1 of 12 classes"),
        (f"sketch/{WNIDS[3]}", "ood/sketch", "sketch has no folder for 1 of 12 classes"),
        ("imagenetv2-matched-frequency-format-val/3", "ood/v2", "has 11 of 12 class folders; it looks half extracted"),
        ("imagenet-r", "ood/r", "the shift ood/r needs a folder imagenet-r/ in .* or leave the shift out"),
        ("objectnet-1.0/images/banana", "ood/objectnet", "has no folder for 1 of 2 classes, the first is banana"),
        ("objectnet-1.0/mappings", "ood/objectnet", r"there is no .*folder_to_objectnet_label.json"),
    ],
)
def test_missing_folders_are_told(tree, split, message, broken, opened):
    shutil.rmtree(broken / tree)
    with pytest.raises(DataError, match=message):
        opened().load(split)
    assert any(str(broken) in problem for problem in opened().check())


def test_half_extracted_class_is_named_with_its_numbers(broken, opened):
    for file in sorted((broken / "train" / WNIDS[0]).iterdir())[2:]:
        file.unlink()
    problems = opened().check()
    assert problems[0] == f"train has 56 of 60 files in {broken / 'train'}"
    assert problems[1] == f"train looks half extracted: train/{WNIDS[0]} has 1 of some 5 files"


def test_foreign_class_in_a_shift_is_refused(broken, opened):
    write_picture(broken / "imagenet-a" / "n99999999" / "1.jpg", 0)
    with pytest.raises(DataError, match="has a folder 'n99999999', which is no class of ImageNet"):
        opened().load("ood/a")


def test_subset_with_fewer_classes_is_told(broken, opened):
    shutil.rmtree(broken / "imagenet-r" / WNIDS[2])
    assert "ood/r has 2 of 3 classes" in opened().check()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("objectnet_to_imagenet_1k.json", json.dumps({"Banana": "plantain"}), "do not fit each other: 'Banana'"),
        ("pytorch_to_imagenet_2012_id.json", json.dumps({"0": 999}), "do not fit each other: class 0, line 999"),
        ("folder_to_objectnet_label.json", "{", "is no JSON"),
        ("folder_to_objectnet_label.json", "[]", "must be a table"),
    ],
)
def test_damaged_mapping_is_told(file, content, message, broken, opened):
    (broken / "objectnet-1.0" / "mappings" / file).write_text(content)
    with pytest.raises(DataError, match=message):
        opened().load("ood/objectnet")


def test_long_tail_is_the_publishers_lists(minis):
    benchmark = minis.benchmark("imagenet-lt")
    for split, part in (("train", "train"), ("id_val", "val"), ("id_test", "test")):
        lines = (minis.data / "imagenet-lt" / f"ImageNet_LT_{part}.txt").read_text().splitlines()
        files = benchmark.listing(split)
        assert [f"{name} {label}" for name, label in zip(files.names, files.labels)] == lines
    assert benchmark.train_counts.tolist() == [4, 4, 4, 3, 3, 3, 2, 2, 2, 1, 1, 1]


def test_long_tail_refuses_labels_in_another_order(broken, minis):
    table = broken.parent / "imagenet-lt" / "ImageNet_LT_train.txt"
    table.write_text(table.read_text().replace(" 11\n", " 10\n"))
    with pytest.raises(DataError, match=f"has the label 10, which is {WNIDS[10]}; labels must be positions"):
        minis.benchmark("imagenet-lt", broken.parent).load("train")


def test_long_tail_needs_imagenet(broken, minis):
    shutil.rmtree(broken)
    with pytest.raises(DataError, match=r"takes its images from .*imagenet, which is not there"):
        minis.benchmark("imagenet-lt", broken.parent).load("train")
