"""The digits benchmark: who is where, equal bytes everywhere, the long tail, and what a check would find."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from studies.benchmarks import Split, load
from studies.benchmarks.digits import checks, corpus, gallery, kept, longtail
from studies.benchmarks.digits.hashes import HASHES
from studies.benchmarks.digits.photographs import halves
from studies.benchmarks.digits.splits import OOD_DOMAINS, POOL_SCANS, PRETRAINING_SCANS, TEST_SCANS, sources
from studies.benchmarks.filters import to_uint8

CORPUS_HASH = "9e83ffe474167807102de2aa0b09d40a4e9c23b34ad6aad7e1cb65b6408fe61e"
DRAWN = ("train", "id_val", "id_test", *(f"ood/{domain}" for domain in OOD_DOMAINS))


@pytest.mark.parametrize("name", HASHES["digits"])
def test_bytes_are_the_stored_ones(name):
    assert load("digits").fingerprints()[name] == HASHES["digits"][name]


def test_longtail_bytes_are_the_stored_ones():
    assert load("digits-longtail").fingerprints() == {**HASHES["digits"], **HASHES["digits-longtail"]}


@pytest.mark.parametrize(
    "environment",
    [
        {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        # An old processor: other code paths in NumPy and OpenBLAS, whose results differ in the last bits.
        {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX2 FMA3 AVX512F", "OPENBLAS_CORETYPE": "Nehalem"},
    ],
    ids=["threads", "processor"],
)
def test_bytes_are_the_same_in_another_process(environment, tmp_path):
    script = "from studies.benchmarks import load; print(load('digits').manifest)"
    # Drawn there, not read: what is kept belongs to this test alone.
    environment = os.environ | environment | {"GMIXOUT_CACHE": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert result.stdout.strip() == load("digits").manifest
    assert len(list((tmp_path / "digits").iterdir())) == 1


def test_kept_pictures_are_those_that_were_drawn(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("GMIXOUT_CACHE", str(tmp_path))
    assert kept.kept() == {}
    drawn = load("digits").load("id_val")
    # As corruptions leave them: other strides, the same numbers.
    turned = Split("corruption/turned/1", np.asfortranarray(drawn.images), drawn.labels, drawn.sources)
    kept.keep([drawn, turned])
    found = kept.kept()
    assert {name: checks.fingerprint(split) for name, split in found.items()} == {
        split.name: checks.fingerprint(split) for split in (drawn, turned)
    }
    (path,) = (tmp_path / "digits").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert kept.kept() == {}
    assert "damaged" in caplog.text


def test_cache_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GMIXOUT_CACHE", str(tmp_path / "file"))
    kept.keep([load("digits").load("id_val")])
    assert kept.kept() == {}


def test_sources_lie_in_their_blocks():
    for name in DRAWN:
        block = POOL_SCANS if name in ("train", "id_val") else TEST_SCANS
        assert set(sources(name).tolist()) <= set(block)
        assert not set(sources(name).tolist()) & set(PRETRAINING_SCANS)


@pytest.mark.parametrize(
    ("name", "images"), [("train", 840), ("id_val", 240), ("id_test", 480), *((f"ood/{d}", 300) for d in OOD_DOMAINS)]
)
def test_splits_are_balanced(name, images):
    assert (np.bincount(load("digits").load(name).labels) == images // 10).all()


def test_test_photographs_are_not_those_of_pretraining():
    training, test = halves()
    assert training.shape == test.shape
    assert np.abs(training - test).mean() > 0.1


def test_corpus_never_holds_a_sketch(monkeypatch):
    def forbidden(*_):
        raise AssertionError("a sketch was drawn")

    monkeypatch.setitem(corpus.DOMAINS, "sketch", forbidden)
    assert "sketch" not in corpus.CORPUS_DOMAINS
    images, labels = corpus.chunk(seed=0, index=0)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert set(np.unique(labels)) == set(range(10))


def test_corpus_draws_only_the_pretraining_scans(monkeypatch):
    ink, labels = corpus.scans()
    allowed = np.zeros((len(labels), 1, 1), bool)
    allowed[list(PRETRAINING_SCANS)] = True
    expected = corpus.chunk(0, 0)[0]
    monkeypatch.setattr(corpus, "scans", lambda: (np.where(allowed, ink, np.nan), labels))
    np.testing.assert_array_equal(corpus.chunk(0, 0)[0], expected)


def test_corpus_is_a_function_of_seed_and_position():
    first = corpus.chunk(0, 1)[0]
    np.testing.assert_array_equal(first, corpus.chunk(0, 1)[0])
    assert (first != corpus.chunk(0, 0)[0]).any()
    assert (first != corpus.chunk(1, 1)[0]).any()


def test_corpus_bytes_are_the_stored_ones():
    # Rests on the faces of matplotlib and the FreeType of Pillow in constraints.txt. If it moves for another reason,
    # raise RECIPE_VERSION: cached weights were made from the old corpus.
    images, labels = corpus.chunk(0, 0, np.float64)
    split = Split("corpus", to_uint8(images), labels, labels.copy())
    assert checks.fingerprint(split) == CORPUS_HASH


def test_longtail_counts():
    benchmark = load("digits-longtail")
    assert sorted(benchmark.train_counts.tolist(), reverse=True) == [84, 63, 48, 36, 27, 18, 15, 12, 9, 6]
    assert {name: len(ids) for name, ids in benchmark.groups.items()} == {"many": 3, "medium": 4, "few": 3}
    assert load("digits").groups == {}


def test_longtail_keeps_images_as_they_are_and_tests_equal():
    whole, tail = load("digits").load("train"), load("digits-longtail").load("train")
    kept = np.isin(whole.sources, tail.sources)
    np.testing.assert_array_equal(whole.images[kept], tail.images)
    assert load("digits").load("id_test") is load("digits-longtail").load("id_test")


def test_groups_at_their_borders():
    assert longtail.groups(np.array([41, 40, 15, 14])) == {"many": (0,), "medium": (1, 2), "few": (3,)}


def test_check_names_every_problem():
    train = load("digits").load("train")
    shared = Split("id_val", train.images[:1], train.labels[:1], train.sources[:1])
    pretraining = Split("id_test", train.images[:1], train.labels[:1], np.array([5]))
    problems = checks.overlaps({"train": train, "id_val": shared, "id_test": pretraining})
    assert [problem.split(";")[0] for problem in problems] == [
        f"scan {train.sources[0]} lies in train and in id_val",
        "scan 5 lies in pretraining and in id_test",
    ]
    wrong = Split("train", train.images, (train.labels + 1) % 10, train.sources)
    assert checks.mislabelled({"train": wrong}) == ["train has 840 labels that differ from those of their scans"]
    no_nine = train.labels != 9
    missing = Split("train", train.images[no_nine], train.labels[no_nine], train.sources[no_nine])
    assert checks.unbalanced(missing, np.full(10, 84))[0] == "train has no image of class 9"
    flipped = {**HASHES["digits"], "train": "0" * 64}
    assert "train renders to" in checks.changed(HASHES["digits"], flipped)[0]


def test_gallery_draws_a_picture(tmp_path):
    gallery.draw(load("digits"), tmp_path / "folder" / "gallery.png")
    with Image.open(tmp_path / "folder" / "gallery.png") as picture:
        assert min(picture.size) > 500
