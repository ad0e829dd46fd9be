"""One cell: settings to trained model to logits to records. It can be killed at any moment and resumes."""

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
import safetensors.torch
import torch
from torch import Tensor, nn

from analysis.accuracy import SCORES, accuracy_score, cross_entropy_error
from analysis.records import write
from gmixout.accounting import fingerprint
from studies import backbones, benchmarks, provenance
from studies.answers import Questions, answer
from studies.atomic import write_atomically, write_text
from studies.benchmarks.benchmark import Benchmark
from studies.checkpoint import Checkpointing, Progress
from studies.combinations import SOUPS, Ingredient, average, ensemble
from studies.costs import split_sizes
from studies.engine import PLAIN, Engine
from studies.evaluate import logits
from studies.failures import BadData
from studies.frames import cell_row, records
from studies.lease import Lease
from studies.messages import Task
from studies.meter import Listener, Meter
from studies.methods import Method, attach
from studies.outputs import Outputs
from studies.ranks import Ranks, alone
from studies.reading import Reading
from studies.settings import CellSettings, traits_of
from studies.sources import SUMMED, WEIGHTS, read_sources
from studies.store import CHECKPOINT, LOGITS, MEMBERS, TABLES, CellFolder
from studies.train import Examples, deterministic, train
from studies.viewed import Viewed, class_words

WEIGHTS_HASH = "weights.sha256"
"""Of the reported weights, bit for bit: equal in two runs of a cell on one machine, however often they were killed."""


def run_cell(
    cell: CellSettings,
    folder: CellFolder,
    lease: Lease,
    listener: Listener,
    checkpoint_every_s: float = 10.0,
    device: str = "cpu",
    reading: Reading | None = None,
    engine: Engine = PLAIN,
    ranks: Callable[[], AbstractContextManager[Ranks]] = alone,
) -> dict[str, float]:
    """Runs a cell, or the rest of it, and marks its folder done.

    Args:
        cell: The settings.
        folder: Where its files go.
        lease: The cell's lease, held.
        listener: Hears of progress, and can ask to stop.
        checkpoint_every_s: Seconds between checkpoints.
        device: Where to run.
        reading: How images are read; by default by a thread on every core.
        engine: How a training step is carried out.
        ranks: Opens a context with the processes that share the training; this one is the first of them.

    Returns:
        Scalars for the plan: ID validation and times, nothing of the test splits.

    Raises:
        Diverged: If training or the trained model leaves the finite numbers.
        BadData: If the benchmark is not the one that the settings name.
        Stopped: If asked to stop; a checkpoint is kept.
        Pruned: If a search ends it.
        LostLease: If another process took the cell over meanwhile.
    """
    started_at = time.monotonic()
    provenance.forget_peak_memory()
    folder.prepare(cell.canonical)
    benchmark = _benchmark(cell.benchmark, cell.manifest, cell.backbone, reading)
    meter = Meter(cell, split_sizes(benchmark), listener)
    needs_text = traits_of(cell.method).needs_text
    classes = class_words(benchmark.classes)
    wanted = (cell.backbone, cell.pretrain_seed, classes, cell.prompts, needs_text, device, engine.channels_last)
    pretrained = _pretrained(*wanted)
    if cell.sources:
        result = _built(cell, folder, benchmark, pretrained, meter, device)
    else:
        result = _trained(cell, folder, benchmark, pretrained, meter, checkpoint_every_s, device, engine, ranks)
    row = cell_row(
        cell,
        "done",
        # Training counts over all attempts; the rest is this attempt's.
        wall_time_s=result.earlier_s + time.monotonic() - started_at,
        peak_memory_bytes=provenance.peak_memory_bytes(),
        **result.facts,
        **provenance.columns(device, engine),
    )
    lease.check()
    files = _write_arrays(folder, result.outputs)
    if result.weights is not None:
        write_text(folder.path / WEIGHTS_HASH, fingerprint(result.weights) + "\n")
        files.append(WEIGHTS_HASH)
        if cell.evaluation.keep_weights:
            kept = {name: tensor.detach().cpu().contiguous() for name, tensor in result.weights.items()}
            write_atomically(folder.path / WEIGHTS, lambda file: file.write(safetensors.torch.save(kept)))
            files.append(WEIGHTS)
    write(records(row, result.outputs, result.curve), folder.path)
    lease.check()
    folder.finish([*files, *TABLES])
    return _scalars(result.outputs, row)


