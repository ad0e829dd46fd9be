"""What does a new mask cost: absorbing the weights, drawing, and picking up new values, for all masked weights at once?

A redraw is what the optimiser step and the method's step at the end of an episode take more than those within one. Its
share of all time is given for resampling periods of 1, 10 and 100 steps. Mixout draws at every step by design: its row
holds what that adds to its own optimiser step, and its share only at k = 1.

    python benchmarks/redraw.py [--device cpu|cuda] [--quick] [--rivals NAME …] [--rounds N] [--seconds N] [--out DIR]
"""

import functools
import pathlib
import sys
import warnings
from collections.abc import Callable, Sequence

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import pandas as pd
import torch

from benchmarks import models, record, timing
from benchmarks.rivals import ours, settings_of
from benchmarks.run import Run
from gmixout import Settings

QUESTION = "redraw"
PERIODS = (1, 10, 100)
GRANULARITIES: dict[str, Callable[[float], Settings]] = {
    "element_10": lambda k: settings_of(0.1, resample_every=k),
    "element_2": lambda k: settings_of(0.02, resample_every=k),
    "row_10": lambda k: settings_of(0.1, "row", resample_every=k),
    "column_10": lambda k: settings_of(0.1, "column", resample_every=k),
    "column16_10": lambda k: settings_of(0.1, "column", group_size=16, resample_every=k),
    "block64_10": lambda k: settings_of(0.1, "block", block_size=64, resample_every=k),
    "mixout": lambda k: Settings.mixout(0.9, count="bernoulli", resample_every=k),
}
SECONDS = {"cpu": 90, "cuda": 40, "quick": 60}
EVERYONE = tuple(GRANULARITIES)
# Network, batch size, rounds and granularities.
PLANS: dict[str, tuple[tuple[str, int, int, tuple[str, ...]], ...]] = {
    "cpu": (("vit-small-32px", 64, 9, EVERYONE),),
    "cuda": (("vit-b16", 64, 10, EVERYONE), ("vit-l14", 64, 6, ("element_10", "column_10", "row_10"))),
    "quick": (("vit-tiny-16px", 4, 2, EVERYONE),),
}
NEVER = 1_000_000


def main(arguments: Sequence[str] | None = None) -> pathlib.Path:
    """Measures every plan and writes the table."""
    options = record.options(__doc__ or "", arguments, SECONDS)
    record.announce(QUESTION, options)
    rows: list[dict[str, object]] = []
    for backbone, size, rounds, everyone in PLANS[options.plan]:
        for name in options.rivals or everyone:
            record.progress(QUESTION, f"{backbone}, batch {size}: {name}")
            if rows and options.budget.is_spent:
                record.say(QUESTION, f"{backbone} WITHOUT {name}: the time is spent")
                continue
            rows += measure(name, backbone, size, options.rounds or rounds, options.device)
            models.release(options.device)
        record.say(QUESTION, f"{backbone}, batch {size}: done")
    shown = ["backbone", "batch", "rival", "k", "share", "share_q25", "share_q75", "redraw_ms", "step_ms", "host_syncs"]
    print(pd.DataFrame(rows)[shown].to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    return record.write(QUESTION, rows, options.device, options.out)


def measure(name: str, backbone: str, size: int, rounds: int, device: torch.device) -> list[dict[str, object]]:
    """The cost of a redraw, a row for every period."""
    images, labels = models.batch(models.BACKBONES[backbone], size, device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawing, staying = (
            ours(GRANULARITIES[name](k))(models.create(models.BACKBONES[backbone], device)) for k in (1, NEVER)
        )
        for run in (drawing, staying):
            run.step(images, labels)
            # The gradients stay in place, so that an update can be timed by itself.
            run.loss(images, labels).backward()
    updates: dict[str, Callable[[], object]] = {"drawing": drawing.update, "staying": staying.update}
    times = timing.rounds_of(updates, rounds, device)
    redraw_ms = (times["drawing"] - times["staying"]).quantile([0.5, 0.25, 0.75]).tolist()
    steps = timing.rounds_of({"step": functools.partial(staying.step, images, labels)}, 3, device, warmup=0)
    step_ms = steps["step"].median()
    case = {"backbone": backbone, "batch": size, "rival": name}
    numbers = {"redraw_ms": redraw_ms[0], "step_ms": step_ms, "host_syncs": host_syncs(drawing)}
    names = ("share", "share_q25", "share_q75")
    return [
        {**case, "k": k, **{n: share(spent, step_ms, k) for n, spent in zip(names, redraw_ms, strict=True)}, **numbers}
        for k in PERIODS
        if name != "mixout" or k == 1
    ]


def host_syncs(run: Run) -> int:
    """How often an update with a redraw makes the host wait for the GPU, as torch sees it; 0 on a CPU."""
    if next(run.model.parameters()).device.type == "cpu":
        return 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run.update()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def share(redraw_ms: float, step_ms: float, period: int) -> float:
    """Fraction of all time that goes into redraws with the given period; differences below 0 are noise and count as 0.

    Example:
        >>> share(redraw_ms=10.0, step_ms=9.0, period=10)
        0.1
    """
    spent = max(redraw_ms, 0.0)
    return spent / (spent + period * step_ms)


if __name__ == "__main__":
    main()
