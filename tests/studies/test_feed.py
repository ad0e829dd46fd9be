"""Batches from memory and from files, in advance or not: always those that seed and step name."""

import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from studies.ahead import ahead
from studies.benchmarks.images import FileImages, View
from studies.evaluate import logits
from studies.feed import Feed
from studies.order import batch_indices


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(13):
        pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return FileImages(folder, [f"{number}.png" for number in range(13)], View(32, 32))


def test_files_and_memory_give_the_same_batches(files):
    labels = np.arange(13) % 10
    feeds = [Feed(images, labels, 5, 4) for images in (files, files[:])]
    whole = [list(feed.batches(0, 9)) for feed in feeds]
    for (images, found), (held, expected) in zip(*whole, strict=True):
        assert torch.equal(images, held)
        assert torch.equal(found, expected)
    # A run that goes on at any step sees what it would have seen.
    for start in (1, 4, 8):
        rest = list(feeds[0].batches(start, 9))
        assert all(torch.equal(one[0], other[0]) for one, other in zip(rest, whole[0][start:], strict=True))
    assert whole[0][2][1].tolist() == labels[batch_indices(5, 2, 13, 4)].tolist()


def test_evaluation_reads_files_like_memory(files, fresh):
    assert (logits(fresh, files) == logits(fresh, files[:])).all()


def test_next_is_made_while_the_last_is_used():
    made: list[int] = []
    results = ahead(lambda key: made.append(key) or key, range(100), depth=2)
    assert next(results) == 0
    for _ in range(200):
        if len(made) >= 3:
            break
        time.sleep(0.01)
    assert made == [0, 1, 2]
    results.close()
    assert len(made) <= 4


def test_error_comes_where_its_result_is_due_and_leaves_no_thread():
    before = threading.active_count()

    def make(key):
        if key == 2:
            raise OSError("no such image")
        return key

    results = ahead(make, range(9))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="no such image"):
        next(results)
    assert threading.active_count() == before
    with pytest.raises(ValueError, match="depth must be at least 1"):
        next(ahead(make, [0], depth=0))
