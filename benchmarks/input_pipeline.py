"""What does reading images cost: the feed alone by readers, every method's bare step, and its step that is fed?

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
SECONDS = {"cpu": 100, "cuda": 40, "quick": 20}
# Network, batch size and pictures on disk.
PLANS: dict[str, tuple[tuple[str, int, int], ...]] = {
    "cpu": (("vit-small-32px", 64, 256),),
    "cuda": (("vit-b16", 64, 512), ("vit-l14", 64, 512)),
    "quick": (("vit-tiny-16px", 4, 8),),
}
READERS = (1, 2, 4, 8, 16)
METHODS = (REFERENCE, "mixout", "element_10", "column_10")
ROUNDS = {"cpu": 4, "cuda": 12, "quick": 2}
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
            rounds = options.rounds or ROUNDS[options.plan]
            rows += measure(backbone, batch, images, rounds, options.device, budget, options.rivals or METHODS)
            models.release(options.device)
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    return record.write(QUESTION, rows, options.device, options.out)


def measure(
    backbone: str,
    batch: int,
    images: FileImages,
    rounds: int,
    device: torch.device,
    budget: Budget,
    rivals: Sequence[str] = METHODS,
) -> list[dict[str, object]]:
    """A row for every method and number of readers: first all methods with the readers that studies take by default.

    Where time runs out, other numbers of readers are left out.
    """
    counts = [readers for readers in READERS if readers <= max(2 * cores(), 4)]
    counts.sort(key=lambda readers: readers != readers_for(1))
    cases = [(readers, rival) for readers in counts for rival in rivals]
    alone: dict[int, float] = {}
    rows: list[dict[str, object]] = []
    for readers, rival in cases:
        if readers != counts[0] and budget.is_spent:
            record.say(QUESTION, f"{backbone} WITHOUT {rival} at {readers} readers: the time is spent")
            continue
        if readers not in alone:
            alone[readers] = seconds_a_step(_feed(backbone, batch, images, readers, device), rounds, _drop, device)
        bare_s, fed_s = step_seconds(backbone, batch, images, readers, rival, rounds, device)
        models.release(device)
        rows.append({
            "backbone": backbone, "batch": batch, "rival": rival, "readers": readers, "cores": cores(),
            "feed_images_per_s": batch / alone[readers], "step_images_per_s": batch / bare_s,
            "fed_images_per_s": batch / fed_s, "cost": fed_s / bare_s - 1.0, "rounds": rounds,
            "is_default": readers == readers_for(1),
        })  # fmt: skip
    return rows


def step_seconds(
    backbone: str, batch: int, images: FileImages, readers: int, rival: str, rounds: int, device: torch.device
) -> tuple[float, float]:
    """Seconds of a method's step: on a batch that is in memory already, and on batches that are read meanwhile."""
    network = models.BACKBONES[backbone]
    run = RIVALS[rival].build(models.create(network, device))
    held = models.batch(network, batch, device)
    bare_s = seconds_a_step(itertools.repeat(held), rounds, run.step, device)
    fed_s = seconds_a_step(_feed(backbone, batch, images, readers, device), rounds, run.step, device)
    return bare_s, fed_s


def _feed(
    backbone: str, batch: int, images: FileImages, readers: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    network = models.BACKBONES[backbone]
    read = images.with_view(View(network.image_size, network.image_size), Reading(readers))
    classes = np.arange(len(read)) % network.classes
    recipe = Recipe(augmentation="crop")
    return Feed(read, classes, 0, batch, device.type, recipe).batches(0, 10**6)


def _drop(images: Tensor, labels: Tensor) -> None:
    """Takes a batch and does nothing with it."""


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
