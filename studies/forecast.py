"""A short calibration: a few real steps of each method on this machine, and from them a study's duration."""

import copy
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from studies import backbones, benchmarks
from studies.costs import Rates, seconds, split_sizes, work_of
from studies.evaluate import logits
from studies.methods import attach
from studies.settings import CellSettings, traits_of
from studies.train import Examples, deterministic, train
from studies.viewed import Viewed, class_words

STEPS = 8
IMAGES = 500


@dataclass(frozen=True)
class Forecast:
    """How long cells take.

    Attributes:
        seconds: Seconds on one core, by identity.
        wall_s: Seconds of all of them on so many workers.
        workers: Number of workers.
    """

    seconds: Mapping[str, float]
    wall_s: float
    workers: int


def forecast(cells: Sequence[CellSettings], workers: int) -> Forecast:
    """Times a few steps of each method that the cells use, and adds up.

    The pretrained weights do not matter for time, so none are needed; the pretraining's own time is not counted.

    Args:
        cells: Cells that are yet to run.
        workers: Processes that share them, one thread each.
    """
    rates: dict[str, Rates] = {}
    found: dict[str, float] = {}
    for cell in cells:
        if cell.backbone not in rates:
            rates[cell.backbone] = calibrate([other for other in cells if other.backbone == cell.backbone])
        sizes = split_sizes(benchmarks.load(cell.benchmark))
        found[cell.identity] = seconds(work_of(cell, sizes), cell.listed_as, rates[cell.backbone])
    return Forecast(found, sum(found.values()) / workers, workers)


def calibrate(cells: Iterable[CellSettings]) -> Rates:
    """Measures the rates of one backbone's cells; takes a few seconds.

    Args:
        cells: Cells of one backbone and benchmark.
    """
    cells = list(cells)
    step_s: dict[str, float] = {}
    episode_s: dict[str, float] = {}
    with deterministic(0), torch.random.fork_rng(devices=[]):
        benchmark = Viewed(benchmarks.load(cells[0].benchmark), backbones.view_of(cells[0].backbone))
        needs_text = any(traits_of(cell.method).needs_text for cell in cells)
        fresh = backbones.blank(cells[0].backbone, class_words(benchmark.classes), keep_text=needs_text)
        split = benchmark.load("train")
        training = Examples(split.images, split.labels)
        for name in sorted({cell.listed_as for cell in cells if cell.training is not None}):
            own = [cell for cell in cells if cell.listed_as == name and cell.training is not None]
            rare = max(own, key=_period)
            often = min(own, key=_period)
            step_s[name] = _step_s(fresh, rare, training)
            each_s = 0.0
            if math.isfinite(_period(often)):
                each_s = (_step_s(fresh, often, training) - step_s[name]) * _period(often)
            # Of two noisy numbers the difference may come out negative.
            episode_s[name] = max(0.0, each_s)
        some = benchmark.load("id_test").images[:IMAGES]
        logits(fresh, some[:50])
        started_at = time.process_time()
        logits(fresh, some)
        image_s = (time.process_time() - started_at) / len(some)
    return Rates(step_s, episode_s, image_s)


def _period(cell: CellSettings) -> float:
    return float(cell.levers.get("resample_every") or math.inf)


def _step_s(fresh: nn.Module, cell: CellSettings, training: Examples) -> float:
    assert cell.training is not None
    # Whole episodes, if short, so that each timed step carries its share of the resampling.
    steps = max(STEPS, int(_period(cell))) if _period(cell) <= 4 * STEPS else STEPS
    schedule = cell.training.model_copy(update={"steps": 2 + steps, "validate_every": None, "warmup_steps": 0})
    model = copy.deepcopy(fresh)
    times: list[float] = []
    method = attach(model, cell.model_copy(update={"training": schedule}))
    train(
        model,
        method,
        training,
        training,
        schedule.model_copy(update={"checkpoint_selection": "last"}),
        1e-6,
        cell.seed,
        after_step=lambda step: times.append(time.process_time()),
    )
    return (times[-1] - times[1]) / steps
