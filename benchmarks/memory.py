"""How much memory does each method need: state between steps, activations saved for the backward pass, and the peak?

State: parameters, buffers, gradients after a backward pass, the optimiser's state, and any other tensor that the method
keeps, each storage once. Saved: storages that autograd holds between the passes, and that are not state. Peak: the
highest point of a whole step, state and the batch's own activations together; what counts is in `live.peak_growth`.

    python benchmarks/memory.py [--device cpu|cuda] [--quick] [--rivals NAME …] [--seconds N] [--out DIR]
"""

import functools
import os
import pathlib
import sys
import warnings
from collections.abc import Sequence

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from benchmarks import live, models, record
from benchmarks.budget import Budget
from benchmarks.rivals import FEW, REFERENCE, RIVALS, available
from benchmarks.run import Run

QUESTION = "memory"
EVERYONE = tuple(RIVALS)
SECONDS = {"cpu": 120, "cuda": 60, "quick": 60}
# Network, batch sizes and rivals; the bars' cases first, where time may run out.
PLANS: dict[str, tuple[tuple[str, tuple[int, ...], tuple[str, ...]], ...]] = {
    "cpu": (("vit-small-32px", (64,), EVERYONE),),
    "cuda": (
        ("vit-b16", (128, 64, 16), EVERYONE),
        ("vit-l14", (128, 64), (*FEW, "element_10_hilo", "column_10_hilo")),
    ),
    "quick": (("vit-tiny-16px", (4,), EVERYONE),),
}
RATIOS = {"state_ratio": "state_mb", "saved_ratio": "saved_mb", "peak_ratio": "peak_mb"}


def main(arguments: Sequence[str] | None = None) -> pathlib.Path:
    """Measures every plan and writes the table."""
    options = record.options(__doc__ or "", arguments, SECONDS)
    record.announce(QUESTION, options)
    # The profiler announces every start and stop otherwise.
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")
    rows: list[dict[str, object]] = []
    for backbone, batches, rivals in PLANS[options.plan]:
        names = available(list(options.rivals or rivals), functools.partial(record.say, QUESTION))
        names = [REFERENCE, *(name for name in names if name != REFERENCE)]
        found = measure(backbone, batches, names, options.device, options.budget)
        record.say(QUESTION, f"{backbone}: {len({row['rival'] for row in found})} rivals")
        rows += found
    for row in rows:
        print(f"  {row['backbone']:15} {row['batch']:4} {row['label']:28}" + _described(row))
    return record.write(QUESTION, rows, options.device, options.out)


def measure(
    backbone: str, batches: Sequence[int], names: list[str], device: torch.device, budget: Budget
) -> list[dict[str, object]]:
    """A row for every rival and batch size, each rival alone on the device, with ratios to full fine-tuning."""
    rows: list[dict[str, object]] = []
    for name in names:
        record.progress(QUESTION, f"{backbone}: {name}")
        if budget.is_spent and name != REFERENCE:
            record.say(QUESTION, f"{backbone} WITHOUT {RIVALS[name].label}: the time is spent")
            continue
        try:
            for size, numbers in bytes_of(name, backbone, batches, device).items():
                case = {"backbone": backbone, "batch": size, "rival": name, "label": RIVALS[name].label}
                rows.append({**case, **numbers})
        except Exception as error:
            if name == REFERENCE:
                raise
            record.say(QUESTION, f"WITHOUT {name}: {type(error).__name__}: {str(error).splitlines()[0][:150]}")
        models.release(device)
    references = {row["batch"]: row for row in rows if row["rival"] == REFERENCE}
    return [
        row | {ratio: row[column] / references[row["batch"]][column] for ratio, column in RATIOS.items()}  # type: ignore[operator]
        for row in rows
    ]


def bytes_of(name: str, backbone: str, batches: Sequence[int], device: torch.device) -> dict[int, dict[str, float]]:
    """Megabytes (10⁶ bytes) of a rival at some batch sizes.

    Returns:
        By batch size: ``state_mb``, ``saved_mb``, ``peak_mb`` and the weights' own ``model_mb``.
    """
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = models.create(models.BACKBONES[backbone], device)
        model_bytes = sum(live.storage_bytes(list(model.parameters())).values())
        run = RIVALS[name].build(model)
        for size in batches:
            images, labels = models.batch(models.BACKBONES[backbone], size, device)
            found[size] = {column: value / 1e6 for column, value in _bytes_at(run, images, labels).items()}
            found[size]["model_mb"] = model_bytes / 1e6
    return found


def _bytes_at(run: Run, images: Tensor, labels: Tensor) -> dict[str, int]:
    roots = (run.model, run.optimizer, run.forward, run.after, run.kept)
    # The first step makes the optimiser's state.
    run.step(images, labels)
    between = live.storage_bytes(live.tensors_within(*roots))
    with live.saved_for_backward(between | live.storage_bytes([images, labels])) as saved:
        loss = run.loss(images, labels)
    loss.backward()
    state = live.storage_bytes(live.tensors_within(*roots))
    run.update()
    run.optimizer.zero_grad()
    del loss
    peak = sum(between.values()) + live.peak_growth(functools.partial(run.step, images, labels), images.device)
    return {"state_mb": sum(state.values()), "saved_mb": sum(saved.values()), "peak_mb": peak}


def _described(row: dict[str, object]) -> str:
    parts = {"state": "state_mb", "saved": "saved_mb", "peak": "peak_mb"}
    return "  ".join(f"{word} {row[column]:8.1f} MB ({row[f'{word}_ratio']:.2f})" for word, column in parts.items())


if __name__ == "__main__":
    main()
