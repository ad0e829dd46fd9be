"""`gmixout study`: the command line of studies, from plan to export."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer
from rich.console import Console

from studies.opened import Opened, open_study

if TYPE_CHECKING:
    from studies.commands.run import Choices

app = typer.Typer(
    no_args_is_help=True,
    help="Studies: each is one YAML file. STUDY is the name of a preset (smoke, levers-quick, levers-full, "
    "granularity, ensemble, anatomy, long-tail, rivals-quick, rivals, search-smoke, search-levers; with the field's "
    "data: domainnet, iwildcam, imagenet, imagenet-lt, cifar100c) or a path.",
)

STUDY = typer.Argument(..., metavar="STUDY", help="Name of a preset, or path of a YAML file.")
RESULTS = typer.Option(None, "--results", help="Results folder.  [default: results/<name of the study>]")
WORKERS = typer.Option(
    None, "--workers", min=1, help="Worker processes, one thread each.  [default: every core; on a GPU 1]"
)
Engines = Literal["local", "ray", "slurm"]
DATA = typer.Option(
    None,
    "--data",
    metavar="DIR",
    callback=lambda folder: use_folder("GMIXOUT_DATA", folder),
    help="The folder with the benchmarks' folders.  [default: $GMIXOUT_DATA]",
)
WEIGHTS = typer.Option(
    None,
    "--weights",
    metavar="DIR",
    callback=lambda folder: use_folder("GMIXOUT_WEIGHTS", folder),
    help="The folder with published weights.  [default: $GMIXOUT_WEIGHTS]",
)
GPUS = typer.Option("", "--gpus", metavar="0,1,…", help="GPUs to use, a worker on each.  [default: as the study says]")
STORAGE = typer.Option(
    None,
    "--storage",
    metavar="URL",
    help="Database that keeps the plan, postgresql://user@host/name; other users can read a command line, so a "
    "password belongs into $GMIXOUT_STORAGE.  [default: $GMIXOUT_STORAGE, or a journal file in the results folder]",
)
ENGINE = typer.Option(
    "local",
    "--engine",
    help="What carries the workers: processes of this machine, tasks of a Ray cluster (--workers: cells that are with "
    "Ray at once), or jobs of SLURM (--workers: jobs); what a cell needs stands in the study, as execution: cpus, "
    "gpus, memory_gb, ray, slurm.",
)
ADDRESS = typer.Option(
    None,
    "--address",
    metavar="HOST:PORT",
    help="A Ray cluster that this machine is part of, or auto.  [default: one of this machine alone]",
)
JSON = typer.Option(False, "--json", help="Print JSON instead of a table.")


@app.command()
def plan(
    study: str = STUDY,
    results: Path | None = RESULTS,
    workers: int | None = WORKERS,
    data: Path | None = DATA,
    weights: Path | None = WEIGHTS,
    has_forecast: bool = typer.Option(True, "--forecast/--no-forecast", help="Time a few steps to forecast the rest."),
    is_json: bool = JSON,
) -> None:
    """Show what a study consists of, what is done, and how long the rest takes on this machine. Runs nothing.

    Example: gmixout study plan levers-quick
    """
    from studies.commands import state

    opened = open_study(study, results)
    state.plan(opened, workers or _workers(opened), Console(), is_json, has_forecast)


@app.command()
def run(
    study: str = STUDY,
    results: Path | None = RESULTS,
    workers: int | None = WORKERS,
    data: Path | None = DATA,
    weights: Path | None = WEIGHTS,
    retry: list[str] = typer.Option(
        [], "--retry", help="Also try failures of this kind again (diverged, bad_data, disk_full, code_error, all)."
    ),
    has_figures: bool = typer.Option(True, "--figures/--no-figures", help="Draw the figures at the end."),
    gpus: str = GPUS,
    storage: str | None = STORAGE,
    engine: Engines = ENGINE,
    address: str | None = ADDRESS,
    is_dry: bool = typer.Option(
        False, "--dry-run", help="Start nothing: check data, weights, memory and disk, and forecast the hours."
    ),
) -> None:
    """Run every cell of a study that is not done yet, then write records, draw figures and print the summary.

    It can be stopped (Ctrl-C) or killed at any moment; the same command goes on where it was. Each worker process has
    a cell at a time and writes into a log of its own, under logs/ in the results folder.

    Examples:

        gmixout study run smoke

        gmixout study run levers-full --workers 2

        gmixout study run levers-full --gpus 0,1

        gmixout study run levers-full --engine ray --address auto

        gmixout study run levers-full --engine slurm --workers 32

        gmixout study run my-study.yaml --results /data/my-study --retry code_error

        gmixout study run imagenet --data /data --weights /weights --dry-run
    """
    opened = open_study(study, results)
    choices = _choices(opened, workers, retry, has_figures, gpus, storage, engine, address)
    if is_dry:
        from studies.commands.dry_run import dry_run

        raise typer.Exit(dry_run(opened, choices.workers, Console(), max(1, len(choices.gpus))))
    from studies.commands.run import run as run_study

    raise typer.Exit(run_study(opened, choices, Console()))


@app.command()
def work(
    study: str = STUDY,
    storage: str | None = STORAGE,
    results: Path | None = RESULTS,
    workers: int | None = WORKERS,
    gpus: str = GPUS,
    data: Path | None = DATA,
    weights: Path | None = WEIGHTS,
    retry: list[str] = typer.Option([], "--retry", help="Also try failures of this kind again."),
) -> None:
    """Work on a study together with other machines, whose plan is in a database. Start it on each of them.

    Results go to a folder that all machines share, or to one of each machine's own, to be merged in the end.

    Examples:

        gmixout study work rivals --storage postgresql://lab@db.example/studies --results /shared/rivals

        GMIXOUT_STORAGE=postgresql://lab:secret@db.example/studies gmixout study work rivals --gpus 0,1
    """
    from studies.commands.run import join

    opened = open_study(study, results)
    choices = _choices(opened, workers, retry, False, gpus, storage)
    if choices.storage is None:
        raise typer.BadParameter("machines meet in a database: give --storage postgresql://…, or set $GMIXOUT_STORAGE")
    raise typer.Exit(join(opened, choices, Console()))


@app.command()
def status(
    study: str = STUDY,
    results: Path | None = RESULTS,
    data: Path | None = DATA,
    is_live: bool = typer.Option(False, "--live", help="Show it again and again until every cell is over."),
    every_s: float = typer.Option(2.0, "--every", min=0.1, help="Seconds between two looks."),
    is_json: bool = JSON,
) -> None:
    """Show how many cells are done, running, failed and missing, also by lever; each failure with its log's last lines.

    Examples:

        gmixout study status levers-quick

        gmixout study status levers-full --live
    """
    from studies.commands import state

    opened = open_study(study, results)
    if is_live and not is_json:
        state.watch(opened, Console(), every_s)
    else:
        state.status(opened, Console(), is_json)


@app.command()
def retry(
    study: str = STUDY,
    kind: list[str] = typer.Option(
        ...,
        "--kind",
        help="Kind of failure (preempted, out_of_memory, diverged, bad_data, disk_full, code_error, all), or damaged: "
        "finished cells whose files were damaged are set aside.",
    ),
    results: Path | None = RESULTS,
    data: Path | None = DATA,
    storage: str | None = STORAGE,
) -> None:
    """Let cells that failed be tried again by the next run; what they had saved is kept.

    With a database they are put back into its queue; where machines have results folders of their own, do so on each.

    Examples:

        gmixout study retry levers-quick --kind code_error

        gmixout study retry levers-quick --kind damaged
    """
    from studies.commands import failed
    from studies.storage import storage_url

    own = (failed.DAMAGED,) if failed.DAMAGED in kind else ()
    kinds = _kinds([one for one in kind if one not in own])
    failed.retry(open_study(study, results), (*kinds, *own), Console(), storage_url(storage))


@app.command()
def methods(is_json: bool = JSON) -> None:
    """List every method that a study can name, its settings with their defaults, and what training can add.

    Example: gmixout study methods
    """
    from studies.commands import methods as listing

    listing.methods(Console(), is_json)


@app.command()
def show(
    name: str = typer.Argument(..., metavar="CELL|STUDY", help="The first digits of a cell's identity, or a study."),
    results: Path | None = RESULTS,
    is_json: bool = JSON,
) -> None:
    """Show one cell's settings and numbers, or a study's summary with intervals.

    Examples:

        gmixout study show levers-quick

        gmixout study show 3f9c
    """
    from studies.commands import show as showing

    showing.show(name, results, Console(), is_json)


@app.command()
def decompose(
    study: str = STUDY,
    results: Path | None = RESULTS,
    out: Path | None = typer.Option(None, "--out", help="The CSV.  [default: decomposition.csv in the results folder]"),
    over: str = typer.Option("seeds", "--over", help="What intervals are over: seeds, examples or both."),
) -> None:
    """Write bias, variance and covariance of every setting's members, over its runs, as CSV.

    Example: gmixout study decompose levers-quick
    """
    from analysis.decomposition import OVER
    from studies.commands import decompose as decomposing

    if over not in OVER:
        raise typer.BadParameter(f"--over must be one of {', '.join(OVER)}, got {over!r}")
    decomposing.decompose(open_study(study, results), out, over, Console())


@app.command()
def importances(study: str = STUDY, results: Path | None = RESULTS, is_json: bool = JSON) -> None:
    """Show how much each setting matters: fANOVA and analysis of variance side by side, each with its warning.

    Example: gmixout study importances levers-quick
    """
    from studies.commands import importances as showing
    from studies.commands.show import read_results

    showing.show(read_results(study, results), Console(), is_json)


@app.command()
def export(
    study: str = STUDY,
    results: Path | None = RESULTS,
    out: Path | None = typer.Option(
        None, "--out", metavar="FILE", help="The file.  [default: <name of the study>.zip]"
    ),
    has_logits: bool = typer.Option(False, "--logits", help="Also the logits of every cell: by far the largest part."),
    has_figures: bool = typer.Option(True, "--figures/--no-figures", help="Draw the figures of what is exported."),
) -> None:
    """Write a study as one zip file: settings, records, figures, tables, versions, and on request logits.

    Examples:

        gmixout study export levers-quick

        gmixout study export levers-quick --logits --out levers.zip
    """
    from studies.commands import sharing

    sharing.export(open_study(study, results), out, has_logits, has_figures, Console())


@app.command()
def merge(
    into: Path = typer.Argument(..., metavar="INTO", help="The results folder that cells are copied to."),
    sources: list[Path] = typer.Argument(..., metavar="FROM...", help="Results folders that they come from."),
    keep: Literal["ours", "theirs"] | None = typer.Option(
        None, "--keep", help="Which result stays where both have a different one.  [default: ours, and exit code 1]"
    ),
    is_json: bool = JSON,
) -> None:
    """Join results of several machines by the cells' hashes: finished cells are copied, different results are told.

    Example: gmixout study merge results/levers-full /mnt/a/levers-full /mnt/b/levers-full
    """
    from studies.commands import sharing

    raise typer.Exit(sharing.join(into, sources, keep, Console(), is_json))


@app.command()
def reproduce(
    cell: str = typer.Argument(..., metavar="CELL", help="The first digits of a cell's identity."),
    results: Path | None = typer.Option(
        None, "--results", help="Results folder, or a folder of records.  [default: every folder in results]"
    ),
    study: str | None = typer.Option(None, "--study", help="The study, if it has methods or images of its own."),
    out: Path | None = typer.Option(None, "--out", help="Keep the new result in this results folder."),
    device: Literal["cpu", "cuda"] = typer.Option("cpu", "--device", help="Where to run."),
    data: Path | None = DATA,
    weights: Path | None = WEIGHTS,
    is_json: bool = JSON,
) -> None:
    """Run one finished cell again from its record and compare: bit for bit, number by number, version by version.

    Examples:

        gmixout study reproduce 3f9c

        gmixout study reproduce 3f9c --results figures/levers-quick/records
    """
    from studies.commands import sharing

    raise typer.Exit(sharing.again(cell, results, study, out, device, Console(), is_json))


def use_folder(variable: str, folder: Path | None) -> Path | None:
    """Makes a folder this process's and its workers', wherever they look: the variable is inherited."""
    if folder is not None:
        os.environ[variable] = str(folder.resolve())
    return folder


def _workers(opened: Opened) -> int:
    from studies.commands.doctor import cores

    # Workers would share the GPU's memory, and its time as well as one of them fills it.
    return 1 if opened.study.execution.device == "cuda" else cores()


def _choices(
    opened: Opened,
    workers: int | None,
    retry: list[str],
    has_figures: bool,
    gpus: str,
    storage: str | None,
    engine: Engines = "local",
    address: str | None = None,
) -> "Choices":
    from studies.commands.run import Choices
    from studies.storage import storage_url

    named = tuple(gpus.split(",")) if gpus else ()
    places = {"ray": opened.study.execution.ray.submitted, "slurm": opened.study.execution.slurm.jobs}
    several = workers or places.get(engine) or len(named) or _workers(opened)
    return Choices(several, _kinds(retry), has_figures, named, storage_url(storage), engine, address)


def _kinds(retry: list[str]) -> tuple[str, ...]:
    from studies.failures import KINDS

    if unknown := [kind for kind in retry if kind not in (*KINDS, "all")]:
        raise typer.BadParameter(f"unknown kind {unknown[0]!r}; allowed: {', '.join(KINDS)}, all")
    return tuple(KINDS) if "all" in retry else tuple(retry)
