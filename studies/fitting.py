"""Whether a study's cells fit into the memory and onto the disk that are free; what to change where they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from studies.forecast import SLACK, Forecast
from studies.machine import spoken_bytes
from studies.settings import CellSettings, traits_of

FEWER = "run fewer --workers"


@dataclass(frozen=True)
class Place:
    """Memory of one kind.

    Attributes:
        name: What to call it.
        needed: Bytes at the worst moment, by a cell's identity.
        free: Bytes that each worker may take; None where they are not known.
        holds_models: Whether models are trained and evaluated there.
    """

    name: str
    needed: Mapping[str, int]
    free: int | None
    holds_models: bool


def places_of(found: Forecast, device: str, free: int, gpu_free: int | None) -> list[Place]:
    """The memories that a study needs.

    Args:
        found: The forecast.
        device: Where the study runs.
        free: Bytes of the machine's memory for each worker.
        gpu_free: Bytes of the GPU's memory for each worker; None where there is no GPU to ask.
    """
    if device == "cpu":
        return [Place("memory", found.host_bytes, free, holds_models=True)]
    gpu = Place("GPU memory", found.device_bytes, gpu_free, holds_models=True)
    return [gpu, Place("memory", found.host_bytes, free, holds_models=False)]


def memory_fact(place: Place, cells: Sequence[CellSettings]) -> str:
    """What the largest cell needs, and what there is."""
    largest = _largest(place, cells)
    there = "not known here" if place.free is None else f"{spoken_bytes(place.free)} free for each worker"
    return f"{place.name}: {spoken_bytes(place.needed[largest.identity])} at most, for {largest.label}; {there}"


def memory_problems(place: Place, cells: Sequence[CellSettings], found: Forecast) -> list[str]:
    """Which methods do not fit, each with what to change; the largest cell of a method stands for all."""
    if place.free is None:
        return []
    groups: dict[tuple[str, str], list[CellSettings]] = {}
    for cell in cells:
        groups.setdefault((cell.backbone, cell.listed_as), []).append(cell)
    problems = []
    for (backbone, method), own in groups.items():
        largest = _largest(place, own)
        needed = place.needed[largest.identity]
        if needed > place.free:
            problems.append(
                f"not enough {place.name}: {method} on {backbone} needs {spoken_bytes(needed)}, each worker has "
                f"{spoken_bytes(place.free)}; {_remedy(place, largest, found)}"
            )
    return problems


def disk_fact(found: Forecast, folder: Path, free: int) -> str:
    """What all cells leave on the disk, and what there is."""
    running = _running_bytes(found)
    needed = spoken_bytes(sum(found.disk_bytes.values()) + running)
    return f"disk: {needed}, of it {spoken_bytes(running)} while cells run; {spoken_bytes(free)} free at {folder}"


def disk_problems(found: Forecast, folder: Path, free: int) -> list[str]:
    """Whether all cells fit onto the disk."""
    needed = sum(found.disk_bytes.values()) + _running_bytes(found)
    if needed <= free:
        return []
    return [
        f"not enough room on the disk: {spoken_bytes(needed)} are needed at {folder}, {spoken_bytes(free)} are free; "
        "make room, choose another folder with --results, or ask for fewer evaluation.wise_alphas and members"
    ]


def _remedy(place: Place, cell: CellSettings, found: Forecast) -> str:
    need = found.needs.get((cell.backbone, cell.listed_as))
    if not place.holds_models or need is None:
        return f"{FEWER}, or ask for fewer evaluation.wise_alphas and members: all answers wait there to be written"
    assert place.free is not None
    others = place.needed[cell.identity] - int(SLACK * need.most)
    limit = int((place.free - others) / SLACK)
    if need.evaluating > limit:
        return (
            f"{FEWER}, ask for fewer evaluation.members, or choose a smaller backbone: while it is evaluated, the "
            f"model, its snapshots and the copies of its weights take {spoken_bytes(need.evaluating)}"
        )
    recompute = "set execution.activation_checkpointing: true"
    if traits_of(cell.method).couples_images:
        return f"{FEWER}, {recompute}, or a smaller batch_size: its loss compares a whole batch, which cannot be cut"
    part = need.largest_part(limit)
    if part == 0:
        return f"{FEWER}, or choose a smaller backbone: without any image it takes {spoken_bytes(need.fixed)}"
    return f"{FEWER}, set execution.micro_batch: {part} (it is {need.part}), or {recompute}"


def _largest(place: Place, cells: Sequence[CellSettings]) -> CellSettings:
    return max(cells, key=lambda cell: place.needed[cell.identity])


def _running_bytes(found: Forecast) -> int:
    return sum(sorted(found.checkpoint_bytes.values())[-found.workers :])
