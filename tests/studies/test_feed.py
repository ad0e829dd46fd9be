"""Batches from memory and from files, by however many readers: always those that seed and step name."""

import copy
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from studies.ahead import ahead
from studies.benchmarks.boxes import crop_boxes
from studies.benchmarks.draws import Draws
from studies.benchmarks.images import FileImages, View
from studies.engine import Engine
from studies.evaluate import logits
from studies.feed import Feed, augmented
from studies.methods import attach
from studies.order import batch_indices
from studies.reading import Reading
from studies.recipe import Additions
from studies.recipe.crop import random_crop
from studies.settings import CellSettings
from studies.settings.recipe import Recipe
from studies.settings.training import Schedule
from studies.train import train
from studies.viewed import ResizedImages

CROP = Recipe(augmentation="crop", crop_scale=0.3)
SIDES = [(48, 40), (33, 70), (90, 36)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(13):
        width, height = SIDES[number % 3]
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return FileImages(folder, [f"{number}.png" for number in range(13)], View(32, 32))


def same(batches, others):
    pairs = list(zip(batches, others, strict=True))
    assert pairs
    return all(torch.equal(one, other) for found, expected in pairs for one, other in zip(found, expected))


def test_files_and_memory_give_the_same_batches(files):
    labels = np.arange(13) % 10
    feeds = [Feed(images, labels, 5, 4) for images in (files, files[:])]
    whole = [list(feed.batches(0, 9)) for feed in feeds]
    assert same(*whole)
    assert whole[0][2][1].tolist() == labels[batch_indices(5, 2, 13, 4)].tolist()


@pytest.mark.parametrize("recipe", [Recipe(), CROP], ids=["view", "crop"])
@pytest.mark.parametrize("reading", [Reading(1, 1), Reading(2, 2), Reading(4, 5)], ids=str)
def test_readers_and_resuming_change_nothing(recipe, reading, files):
    labels = np.arange(13)
    held = np.random.default_rng(0).integers(0, 256, (13, 20, 20, 3), dtype=np.uint8)
    for images in (files, ResizedImages(held, View(32, 32))):
        images.reading = Reading(1, 1)
        whole = list(Feed(images, labels, 5, 4, recipe=recipe).batches(0, 9))
        images.reading = reading
        feed = Feed(images, labels, 5, 4, recipe=recipe)
        assert same(feed.batches(0, 9), whole)
        # A run that goes on at any step, also within an epoch, sees what it would have seen.
        for start in (1, 4, 8):
            assert same(feed.batches(start, 9), whole[start:])
        assert not same(Feed(images, labels, 6, 4, recipe=recipe).batches(0, 9), whole)


def test_crops_are_cut_out_of_the_original_pictures(files):
    feed = Feed(files, np.arange(13), 5, 4, recipe=CROP)
    for step, (images, labels) in enumerate(feed.batches(0, 4)):
        for image, position in zip(images, labels.tolist()):
            with Image.open(files.folder / files.names[position]) as original:
                draws = Draws("recipe", "crop", 5, step, position)
                top, left, high, wide = (int(p[0]) for p in crop_boxes(1, original.height, original.width, 0.3, draws))
                # An independent spelling of the same crop: the filter is told the box, and keeps within it.
                part = original.crop((left, top, left + wide, top + high)).resize((32, 32), Image.Resampling.BICUBIC)
            assert torch.equal(image, torch.from_numpy(np.array(part)).permute(2, 0, 1).float() / 255)


def test_every_epoch_has_crops_of_its_own(files):
    seen = list(Feed(files, np.arange(13), 5, 13, recipe=CROP).batches(0, 2))
    first, second = (images[labels.argsort()] for images, labels in seen)
    assert not any(torch.equal(one, other) for one, other in zip(first, second))


def test_images_in_memory_are_cropped_in_the_view_as_ever(files):
    held = files[:]
    plain = Feed(held, np.arange(13), 5, 4).batches(0, 4)
    cropped = Feed(held, np.arange(13), 5, 4, recipe=CROP).batches(0, 4)
    for step, ((images, _), (found, _)) in enumerate(zip(plain, cropped, strict=True)):
        assert torch.equal(found, random_crop(images, 0.3, Draws("recipe", "crop", 5, step)))


@pytest.mark.parametrize("readers", [1, 2, 4])
def test_evaluation_reads_files_like_memory(readers, files, fresh):
    files.reading = Reading(readers)
    assert (logits(fresh, files) == logits(fresh, files[:])).all()


@pytest.mark.parametrize("readers", [1, 3])
def test_unreadable_file_ends_the_step_that_needs_it(readers, files, tmp_path):
    for name in files.names:
        (tmp_path / name).write_bytes((files.folder / name).read_bytes())
    last = batch_indices(5, 2, 13, 4)[-1]
    (tmp_path / files.names[last]).write_bytes(b"no picture")
    before = threading.active_count()
    batches = Feed(FileImages(tmp_path, files.names, View(32, 32), reading=Reading(readers)), np.arange(13), 5, 4)
    found = batches.batches(0, 9)
    assert len([next(found), next(found)]) == 2
    with pytest.raises(ValueError, match=rf"cannot read the image .*{last}\.png: it is none of"):
        next(found)
    assert threading.active_count() == before


def begin(make):
    """One job a key, that puts what it makes into a list."""

    def of(key):
        result = []
        return result, [lambda: result.append(make(key))]

    return of


def test_next_is_made_while_the_last_is_used():
    made: list[int] = []
    results = ahead(begin(made.append), range(100), depth=2)
    next(results)
    for _ in range(200):
        if len(made) >= 3:
            break
        time.sleep(0.01)
    assert made == [0, 1, 2]
    results.close()
    assert len(made) <= 4


def test_threads_go_on_with_the_next_result_and_order_stays():
    release = threading.Event()
    made = []

    def make(key):
        if key == 0:
            assert release.wait(30)
        made.append(key)
        if len(made) == 2:
            release.set()
        return key

    # The first is finished after the two behind it: other threads need not wait for it.
    assert list(ahead(begin(make), range(4), threads=2, depth=3)) == [[0], [1], [2], [3]]
    assert made[:2] == [1, 2]


def test_error_comes_where_its_result_is_due_and_leaves_no_thread():
    before = threading.active_count()

    def make(key):
        if key == 2:
            raise OSError("no such image")
        return key

    results = ahead(begin(make), range(9))
    assert [next(results), next(results)] == [[0], [1]]
    with pytest.raises(OSError, match="no such image"):
        next(results)
    assert threading.active_count() == before
    for wrong in ({"depth": 0}, {"threads": 0}):
        with pytest.raises(ValueError, match="depth and threads must be at least 1"):
            next(ahead(begin(make), [0], **wrong))


def test_augmenting_on_the_host_gives_the_same_run(fresh, examples):
    """Bit for bit on a CPU, also from the middle on; the reader of batches is closed with the run."""
    recipe = Recipe(augmentation="randaugment", flip=0.5, mixup_alpha=0.4, cutmix_alpha=1.0)
    schedule = Schedule(steps=4, batch_size=8, recipe=recipe)
    weights = []
    for place in ("device", "host"):
        model = copy.deepcopy(fresh)
        cell = CellSettings(
            benchmark="digits", manifest="00", backbone="digits-vit-tiny", pretrain_seed=0, method="full", seed=3,
            learning_rate=1e-2, training=schedule,
        )  # fmt: skip
        engine = Engine(augments_on=place, micro_batch=3)
        train(model, attach(model, cell), examples, examples, schedule, 1e-2, 3, classes=10, engine=engine)
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    feed = Feed(examples.images, examples.labels, 3, 8, recipe=recipe)
    additions = Additions(recipe, np.bincount(examples.labels, minlength=10), 3)
    whole = [additions.batch(*batch, step) for step, batch in enumerate(feed.batches(0, 4))]
    assert same(augmented(feed.batches(2, 4), additions, 2), whole[2:])
    threads = threading.active_count()
    early = augmented(feed.batches(0, 4), additions, 0)
    next(early)
    early.close()
    assert threading.active_count() == threads
