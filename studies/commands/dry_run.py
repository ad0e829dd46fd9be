"""`gmixout study run --dry-run`: is everything here, does it fit, how long would it take? Nothing is started."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from studies import fitting, readiness
from studies.failures import Impossible
from studies.forecast import Forecast, forecast
from studies.machine import free_disk, free_gpu_memory, free_memory, spoken_bytes
from studies.opened import Opened
from studies.progress import spoken
from studies.reading_rate import read_seconds
from studies.settings import CellSettings, Execution, traits_of
from studies.sizes import Sizes


@dataclass
class Report:
    """What was found.

    Attributes:
        facts: Lines that say what is there and what it takes.
        problems: What keeps the study from running, each one sentence with what to do.
        cells: Cells that would run.
        found: The forecast, if there can be one.
    """

    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    cells: tuple[CellSettings, ...] = ()
    found: Forecast | None = None


def dry_run(opened: Opened, workers: int, console: Console, gpus: int = 1) -> int:
    """Prints the report; returns the exit code: 0 if the study can run, 1 if something is missing or does not fit."""
    _say(console, f"study {opened.study.name}: a dry run, nothing is started")
    _say(
        console,
        "looking at files, then timing a step of every kind of method: for a ViT-B/16 a minute or two of a core",
    )
    report = examine(opened, workers, gpus)
    for line in report.facts:
        _say(console, f"  {line}")
    if report.found is not None:
        console.print(_table(report, report.found))
    for number, problem in enumerate(report.problems, 1):
        _say(console, f"problem {number}: {problem}")
    again = f"gmixout study run {opened.arguments}"
    count = len(report.problems)
    kept = f"{count} problem{'s' if count > 1 else ''} to mend, then look again: {again} --dry-run"
    _say(console, kept if report.problems else f"all is here and fits; run it: {again}")
    return 1 if report.problems else 0


def examine(opened: Opened, workers: int, gpus: int = 1) -> Report:
    """Looks at data, weights, device and classes, then forecasts memory, disk and hours of what is yet to run.

    Whatever is missing, the rest is examined all the same: with the sizes that the benchmark's publisher states, with
    fresh weights, and on this machine's CPU.

    Args:
        opened: The study.
        workers: Processes that would share the cells.
        gpus: GPUs that these would share, where the study wants one.
    """
    study, report = opened.study, Report()
    sizes, report.problems = readiness.look_at_data(study.benchmark)
    report.problems += readiness.wrong_results(opened.store)
    report.problems += readiness.wrong_weights(study)
    no_device = readiness.wrong_device(study.execution)
    report.problems += no_device
    if sizes is None:
        report.facts.append(f"data: {study.benchmark} is not here, and without its sizes there is no forecast")
        return report
    report.facts.append(_of_data(sizes))
    report.facts += readiness.same_names(study, sizes)
    no_classes = readiness.wrong_classes(study, sizes)
    report.problems += no_classes
    cells = study.cells(sizes.manifest)
    report.cells = tuple(cell for cell in cells if not sizes.is_here or opened.folder(cell).may_run())
    report.facts.append(f"cells: {len(report.cells)} of {len(cells)} to run, by {_workers(workers)}")
    report.facts += study.skipped()
    if report.cells and not no_classes:
        _forecast(opened, workers, gpus, sizes, report, "cpu" if no_device else study.execution.device)
    return report


def _forecast(opened: Opened, workers: int, gpus: int, sizes: Sizes, report: Report, device: str) -> None:
    execution, cells = opened.study.execution, report.cells
    name = opened.study.benchmark if sizes.is_here else None
    read_s = read_seconds(name, opened.study.backbones[0], sizes, execution.reading(workers))
    try:
        found = forecast(cells, workers, sizes, device, execution.engine(), read_s, execution.device)
    except Impossible as error:
        report.problems.append(str(error))
        return
    report.found = found
    report.problems += [
        f"{method}: one step at its batch size ran out of memory ({why}); set execution.micro_batch to fewer images, "
        "or execution.activation_checkpointing: true"
        for method, why in found.too_large.items()
    ]
    shared = min(workers, len(cells))
    has_gpu = device == "cuda"
    gpu_free = free_gpu_memory() // -(-shared // gpus) if has_gpu else None
    for place in fitting.places_of(found, execution.device, free_memory() // shared, gpu_free):
        report.facts.append(fitting.memory_fact(place, cells))
        report.problems += fitting.memory_problems(place, cells, found)
    folder = opened.store.root
    report.facts.append(fitting.disk_fact(found, folder, free_disk(folder)))
    report.problems += fitting.disk_problems(found, folder, free_disk(folder))
    report.facts += _of_time(found, execution, has_gpu, workers, read_s)
    report.facts += _inexact(cells)


def _of_time(found: Forecast, execution: Execution, has_gpu: bool, workers: int, read_s: float) -> list[str]:
    besides = (
        f"reading takes {1000 * read_s:.2g} ms an image, beside computing; pretraining and text heads are not counted"
    )
    taken = f"{spoken(found.wall_s)} by {_workers(workers)}"
    if has_gpu or execution.device == "cpu":
        return [f"time: {taken}, measured on this {'GPU' if has_gpu else 'CPU'}; {besides}"]
    return [
        f"time: not known, since no GPU is here to be asked; this CPU would take {taken}, which says little of a GPU; "
        f"{besides}"
    ]


def _inexact(cells: Sequence[CellSettings]) -> list[str]:
    """What the forecast is less sure of."""
    coupled = sorted({cell.method for cell in cells if traits_of(cell.method).couples_images})
    keeping = sorted({cell.method for cell in cells if traits_of(cell.method).keeps_validations})
    facts = []
    if coupled:
        facts.append(f"less exact: {', '.join(coupled)}, extended along a line from steps of two small batches")
    if keeping:
        facts.append(
            f"at most: {', '.join(keeping)}, since weights of every look at ID validation count; most runs keep fewer"
        )
    return facts


def _of_data(sizes: Sizes) -> str:
    images = sum(sizes.images.values())
    if sizes.is_here:
        return f"data: {sizes.benchmark}, {images} images in {len(sizes.images)} splits, manifest {sizes.manifest[:16]}"
    unknown = f"; {', '.join(sizes.unknown)} not counted, since nobody states their sizes" if sizes.unknown else ""
    return (
        f"data: {sizes.benchmark} is not here or not whole; the forecast is for its published {images} images{unknown}"
    )


def _table(report: Report, found: Forecast) -> Table:
    table = Table(title=f"per method, measured on {found.device}")
    for name in ("method", "cells", "time of one worker", "memory for a model", "disk"):
        table.add_column(name, justify="left" if name == "method" else "right", overflow="fold")
    groups: dict[str, list[str]] = defaultdict(list)
    for cell in report.cells:
        groups[f"{cell.listed_as} (for pools)" if cell.is_ingredient else cell.listed_as].append(cell.identity)
    for method, identities in groups.items():
        table.add_row(
            method,
            str(len(identities)),
            spoken(sum(found.seconds[one] for one in identities)),
            spoken_bytes(max(found.device_bytes[one] for one in identities)),
            spoken_bytes(sum(found.disk_bytes[one] for one in identities)),
        )
    return table


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)
