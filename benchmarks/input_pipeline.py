"""What does reading images cost: the feed alone by the number of readers, the bare step, and a step that is fed?

JPEGs of 500 x 375 pixels are written first, then cropped at random by the feed of the studies. Wall-clock time, since
readers are threads beside the step; files lie in the page cache, so no disk is measured. On a CPU readers and step
share cores, and only the feed's own numbers say something of another machine.

    python benchmarks/input_pipeline.py [--device cpu|cuda] [--quick] [--rounds N] [--seconds N] [--out DIR]
"""

import itertools
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from benchmarks import models, record
from benchmarks.budget import Budget
from benchmarks.rivals import REFERENCE, RIVALS
from studies.benchmarks.images import FileImages, View
from studies.feed import Feed
from studies.reading import Reading, cores, readers_for
from studies.settings.recipe import Recipe

QUESTION = "input_pipeline"
SECONDS = {"cpu": 36, "cuda": 14, "quick": 20}
# Network, batch size and pictures on disk.
PLANS: dict[str, tuple[tuple[str, int, int], ...]] = {
    "cpu": (("vit-small-32px", 64, 256),),
    "cuda": (("vit-b16", 64, 512), ("vit-l14", 64, 512)),
    "quick": (("vit-tiny-16px", 4, 8),),
}
READERS = (1, 2, 4, 8, 16)
ROUNDS = 8
WIDTH, HEIGHT = 500, 375


def main(arguments: Sequence[str] | None = None) -> pathlib.Path:
    """Measures every plan and writes the table."""
    options = record.options(__doc__ or "", arguments, SECONDS)
    record.announce(QUESTION, options)
    plans = PLANS[options.plan]
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        names = write_pictures(pathlib.Path(folder), max(count for _, _, count in plans))
        for number, (backbone, batch, count) in enumerate(plans):
            budget = Budget(options.budget.share(len(plans) - number))
            images = FileImages(pathlib.Path(folder), names[:count])
            rounds = options.rounds or (2 if options.quick else ROUNDS)
            rows += measure(backbone, batch, images, rounds, options.device, budget)
            models.release(options.device)
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    return record.write(QUESTION, rows, options.device, options.out)


def measure(
    backbone: str, batch: int, images: FileImages, rounds: int, device: torch.device, budget: Budget
) -> list[dict[str, object]]:
    """A row for every number of readers; fewer rounds, and in the end fewer numbers, where time runs out."""
    network = models.BACKBONES[backbone]
    run = RIVALS[REFERENCE].build(models.create(network, device))
    pixels, labels = models.batch(network, batch, device)
    bare_s = seconds_a_step(((pixels, labels) for _ in itertools.count()), rounds, run.step, device)
    rows: list[dict[str, object]] = []
    counts = [readers for readers in READERS if readers <= max(2 * cores(), 4)]
    for readers in sorted(counts, key=lambda readers: readers != readers_for(1)):
        if rows and budget.is_spent:
            record.say(QUESTION, f"{backbone} WITHOUT {readers} readers: the time is spent")
            continue
        view = View(network.image_size, network.image_size)
        read = images.with_view(view, Reading(readers))
        classes = np.arange(len(read)) % network.classes
        feed = Feed(read, classes, 0, batch, device.type, Recipe(augmentation="crop"))
        feed_s = seconds_a_step(feed.batches(0, 10**6), rounds, lambda *_: None, device)
        fed_s = seconds_a_step(feed.batches(0, 10**6), rounds, run.step, device)
        rows.append({
            "backbone": backbone, "batch": batch, "readers": readers, "cores": cores(),
            "feed_images_per_s": batch / feed_s, "step_images_per_s": batch / bare_s,
            "fed_images_per_s": batch / fed_s, "cost": fed_s / bare_s - 1.0, "rounds": rounds,
            "is_default": readers == readers_for(1),
        })  # fmt: skip
    return rows


def seconds_a_step(batches: Iterator[tuple[Tensor, Tensor]], rounds: int, use, device: torch.device) -> float:
    """Seconds of wall-clock time a batch takes, the mean of some in a row, after two that are not timed."""
    for number in range(rounds + 2):
        if number == 2:
            _wait(device)
            began = time.perf_counter()
        use(*next(batches))
    _wait(device)
    taken = time.perf_counter() - began
    if hasattr(batches, "close"):
        batches.close()
    return taken / rounds


def write_pictures(folder: pathlib.Path, count: int) -> list[str]:
    """Photographs' stand-ins: smooth colours with some grain, JPEG quality 90."""
    random = np.random.default_rng(0)
    names = [f"{number}.jpg" for number in range(count)]
    for name in names:
        coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(folder / name, quality=90)
    return names


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
