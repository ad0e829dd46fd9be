"""`gmixout data`: which benchmarks there are, where their data is from, and whether it is intact. Needs no torch."""

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from studies import benchmarks
from studies.benchmarks.benchmark import Benchmark
from studies.benchmarks.census import Count, census
from studies.benchmarks.facts import SELECTION, Facts
from studies.benchmarks.files import FileBenchmark
from studies.benchmarks.pictures import unreadable
from studies.benchmarks.roots import VARIABLE, data_folder, is_there
from studies.settings import load_study

app = typer.Typer(no_args_is_help=True, help="Benchmarks: list them, look at them, check them.")

DATA = typer.Option(None, "--data", metavar="DIR", help=f"The data folder; by default ${VARIABLE}.")


@app.command("list")
def list_benchmarks(
    name: str = typer.Argument(None, metavar="[BENCHMARK]", help="One benchmark; all without a name."),
    data: Path = DATA,
    is_json: bool = typer.Option(False, "--json", help="Print JSON instead of text."),
) -> None:
    """List the benchmarks: splits, sizes, source, licence, what is expected where, and what is here.

    Example: gmixout data list
    """
    if name is not None and name not in benchmarks.FACTS:
        raise ValueError(f"unknown benchmark {name!r}; choose one of {', '.join(benchmarks.FACTS)}")
    chosen = [name] if name is not None else list(benchmarks.FACTS)
    if is_json:
        facts = [_facts(one, benchmarks.FACTS[one], data) for one in chosen]
        typer.echo(json.dumps(facts, indent=1))
        return
    console = Console()
    for one in chosen:
        for line in _lines(one, benchmarks.FACTS[one], data):
            _say(console, line)
    if data_folder(data) is None:
        _say(console, f"\nno data folder is named: give --data or set {VARIABLE} to the folder that holds the above")


@app.command("check")
def check(
    name: str = typer.Argument(
        None,
        metavar="[BENCHMARK|STUDY]",
        help="One benchmark, or a study's YAML file with folders of your own; all that are here without a name.",
    ),
    data: Path = DATA,
    has_images: bool = typer.Option(False, "--images", help="Also read every image file in full."),
    workers: int = typer.Option(2, "--workers", min=1, help="Processes that read images."),
    is_json: bool = typer.Option(False, "--json", help="Print JSON instead of text."),
) -> None:
    """Check a benchmark: counts, classes, missing and damaged files, overlaps between splits, its manifest.

    Examples:

        gmixout data check digits

        gmixout data check my-study.yaml --images
    """
    console = Console()
    if name is not None and Path(name).suffix in (".yaml", ".yml"):
        study = load_study(name)
        names = list(study.folders) or [study.benchmark]
    elif name is not None:
        names = [name]
    else:
        names = [one for one, facts in benchmarks.FACTS.items() if is_there(facts, data)]
    reports = []
    for chosen in names:
        benchmark = benchmarks.load(chosen, data)
        reports.append(examine(benchmark, Console(quiet=True) if is_json else console, has_images, workers))
    if is_json:
        typer.echo(json.dumps(reports, indent=1))
    raise typer.Exit(1 if any(report["problems"] for report in reports) else 0)


@app.command("draw")
def draw(
    name: str = typer.Argument("digits", metavar="[BENCHMARK]", help="Which benchmark."),
    out: Path = typer.Option(Path("digits-domains.png"), "--out", help="The PNG to write."),
) -> None:
    """Draw a picture of each class in every domain, and of every corruption, of an embedded benchmark.

    Example: gmixout data draw digits --out figures/digits-domains.png
    """
    from studies.benchmarks.digits import gallery

    if name in benchmarks.FACTS and not benchmarks.FACTS[name].is_embedded:
        raise ValueError(f"only the embedded benchmarks can be drawn, {name} is not one of them")
    gallery.draw(benchmarks.load(name), out)
    Console().print(f"drawn: {out}", highlight=False, soft_wrap=True)


