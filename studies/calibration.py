"""A few steps of each kind of method on this machine: what a step takes of time and of memory, at its batch size."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from studies.costs import Rates
from studies.engine import PLAIN, Engine
from studies.measuring import Bench
from studies.needs import Measured, Need, period_of
from studies.settings import CellSettings
from studies.train import deterministic
from studies.viewed import class_words


@dataclass(frozen=True)
class Calibration:
    """What was measured of one backbone.

    Attributes:
        rates: Seconds of steps, masks and images.
        needs: Bytes, by method as tables name it.
        weights: Bytes of the network's weights.
        too_large: Methods of which a step at its batch size ran out of memory: what torch said.
    """

    rates: Rates
    needs: Mapping[str, Need] = field(default_factory=dict)
    weights: int = 0
    too_large: Mapping[str, str] = field(default_factory=dict)


def calibrate(
    cells: Sequence[CellSettings],
    classes: Sequence[str],
    device: str = "cpu",
    engine: Engine = PLAIN,
    runs_on: str | None = None,
) -> Calibration:
    """Measures one backbone's cells; fresh weights and random images serve as well as real ones.

    Where ten steps of a whole batch are quick they are timed. Else every kind of method takes a step on one image,
    which shows what it does for weights, and the bare network's cost of an image is added for each of the batch. Where
    images of a batch depend on each other, steps of two small batches are extended along a straight line.

    A CPU may take a hundred times as long for products in half precision as for others. So there all methods are
    measured in single precision; if cells will run there, too, the time of one product in each gives the ratio. What
    half precision takes of memory is read from shapes.

    Args:
        cells: Cells of one backbone.
        classes: Names of the benchmark's classes.
        device: Where to measure.
        engine: How a training step is carried out.
        runs_on: Where cells will run; by default where they are measured.
    """
    trained = [cell for cell in cells if cell.training is not None]
    with deterministic(0, device), torch.random.fork_rng(devices=[]):
        # Methods of one study share their precision as a rule: the bare network's is that of the first.
        precision = next((cell.training.precision for cell in trained if cell.training is not None), "float32")
        words = class_words(tuple(classes))
        bench = Bench(cells[0].backbone, words, device, engine, precision, runs_on or device)
        step_s: dict[str, float] = {}
        episode_s: dict[str, float] = {}
        needs: dict[str, Need] = {}
        too_large: dict[str, str] = {}
        known: dict[Hashable, Measured] = {}
        for name in sorted({cell.listed_as for cell in trained}):
            own = [cell for cell in trained if cell.listed_as == name]
            rare, often = max(own, key=period_of), min(own, key=period_of)
            kind = _kind(rare, is_whole=bench.is_quick(rare))
            try:
                if kind not in known:
                    known[kind] = bench.measure(rare, often)
            except (torch.cuda.OutOfMemoryError, MemoryError) as error:
                too_large[name] = str(error).splitlines()[0]
                continue
            found = known[kind]
            step_s[name], episode_s[name] = found.step_s, found.episode_s
            needs[name] = max((found.need(cell) for cell in own), key=lambda need: need.most)
    return Calibration(Rates(step_s, episode_s, bench.image_s), needs, bench.weights, too_large)


def _kind(cell: CellSettings, is_whole: bool) -> Hashable:
    """Cells of one kind are measured once. What changes a batch a little only is told apart where batches are quick."""
    if is_whole:
        return cell.listed_as
    assert cell.training is not None
    adversarial = cell.training.recipe.adversarial_steps if cell.training.recipe.adversarial_epsilon > 0 else 0
    minor = ("sparsity", "ema_decay", "resample_every")
    levers = tuple(sorted((name, str(value)) for name, value in cell.levers.items() if name not in minor))
    # A mask at every step is part of the step.
    is_redrawn = period_of(cell) <= 1
    return cell.method, levers, is_redrawn, str(sorted(cell.options.items())), adversarial, cell.training.batch_size
