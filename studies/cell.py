"""One cell: settings to trained model to logits to records. It can be killed at any moment and resumes."""

import copy
import time
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from torch import nn

from analysis.accuracy import accuracy_score, cross_entropy_error
from analysis.records import write
from gmixout.accounting import fingerprint
from studies import backbones, benchmarks, provenance
from studies.answers import answer
from studies.atomic import write_atomically, write_text
from studies.benchmarks.benchmark import Benchmark
from studies.costs import split_sizes
from studies.failures import BadData
from studies.frames import Outputs, cell_row, records
from studies.lease import Lease
from studies.meter import Listener, Meter
from studies.methods import METHODS, Method
from studies.settings import CellSettings
from studies.store import CHECKPOINT, TABLES, CellFolder
from studies.train import Checkpointing, Examples, Progress, deterministic, train

LOGITS = "logits.safetensors"
MEMBERS = "members.safetensors"
WEIGHTS_HASH = "weights.sha256"
"""Of the reported weights, bit for bit: equal in two runs of a cell on one machine, however often they were killed."""


def run_cell(
    cell: CellSettings,
    folder: CellFolder,
    lease: Lease,
    listener: Listener,
    checkpoint_every_s: float = 10.0,
    device: str = "cpu",
) -> dict[str, float]:
    """Runs a cell, or the rest of it, and marks its folder done.

    Args:
        cell: The settings.
        folder: Where its files go.
        lease: The cell's lease, held.
        listener: Hears of progress, and can ask to stop.
        checkpoint_every_s: Seconds between checkpoints.
        device: Where to run.

    Returns:
        Scalars for the plan: ID validation and times, nothing of the test splits.

    Raises:
        Diverged: If training or the trained model leaves the finite numbers.
        BadData: If the benchmark is not the one that the settings name.
        Stopped: If asked to stop; a checkpoint is kept.
        LostLease: If another process took the cell over meanwhile.
    """
    started_at = time.monotonic()
    provenance.forget_peak_memory()
    folder.prepare(cell.canonical)
    benchmark = _benchmark(cell.benchmark, cell.manifest)
    meter = Meter(cell, split_sizes(benchmark), listener)
    pretrained = _pretrained(cell.backbone, cell.pretrain_seed, device)
    model = copy.deepcopy(pretrained)
    method = METHODS[cell.method](model, cell)
    training_at = time.monotonic()
    progress = _train(cell, benchmark, model, method, folder, meter, checkpoint_every_s, device)
    trained_at = time.monotonic()
    reported = progress.best_weights or method.reported_weights()
    with deterministic(cell.seed, device):
        outputs = answer(cell, benchmark, pretrained, model, method, reported, meter.images, device)
    counts = method.accounting()
    row = cell_row(
        cell,
        "done",
        trained_per_episode=counts.trained_per_episode,
        touched_over_run=counts.touched_over_run,
        total_parameters=counts.total,
        subnetworks=counts.subnetworks,
        member_kind=method.member_kind if outputs.members else "none",
        # Training counts over all attempts; the rest is this attempt's.
        wall_time_s=progress.train_time_s + (time.monotonic() - trained_at) + (training_at - started_at),
        train_time_s=progress.train_time_s,
        peak_memory_bytes=provenance.peak_memory_bytes(),
        **provenance.columns(device),
    )
    lease.check()
    files = _write_arrays(folder, outputs)
    write_text(folder.path / WEIGHTS_HASH, fingerprint(reported) + "\n")
    write(records(row, outputs, progress.curve), folder.path)
    lease.check()
    folder.finish([*files, WEIGHTS_HASH, *TABLES])
    return _scalars(outputs, row)


@lru_cache(maxsize=2)
def _benchmark(name: str, manifest: str) -> Benchmark:
    benchmark = benchmarks.load(name)
    if benchmark.manifest != manifest:
        raise BadData(
            f"the benchmark {name} has the manifest {benchmark.manifest[:12]}, the cell was planned for "
            f"{manifest[:12]}; look at `gmixout data check {name}` and plan the study again"
        )
    return benchmark


@lru_cache(maxsize=2)
def _pretrained(backbone: str, pretrain_seed: int, device: str) -> nn.Module:
    return backbones.load(backbone, pretrain_seed).to(device).eval()


def _train(
    cell: CellSettings,
    benchmark: Benchmark,
    model: nn.Module,
    method: Method,
    folder: CellFolder,
    meter: Meter,
    checkpoint_every_s: float,
    device: str,
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
        Checkpointing(folder.path / CHECKPOINT, checkpoint_every_s, meter.should_stop),
        meter.step,
        device,
    )


def _write_arrays(folder: CellFolder, outputs: Outputs) -> list[str]:
    arrays: dict[str, npt.NDArray[Any]] = {f"logits/{name}": found for name, found in outputs.reported.items()}
    arrays |= {f"labels/{name}": labels for name, labels in outputs.labels.items()}
    for alpha, answers in outputs.wise.items():
        arrays |= {f"wise/{alpha:g}/{name}": found for name, found in answers.items()}
    write_atomically(folder.path / LOGITS, lambda file: file.write(safetensors.numpy.save(arrays)))
    if not outputs.members:
        return [LOGITS]
    members = {f"logits/{name}": np.stack([member[name] for member in outputs.members]) for name in outputs.members[0]}
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
