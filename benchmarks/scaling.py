"""How does the step time, as a ratio to full fine-tuning, grow with width, depth, batch size and density?

One thing varies at a time around a common point; everything else is as in `step_time.py`, eager.

    python benchmarks/scaling.py [--device cpu|cuda] [--quick] [--rivals NAME …] [--rounds N] [--seconds N] [--out DIR]
"""

import dataclasses
import functools
import pathlib
import sys
import warnings
from collections.abc import Callable, Sequence

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import pandas as pd
import torch
from torch import nn

from benchmarks import models, record, timing
from benchmarks.models import Backbone
from benchmarks.rivals import FLOOR, REFERENCE, RIVALS, ours, settings_of
from benchmarks.run import Run

QUESTION = "scaling"
SECONDS = {"cpu": 140, "cuda": 70, "quick": 60}
_HEAD_WIDTH = 64


@dataclasses.dataclass(frozen=True)
class Point:
    """What is timed.

    Attributes:
        backbone: The network.
        batch: Batch size.
        density: Fraction that is trained, of those that mask.
    """

    backbone: Backbone
    batch: int
    density: float

    def along(self, axis: str, value: float) -> "Point":
        """This point with one thing changed.

        Example:
            >>> Point(Backbone(32, 4, 192, 6, 3, 10), batch=4, density=0.1).along("width", 384).backbone.heads
            6
        """
        if axis in ("batch", "density"):
            return dataclasses.replace(self, **{axis: value})
        changes = {axis: int(value)} | ({"heads": int(value) // _HEAD_WIDTH} if axis == "width" else {})
        return dataclasses.replace(self, backbone=dataclasses.replace(self.backbone, **changes))


@dataclasses.dataclass(frozen=True)
class Plan:
    """A common point, and the values of each axis through it.

    Attributes:
        point: The common point.
        axes: Values by axis: width, depth, batch, density.
        rounds: Timed rounds.
    """

    point: Point
    axes: dict[str, tuple[float, ...]]
    rounds: int


PLANS = {
    "cpu": Plan(
        Point(Backbone(32, 4, 192, 3, 3, 10), batch=16, density=0.1),
        {
            "width": (64, 192, 384),
            "depth": (1, 3, 6, 12),
            "batch": (4, 16, 64),
            "density": (0.02, 0.05, 0.1, 0.2, 0.5),
        },
        rounds=9,
    ),
    "cuda": Plan(
        Point(models.BACKBONES["vit-b16"], batch=64, density=0.1),
        {
            "width": (384, 768, 1280),
            "depth": (4, 12, 24),
            "batch": (8, 32, 64, 128),
            "density": (0.02, 0.05, 0.1, 0.2, 0.5),
        },
        rounds=6,
    ),
    "quick": Plan(
        Point(Backbone(16, 4, 64, 1, 1, 10), batch=2, density=0.25),
        {"width": (64, 128), "depth": (1, 2), "batch": (2, 4), "density": (0.1, 0.25)},
        rounds=2,
    ),
}
BUILDERS: dict[str, tuple[str, Callable[[nn.Module, float], Run]]] = {
    REFERENCE: (RIVALS[REFERENCE].label, lambda model, density: RIVALS[REFERENCE].build(model)),
    FLOOR: (RIVALS[FLOOR].label, lambda model, density: RIVALS[FLOOR].build(model)),
    "element": ("element", lambda model, density: ours(settings_of(density))(model)),
    "row": ("row", lambda model, density: ours(settings_of(density, "row"))(model)),
    "column": ("column", lambda model, density: ours(settings_of(density, "column"))(model)),
}


def main(arguments: Sequence[str] | None = None) -> pathlib.Path:
    """Times every point and writes the table."""
    options = record.options(__doc__ or "", arguments, SECONDS)
    record.announce(QUESTION, options)
    plan = PLANS[options.plan]
    names = [name for name in BUILDERS if name in (REFERENCE, *(options.rivals or BUILDERS))]
    places = [(axis, value, plan.point.along(axis, value)) for axis, values in plan.axes.items() for value in values]
    found: dict[Point, list[dict[str, object]]] = {}
    rows: list[dict[str, object]] = []
    for number, (axis, value, point) in enumerate(places):
        record.progress(QUESTION, f"{axis} {value:g}, point {number + 1} of {len(places)}")
        # The common point lies on every axis.
        if point not in found:
            if rows and options.budget.is_spent:
                record.say(QUESTION, f"WITHOUT {axis} {value:g}: the time is spent")
                continue
            found[point] = measure(point, names, options.rounds or plan.rounds, options.device)
            models.release(options.device)
        rows += [{"axis": axis, "value": value, **row} for row in found[point]]
    shown = ["axis", "value", "label", "ratio", "ratio_q25", "ratio_q75", "step_ms"]
    print(pd.DataFrame(rows)[shown].to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    return record.write(QUESTION, rows, options.device, options.out)


def measure(point: Point, names: Sequence[str], rounds: int, device: torch.device) -> list[dict[str, object]]:
    """A row for every contestant at one point."""
    images, labels = models.batch(point.backbone, point.batch, device)
    steps: dict[str, Callable[[], object]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            run = BUILDERS[name][1](models.create(point.backbone, device), point.density)
            steps[name] = functools.partial(run.step, images, labels)
    times = timing.rounds_of(steps, rounds, device)
    ratios = timing.paired_ratios(times, REFERENCE)
    backbone = point.backbone
    place = {"width": backbone.width, "depth": backbone.depth, "batch": point.batch, "density": point.density}
    return [
        {
            **place,
            "rival": name,
            "label": BUILDERS[name][0],
            **ratios.loc[name].to_dict(),
            "step_ms": times[name].median(),
            "rounds": len(times),
        }
        for name in times
    ]


if __name__ == "__main__":
    main()