def examine(benchmark: Benchmark, console: Console, has_images: bool = False, workers: int = 1) -> dict[str, Any]:
    """Checks a benchmark and prints what is found.

    Args:
        benchmark: One by name, or a user's own folders.
        console: Where to print.
        has_images: Whether to read every image file in full.
        workers: Processes that read images.

    Returns:
        Its name, ``problems``, ``manifest`` (empty if there are problems) and the images of each class by split.
    """
    unused = benchmark.facts.unused if isinstance(benchmark, FileBenchmark) else ()
    problems = list(benchmark.check())
    counts = _counts(benchmark, list(unused))
    if counts:
        console.print(_table(benchmark.name, counts))
    if has_images and isinstance(benchmark, FileBenchmark):
        problems += _read_images(benchmark, [count.split for count in counts], console, workers)
    for problem in problems:
        _say(console, f"{benchmark.name}: {problem}")
    manifest = ""
    if not problems:
        # Anew, since a file that was written over in place leaves what is remembered as it is.
        manifest = benchmark.fresh_manifest() if isinstance(benchmark, FileBenchmark) else benchmark.manifest
        _say(console, f"{benchmark.name}: all well, manifest {manifest[:16]}")
    splits = {count.split: count.counts.tolist() for count in counts}
    return {"benchmark": benchmark.name, "problems": problems, "manifest": manifest, "images_per_class": splits}


def _counts(benchmark: Benchmark, unused: list[str]) -> list[Count]:
    try:
        return census(benchmark, unused)
    except benchmarks.DataError:
        # Without classes nothing can be counted; the check has said why.
        return []


def _read_images(benchmark: FileBenchmark, splits: list[str], console: Console, workers: int) -> list[str]:
    problems = []
    listings = [benchmark.listing(split) for split in splits]
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("reading images", total=sum(map(len, listings)))
        for split, files in zip(splits, listings):
            progress.update(task, description=f"reading {split}")
            found = unreadable(files.folder, files.names, workers, lambda done: progress.advance(task, done))
            problems += [f"{split}: {problem}" for problem in found]
    return problems


def _table(name: str, counts: list[Count]) -> Table:
    table = Table(title=name)
    for column in ("split", "role", "images", "classes", "fewest", "median", "most", "classes by images"):
        table.add_column(column, justify="left" if column in ("split", "role") else "right", no_wrap=column == "split")
    for count in counts:
        held = sorted(count.counts.tolist())
        spread = ", ".join(f"{range_}: {amount}" for range_, amount in count.histogram().items())
        numbers = (count.images, sum(value > 0 for value in held), held[0], held[len(held) // 2], held[-1])
        table.add_row(count.split, count.role, *(_grouped(number) for number in numbers), spread)
    return table


def _lines(name: str, facts: Facts, data: Path | None) -> list[str]:
    parts = [f"{split} {_grouped(count)}" for split, count in facts.images.items()]
    lines = [f"{name}: {facts.title}"]
    if not facts.is_embedded:
        place = data_folder(data)
        lines.append(f"    here: {_state(facts, data)} ({place / facts.folder if place else f'DATA/{facts.folder}'})")
        lines.append(f"    from {facts.home}, {facts.gigabytes:g} GB; licence: {facts.licence}")
        lines.append(f"    expected in {facts.folder}/: {'; '.join(facts.layout)}")
        lines += [f"    get {address}" for address in facts.get]
        if facts.from_memory:
            lines.append(f"    stated from memory, not read from a source: {', '.join(facts.from_memory)}")
    lines.append(f"    {facts.classes} classes; {', '.join(parts)}")
    if facts.corruptions:
        lines.append(f"    {facts.corruptions} corruptions of id_test at 5 severities")
    lines += [f"    {split} asks for {count} of them" for split, count in facts.subsets.items()]
    lines.append(f"    score: {facts.metric}; choices see {SELECTION} only")
    lines += [f"    {split} enters no result: {why}" for split, why in facts.unused.items()]
    return lines


def _facts(name: str, facts: Facts, data: Path | None) -> dict[str, Any]:
    return {
        "benchmark": name,
        "title": facts.title,
        "state": _state(facts, data),
        "home": facts.home,
        "licence": facts.licence,
        "gigabytes": facts.gigabytes,
        "folder": facts.folder,
        "layout": list(facts.layout),
        "classes": facts.classes,
        "images": dict(facts.images),
        "ood": list(facts.ood),
        "corruptions": facts.corruptions,
        "subsets": dict(facts.subsets),
        "metric": facts.metric,
        "selection": SELECTION,
        "unused": dict(facts.unused),
        "get": list(facts.get),
        "from_memory": list(facts.from_memory),
    }


def _state(facts: Facts, data: Path | None) -> str:
    if facts.is_embedded:
        return "embedded"
    return "yes, unchecked" if is_there(facts, data) else "no"


def _grouped(number: int | None) -> str:
    return "as listed" if number is None else f"{number:,}".replace(",", " ")


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)
