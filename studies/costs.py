"""How long a cell takes: its steps, episodes and images, and the rates that turn them into seconds."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from studies.benchmarks.benchmark import Benchmark
from studies.settings import CellSettings


@dataclass(frozen=True)
class Work:
    """What a cell has to do.

    Attributes:
        steps: Optimiser steps.
        episodes: Masks drawn after the first.
        images: Images evaluated after training.
        validations: Images evaluated while training.
    """

    steps: int
    episodes: int
    images: int
    validations: int


@dataclass(frozen=True)
class Rates:
    """Seconds a unit of work takes; the defaults are one core of a small machine, until something was measured.

    Attributes:
        step_s: Seconds an optimiser step, by method.
        episode_s: Seconds a new mask takes, by method.
        image_s: Seconds to evaluate an image.
        cell_s: Seconds a cell takes besides: files and metrics.
    """

    step_s: Mapping[str, float] = field(default_factory=dict)
    episode_s: Mapping[str, float] = field(default_factory=dict)
    image_s: float = 1 / 5750
    cell_s: float = 0.5


def split_names(benchmark: Benchmark) -> list[str]:
    """Every split of a benchmark."""
    return ["train", "id_val", "id_test", *benchmark.ood_splits, *benchmark.corruption_splits]


def plain_splits(names: Iterable[str]) -> list[str]:
    """The splits on which every model of a cell is evaluated; corruptions are for the reported model alone."""
    return [name for name in names if name != "train" and not name.startswith("corruption/")]


def split_sizes(benchmark: Benchmark) -> dict[str, int]:
    """Number of images of every split."""
    return {name: len(benchmark.load(name).labels) for name in split_names(benchmark)}


def work_of(cell: CellSettings, sizes: Mapping[str, int]) -> Work:
    """What a cell has to do on a benchmark with these sizes.

    Args:
        cell: The settings.
        sizes: Number of images by split, from :func:`split_sizes`.
    """
    plain = sum(sizes[name] for name in plain_splits(sizes))
    corrupted = sum(size for name, size in sizes.items() if name.startswith("corruption/"))
    models = 1 + cell.evaluation.members + len(cell.evaluation.wise_alphas)
    images = plain * models + (corrupted if cell.evaluation.corruptions else 0)
    every = cell.training.validate_every if cell.training is not None else None
    validations = sizes["id_val"] * math.ceil(cell.steps / every) if every else 0
    period = cell.levers.get("resample_every") or math.inf
    return Work(cell.steps, 0 if math.isinf(period) else int(cell.steps / period), images, validations)


def seconds(work: Work, method: str, rates: Rates = Rates()) -> float:
    """Seconds that a cell's work takes on one core."""
    training = work.steps * rates.step_s.get(method, 0.012) + work.episodes * rates.episode_s.get(method, 0.005)
    return training + (work.images + work.validations) * rates.image_s + rates.cell_s
