"""Refuses, before any work, cells that clearly do not fit into the memory of the device or of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from studies import backbones, benchmarks, fitting, shapes
from studies.evaluate import BATCH_SIZE
from studies.forecast import GPU_BYTES, PROCESS_BYTES, forecast
from studies.machine import free_memory
from studies.needs import looks
from studies.opened import Opened
from studies.recomputing import recompute
from studies.settings import CellSettings, Execution
from studies.sizes import Sizes, sizes_of
from studies.viewed import class_words

CLEARLY = 1.25
"""A forecast is off by a fifth at most, as a rule: what is needed beyond that much of what is free cannot fit."""

COPIES = 14
"""More sets of weights than any method needs: pretrained and own, gradients, moments, anchors, averages, merged."""


def clearly_too_large(
    opened: Opened, cells: Sequence[CellSettings], execution: Execution, workers: int, gpus: Sequence[str] = ()
) -> list[str]:
    """Which methods need clearly more memory than a worker has, each with what to change.

    Shapes alone tell the most that any method could need; where that fits, as it mostly does, nothing is measured. Else
    a step of every kind of method is, on the CPU: for a ViT-B/16 that takes a minute or two.

    Args:
        opened: The study.
        cells: Cells that are to run, at least one.
        execution: How they are run.
        workers: Processes that share them.
        gpus: GPUs of the workers, as the driver names them; empty: all share the first.
    """
    sizes = sizes_of(benchmarks.load(opened.study.benchmark))
    shared = min(workers, len(cells))
    gpu_free = free_on_gpu(gpus) // (1 if gpus else shared) if execution.device == "cuda" else None
    free = free_memory() // shared
    device_free = free if gpu_free is None else gpu_free
    others = (0 if gpu_free is None else GPU_BYTES) + (PROCESS_BYTES if gpu_free is None else 0)
    if max(most_bytes(cells, sizes, execution)) + others <= device_free:
        return []
    found = forecast(cells, shared, sizes, "cpu", execution.engine(), runs_on=execution.device)
    problems = []
    for place in fitting.places_of(found, execution.device, free, gpu_free):
        lenient = fitting.Place(place.name, place.needed, round((place.free or 0) * CLEARLY), place.holds_models)
        if fitting.memory_problems(lenient, cells, found):
            problems += fitting.memory_problems(place, cells, found)
    return problems


def most_bytes(cells: Sequence[CellSettings], sizes: Sizes, execution: Execution) -> list[int]:
    """More than each cell needs on its device, from shapes alone.

    Args:
        cells: The cells.
        sizes: The benchmark's.
        execution: How they are run.
    """
    engine = execution.engine()
    found = []
    known: dict[str, tuple[shapes.Pass, int]] = {}
    for cell in cells:
        if cell.backbone not in known:
            model = backbones.blank(cell.backbone, class_words(sizes.classes), device="meta")
            recompute(model, engine.recomputes)
            weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
            known[cell.backbone] = shapes.measured(model, backbones.view_of(cell.backbone).crop), weights
        one, weights = known[cell.backbone]
        images = -(-cell.training.batch_size // engine.processes) if cell.training is not None else 1
        part = -(-images // engine.parts(images))
        fixed = (COPIES + 2 * cell.evaluation.members + looks(cell)) * weights
        # Adapters keep inputs of their own, and a text tower is about as large as the other.
        found.append(fixed + max(2 * part * one.image, 4 * BATCH_SIZE * one.largest))
    return found


def free_on_gpu(gpus: Sequence[str] = ()) -> int:
    """Bytes that are free on the first GPU, asked by a process of its own: asking takes some of it.

    Args:
        gpus: The GPUs of a study, as the driver names them.
    """
    variables = os.environ | ({"CUDA_VISIBLE_DEVICES": gpus[0]} if gpus else {})
    command = [sys.executable, "-c", "import torch; print(torch.cuda.mem_get_info()[0])"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env=variables).stdout)
