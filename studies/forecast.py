"""A short calibration: a few real steps of each method on this machine, and from them a study's duration."""

import copy
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from studies import benchmarks
from studies.backbones import BACKBONES
from studies.costs import Rates, seconds, split_sizes, work_of
from studies.evaluate import logits, to_input
from studies.methods import METHODS
from studies.settings import CellSettings
from studies.train import deterministic

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
        found[cell.identity] = seconds(work_of(cell, sizes), cell.method, rates[cell.backbone])
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
        fresh = BACKBONES[cells[0].backbone].build().eval()
        images = benchmarks.load(cells[0].benchmark).load("train").images
        for method in {cell.method for cell in cells if cell.training is not None}:
            own = [cell for cell in cells if cell.method == method]
            rare = max(own, key=_period)
            often = min(own, key=_period)
            step_s[method] = _step_s(fresh, rare, images)
            each_s = 0.0
            if math.isfinite(_period(often)):
                each_s = (_step_s(fresh, often, images) - step_s[method]) * _period(often)
            # Of two noisy numbers the difference may come out negative.
            episode_s[method] = max(0.0, each_s)
        some = benchmarks.load(cells[0].benchmark).load("id_test").images[:IMAGES]
        logits(fresh, some[:50])
        started_at = time.process_time()
        logits(fresh, some)
        image_s = (time.process_time() - started_at) / len(some)
    return Rates(step_s, episode_s, image_s)


def _period(cell: CellSettings) -> float:
    return float(cell.levers.get("resample_every") or math.inf)


def _step_s(fresh: nn.Module, cell: CellSettings, images: object) -> float:
    model = copy.deepcopy(fresh)
    method = METHODS[cell.method](model, cell)
    assert cell.training is not None
    optimizer = torch.optim.AdamW(method.parameter_groups(cell.training.weight_decay), lr=1e-6, fused=True)
    batch = to_input(images[: cell.training.batch_size])  # type: ignore[index]
    labels = torch.zeros(len(batch), dtype=torch.int64)
    # Whole episodes, if short, so that each timed step carries its share of the resampling.
    steps = max(STEPS, int(_period(cell))) if _period(cell) <= 4 * STEPS else STEPS
    model.train()
    for step in range(2 + steps):
        if step == 2:
            started_at = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(model(batch), labels).backward()
        optimizer.step()
        method.after_step(optimizer)
    return (time.process_time() - started_at) / steps