@dataclass(frozen=True)
class _Result:
    """What a cell came to: answers, weights if it has one set of them, facts for its row, and seconds not counted."""

    outputs: Outputs
    weights: dict[str, Tensor] | None
    facts: dict[str, Any]
    curve: list[tuple[int, str, float]] = field(default_factory=list)
    earlier_s: float = 0.0


def _trained(
    cell: CellSettings,
    folder: CellFolder,
    benchmark: Benchmark,
    pretrained: nn.Module,
    meter: Meter,
    checkpoint_every_s: float,
    device: str,
    engine: Engine,
    ranks: Callable[[], AbstractContextManager[Ranks]],
) -> _Result:
    model = copy.deepcopy(pretrained)
    method = attach(model, cell)
    training_at = time.monotonic()
    checkpointing = Checkpointing(folder.path / CHECKPOINT, checkpoint_every_s, meter.should_stop, meter.judge)
    with ranks() if cell.training is not None else alone() as group:
        progress = _train(cell, benchmark, model, method, checkpointing, meter.step, device, engine, group)
    own_s = time.monotonic() - training_at
    reported = progress.best_weights or method.reported_weights()
    with deterministic(cell.seed, device):
        outputs = answer(cell, benchmark, pretrained, model, method, reported, meter.images, device)
    counts = method.accounting()
    facts = {
        "trained_per_episode": counts.trained_per_episode,
        "touched_over_run": counts.touched_over_run,
        "total_parameters": counts.total,
        "subnetworks": counts.subnetworks,
        "member_kind": method.member_kind if outputs.members else "none",
        "train_time_s": progress.train_time_s,
        "training_flops": progress.training_flops,
        "training_steps": progress.step,
        "stored_floats": progress.stored_floats or counts.total,
        "inference_passes": 1,
    }
    return _Result(outputs, reported, facts, progress.curve, progress.train_time_s - own_s)


def help_train(cell: CellSettings, task: Task, ranks: Ranks) -> None:
    """Takes part in a cell's training as a process that saves, evaluates and reports nothing.

    Args:
        cell: The settings.
        task: How the first process works.
        ranks: All processes of the cell.

    Raises:
        Stopped: If the first process was asked to stop.
    """
    benchmark = _benchmark(cell.benchmark, cell.manifest, cell.backbone, task.reading)
    needs_text = traits_of(cell.method).needs_text
    named = (cell.backbone, cell.pretrain_seed, class_words(benchmark.classes), cell.prompts)
    pretrained = _pretrained(*named, needs_text, task.device, task.engine.channels_last)
    model = copy.deepcopy(pretrained)
    checkpointing = Checkpointing(task.folder / CHECKPOINT)
    _train(cell, benchmark, model, attach(model, cell), checkpointing, _silent, task.device, task.engine, ranks)


def _silent(step: int) -> None:
    """Tells nobody how many steps are done."""


def _built(
    cell: CellSettings,
    folder: CellFolder,
    benchmark: Benchmark,
    pretrained: nn.Module,
    meter: Meter,
    device: str,
) -> _Result:
    sources = read_sources(cell, folder)
    validation = benchmark.load("id_val")
    asked = Questions(cell, benchmark, meter.images, device)
    members = tuple({split: source.logits[split] for split in asked.plain} for source in sources)
    total = int(sources[0].facts["total_parameters"])
    # Each run is a full fine-tuning run, and they are trained one after another.
    facts: dict[str, Any] = {name: sum(source.facts[name] for source in sources) for name in SUMMED}
    facts |= {"stored_floats": max(source.facts["stored_floats"] for source in sources), "total_parameters": total}
    facts |= {"trained_per_episode": total, "touched_over_run": total, "member_kind": "runs"}
    if cell.method not in SOUPS:
        facts |= {"inference_passes": len(sources), "subnetworks": len(sources)}
        labels = {name: benchmark.load(name).labels for name in asked.everywhere}
        found = ensemble([{split: source.logits[split] for split in asked.everywhere} for source in sources])
        numbers = {"pool_size": float(len(sources))}
        return _Result(
            Outputs(labels, benchmark.groups, found, benchmark.metric, members=members, numbers=numbers), None, facts
        )
    merged, measure = copy.deepcopy(pretrained), SCORES[benchmark.metric]

    def score(weights: dict[str, Tensor]) -> float:
        merged.load_state_dict(weights)
        return measure(logits(merged, validation.images, device), validation.labels)

    with deterministic(cell.seed, device):
        pool = [
            Ingredient(source.identity, measure(source.logits["id_val"], validation.labels), source.weights)
            for source in sources
        ]
        taken = SOUPS[cell.method](pool, score)
        reported = average([one.weights for one in taken])
        outputs = asked.weights(pretrained, reported)
    numbers = {**outputs.numbers, "pool_size": float(len(pool)), "soup_size": float(len(taken))}
    facts |= {"inference_passes": 1, "subnetworks": len(taken)}
    return _Result(replace(outputs, members=members, numbers=numbers), reported, facts)


