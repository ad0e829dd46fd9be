"""How long is a training step, as a ratio to full fine-tuning, to the floor without weight gradients, and to LoRA?

The floor trains biases, norms and the head only: what any method pays that trains through all blocks. Optimisers are
fused for all; eager steps are compared with eager ones, compiled with compiled. No timed round draws a new mask, but
for Mixout, which draws one at every step: see `redraw.py`. There are fewer rounds where the time does not suffice.

    python benchmarks/step_time.py [--device cpu|cuda] [--quick] [--compiled] [--rivals NAME …]
        [--rounds N] [--seconds N] [--out DIR]
"""

import dataclasses
import functools
import pathlib
import sys
import warnings
from collections.abc import Sequence

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import pandas as pd
import torch

from benchmarks import models, record, timing
from benchmarks.budget import Budget
from benchmarks.rivals import FEW, FLOOR, REFERENCE, RIVALS, available
from benchmarks.run import Run

QUESTION = "step_time"
LORA = "lora_16"


@dataclasses.dataclass(frozen=True)
class Plan:
    """One network, timed at several batch sizes.

    Attributes:
        backbone: Its name.
        batches: Batch sizes.
        rivals: Who is timed; the most interesting first, where time may run out.
        rounds: Timed rounds.
        seconds: What all of it may take.
        is_compiled: Whether forward and backward are compiled.
    """

    backbone: str
    batches: tuple[int, ...]
    rivals: tuple[str, ...]
    rounds: int
    seconds: float
    is_compiled: bool = False


EVERYONE = tuple(RIVALS)
COMPILED = (REFERENCE, FLOOR, "column_10", "element_10", "mixout", LORA, "row_10", "mixout_naive")
PLANS: dict[str, tuple[Plan, ...]] = {
    "cpu": (Plan("vit-small-32px", (64,), EVERYONE, rounds=24, seconds=390),),
    "cuda": (
        Plan("vit-b16", (128, 64, 8), EVERYONE, rounds=12, seconds=75),
        Plan("vit-l14", (128, 64, 8), FEW, rounds=8, seconds=60),
        Plan("vit-b16", (64,), COMPILED, rounds=12, seconds=70, is_compiled=True),
    ),
    "quick": (Plan("vit-tiny-16px", (4,), EVERYONE, rounds=2, seconds=60),),
}
COMPILED_ON_CPU = Plan("vit-small-32px", (64,), COMPILED, rounds=12, seconds=300, is_compiled=True)
SECONDS = {name: sum(plan.seconds for plan in plans) for name, plans in PLANS.items()}
# The rest of a plan's time is for the rounds.
_BUILDING_SHARE = 0.6


def main(arguments: Sequence[str] | None = None) -> pathlib.Path:
    """Times every plan and writes the table."""
    options = record.options(__doc__ or "", arguments, SECONDS)
    record.announce(QUESTION, options)
    plans = PLANS[options.plan]
    stretch = options.budget.seconds / SECONDS[options.plan]
    if options.compiled and options.plan == "cpu":
        plans += (COMPILED_ON_CPU,)
    rows: list[dict[str, object]] = []
    for plan in plans:
        plan = dataclasses.replace(plan, rounds=options.rounds or plan.rounds, seconds=stretch * plan.seconds)
        if options.rivals:
            plan = dataclasses.replace(plan, rivals=(REFERENCE, *(n for n in options.rivals if n != REFERENCE)))
        rows += measure(plan, options.device)
        models.release(options.device)
    table = pd.DataFrame(rows)
    shown = ["backbone", "batch", "mode", "label", "ratio", "ratio_q25", "ratio_q75", "to_floor", "to_lora", "step_ms"]
    print(table[shown].to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    return record.write(QUESTION, rows, options.device, options.out)


def measure(plan: Plan, device: torch.device) -> list[dict[str, object]]:
    """Times one network's rivals in turns, a row for every rival and batch size."""
    budget = Budget(plan.seconds)
    backbone = models.BACKBONES[plan.backbone]
    names = available(list(plan.rivals), functools.partial(record.say, QUESTION))
    images, labels = models.batch(backbone, plan.batches[0], device)
    runs: dict[str, Run] = {}
    for name in names:
        record.progress(QUESTION, f"{plan.backbone}: building {name}")
        if name != REFERENCE and budget.left < (1.0 - _BUILDING_SHARE) * plan.seconds:
            record.say(QUESTION, f"WITHOUT {RIVALS[name].label}: the time for building is spent")
            continue
        run = first_step(name, plan, device, images, labels)
        if run is not None:
            runs[name] = run
    rows = []
    for number, size in enumerate(plan.batches):
        images, labels = models.batch(backbone, size, device)
        steps = {name: functools.partial(run.step, images, labels) for name, run in runs.items()}
        case = f"{plan.backbone}, batch {size}, {'compiled' if plan.is_compiled else 'eager'}"
        times = timing.rounds_of(
            steps,
            plan.rounds,
            device,
            warmup=1,
            seconds=budget.share(len(plan.batches) - number),
            say=lambda text, case=case: record.progress(QUESTION, f"{case}: {text}"),
        )
        rows += table_rows(times, plan, size, timing.clocks(device))
        record.say(QUESTION, f"{case}: {len(times)} rounds of {len(runs)} rivals")
    return rows


def first_step(name: str, plan: Plan, device: torch.device, images: torch.Tensor, labels: torch.Tensor) -> Run | None:
    """Builds a rival and takes one step; says why if it cannot. A failure of full fine-tuning is an error.

    Raises:
        Exception: Whatever full fine-tuning raises.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = RIVALS[name].build(models.create(models.BACKBONES[plan.backbone], device))
            run = run.compile() if plan.is_compiled else run
            run.step(images, labels)
        return run
    except Exception as error:
        if name == REFERENCE:
            raise
        record.say(
            QUESTION, f"WITHOUT {RIVALS[name].label}: {type(error).__name__}: {str(error).splitlines()[0][:150]}"
        )
        return None


def table_rows(times: pd.DataFrame, plan: Plan, size: int, clocks: str) -> list[dict[str, object]]:
    """A row for every rival: its ratios within rounds, and its median time."""
    references = {"ratio": REFERENCE, "to_floor": FLOOR, "to_lora": LORA}
    ratios = pd.concat([timing.paired_ratios(times, other, name) for name, other in references.items()], axis=1)
    return [
        {
            "backbone": plan.backbone,
            "batch": size,
            "mode": "compiled" if plan.is_compiled else "eager",
            "rival": name,
            "label": RIVALS[name].label,
            **ratios.loc[name].to_dict(),
            "step_ms": times[name].median(),
            "rounds": len(times),
            "clocks": clocks,
        }
        for name in times
    ]


if __name__ == "__main__":
    main()
