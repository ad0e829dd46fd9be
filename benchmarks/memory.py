"""How much memory does each method need: state between steps, activations saved for the backward pass, and the peak?

State: parameters, buffers, gradients after a backward pass, the optimiser's state, and any other tensor that the method
keeps, each storage once. Saved: storages that autograd holds between the passes, and that are not state. Peak: the
highest point of a whole step, state and the batch's own activations together; what counts is in `live.peak_growth`.

    python benchmarks/memory.py [--device cpu|cuda] [--quick] [--rivals NAME …] [--out DIR]
"""

import functools
import gc
import os
import pathlib
import sys
import warnings
from collections.abc import Sequence

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import torch

from benchmarks import live, models, record
from benchmarks.rivals import FEW, REFERENCE, RIVALS, available

QUESTION = "memory"
EVERYONE = tuple(RIVALS)
# Network, batch sizes and rivals.
PLANS: dict[str, tuple[tuple[str, tuple[int, ...], tuple[str, ...]], ...]] = {
    "cpu": (("vit-small-32px", (64,), EVERYONE),),
    "cuda": (
        ("vit-b16", (16, 64, 128), EVERYONE),
        ("vit-l14", (64, 128), (*FEW, "column_2", "element_10_hilo", "column_10_hilo")),
    ),
    "quick": (("vit-tiny-16px", (4,), EVERYONE),),
}
RATIOS = {"state_ratio": "state_mb", "saved_ratio": "saved_mb", "peak_ratio": "peak_mb"}


def main(arguments: Sequence[str] | None = None) -> pathlib.Path:
    """Measures every plan and writes the table."""
    options = record.options(__doc__ or "", arguments)
    # The profiler announces every start and stop otherwise.
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")
    rows: list[dict[str, object]] = []
    for backbone, batches, rivals in PLANS["quick" if options.quick else options.device.type]:
        names = available(list(options.rivals or rivals), functools.partial(record.say, QUESTION))
        for size in batches:
            rows += measure(backbone, size, [REFERENCE, *(n for n in names if n != REFERENCE)], options.device)
            record.say(QUESTION, f"{backbone}, batch {size}: {len(names)} rivals")
    for row in rows:
        print(f"  {row['backbone']:15} {row['batch']:4} {row['label']:28}" + _described(row))
    return record.write(QUESTION, rows, options.device, options.out)


def measure(backbone: str, size: int, names: list[str], device: torch.device) -> list[dict[str, object]]:
    """A row for every rival, each alone on the device, with ratios to full fine-tuning."""
    rows: list[dict[str, object]] = []
    for name in names:
        record.progress(QUESTION, f"{backbone}, batch {size}: {name}")
        try:
            numbers = bytes_of(name, backbone, size, device)
        except Exception as error:
            if name == REFERENCE:
                raise
            record.say(QUESTION, f"WITHOUT {name}: {type(error).__name__}: {str(error).splitlines()[0][:150]}")
            continue
        rows.append({"backbone": backbone, "batch": size, "rival": name, "label": RIVALS[name].label, **numbers})
    reference = dict(rows[0])
    for row in rows:
        for ratio, column in RATIOS.items():
            row[ratio] = row[column] / reference[column]  # type: ignore[operator]
    return rows


def bytes_of(name: str, backbone: str, size: int, device: torch.device) -> dict[str, float]:
    """Megabytes (10⁶ bytes) of a rival: ``state_mb``, ``saved_mb``, ``peak_mb`` and the weights' own ``model_mb``."""
    images, labels = models.batch(models.BACKBONES[backbone], size, device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = models.create(models.BACKBONES[backbone], device)
        model_bytes = sum(live.storage_bytes(list(model.parameters())).values())
        run = RIVALS[name].build(model)
        run.step(images, labels)
        roots = (run.model, run.optimizer, run.forward, run.after, run.kept)
        between = live.storage_bytes(live.tensors_within(*roots))
        with live.saved_for_backward(between | live.storage_bytes([images, labels])) as saved:
            loss = run.loss(images, labels)
        loss.backward()
        state = live.storage_bytes(live.tensors_within(*roots))
        run.update()
        run.optimizer.zero_grad()
        del loss
        peak = sum(between.values()) + live.peak_growth(functools.partial(run.step, images, labels), device)
    del run, model, roots
    gc.collect()
    numbers = {
        "state_mb": sum(state.values()),
        "saved_mb": sum(saved.values()),
        "peak_mb": peak,
        "model_mb": model_bytes,
    }
    return {column: value / 1e6 for column, value in numbers.items()}


def _described(row: dict[str, object]) -> str:
    parts = {"state": "state_mb", "saved": "saved_mb", "peak": "peak_mb"}
    return "  ".join(f"{word} {row[column]:8.1f} MB ({row[f'{word}_ratio']:.2f})" for word, column in parts.items())


if __name__ == "__main__":
    main()