@lru_cache(maxsize=2)
def _benchmark(name: str, manifest: str, backbone: str, reading: Reading | None) -> Benchmark:
    benchmark = benchmarks.load(name)
    if benchmark.manifest != manifest:
        raise BadData(
            f"the benchmark {name} has the manifest {benchmark.manifest[:12]}, the cell was planned for "
            f"{manifest[:12]}; look at `gmixout data check {name}` and plan the study again"
        )
    return Viewed(benchmark, backbones.view_of(backbone), reading)


@lru_cache(maxsize=2)
def _pretrained(
    backbone: str,
    pretrain_seed: int,
    classes: tuple[str, ...],
    prompts: str,
    keep_text: bool,
    device: str,
    channels_last: bool,
) -> nn.Module:
    model = backbones.load(backbone, pretrain_seed, classes, prompts or "plain", keep_text=keep_text)
    if channels_last:
        # Before anything is attached: it moves weights, and a method may keep some of them as they were.
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.to(device).eval()


def _train(
    cell: CellSettings,
    benchmark: Benchmark,
    model: nn.Module,
    method: Method,
    checkpointing: Checkpointing,
    after_step: Callable[[int], None],
    device: str,
    engine: Engine,
    ranks: Ranks,
) -> Progress:
    if cell.training is None or cell.learning_rate is None:
        return Progress()
    training, validation = benchmark.load("train"), benchmark.load("id_val")
    return train(
        model,
        method,
        Examples(training.images, training.labels),
        Examples(validation.images, validation.labels),
        cell.training,
        cell.learning_rate,
        cell.seed,
        checkpointing,
        after_step,
        device,
        len(benchmark.classes),
        SCORES[benchmark.metric],
        engine,
        ranks,
    )


def _write_arrays(folder: CellFolder, outputs: Outputs) -> list[str]:
    arrays: dict[str, npt.NDArray[Any]] = {f"logits/{name}": found for name, found in outputs.reported.items()}
    arrays |= {f"largest/{name}": found for name, found in outputs.largest.items()}
    arrays |= {f"labels/{name}": labels for name, labels in outputs.labels.items()}
    for alpha, answers in outputs.wise.items():
        arrays |= {f"wise/{alpha:g}/{name}": found for name, found in answers.items()}
    write_atomically(folder.path / LOGITS, lambda file: file.write(safetensors.numpy.save(arrays)))
    if not outputs.members and not outputs.fresh:
        return [LOGITS]
    members = {
        f"logits/{name}": np.stack([one[name] for one in outputs.members]) for name in (outputs.members or ({},))[0]
    }
    if outputs.fresh:
        members |= {f"fresh/{name}": np.stack([one[name] for one in outputs.fresh]) for name in outputs.fresh[0]}
    write_atomically(folder.path / MEMBERS, lambda file: file.write(safetensors.numpy.save(members)))
    return [LOGITS, MEMBERS]


def _scalars(outputs: Outputs, row: dict[str, Any]) -> dict[str, float]:
    logits, labels = outputs.reported["id_val"], outputs.labels["id_val"]
    return {
        "id_val_accuracy_score": accuracy_score(logits, labels),
        "id_val_cross_entropy_error": cross_entropy_error(logits, labels),
        "train_time_s": row["train_time_s"],
        "wall_time_s": row["wall_time_s"],
    }
