"""`gmixout data`: which benchmarks there are, what they look like, and whether they are intact. Needs no torch."""

import json
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from studies import benchmarks

app = typer.Typer(no_args_is_help=True, help="Benchmarks: list them, look at them, check them.")


@app.command("list")
def list_benchmarks(
    is_json: bool = typer.Option(False, "--json", help="Print JSON instead of a table."),
) -> None:
    """List the benchmarks with their splits and sizes.

    Example: gmixout data list
    """
    facts = []
    for name in benchmarks.BENCHMARKS:
        benchmark = benchmarks.load(name)
        sizes = {split: len(benchmark.load(split).labels) for split in ("train", "id_val", "id_test")}
        facts.append({
            "benchmark": name,
            "classes": len(benchmark.classes),
            **sizes,
            "ood": [split.removeprefix("ood/") for split in benchmark.ood_splits],
            "corruptions": len(benchmark.corruption_splits),
        })  # fmt: skip
    if is_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    table = Table(title="benchmarks")
    for column in facts[0]:
        table.add_column(column)
    for fact in facts:
        table.add_row(*(", ".join(value) if isinstance(value, list) else str(value) for value in fact.values()))
    Console().print(table)


@app.command("check")
def check(name: str = typer.Argument(None, metavar="[BENCHMARK]", help="One benchmark; all without a name.")) -> None:
    """Render every split and check it: hashes, labels, and that no source is shared between splits.

    Example: gmixout data check digits
    """
    console = Console()
    faults = 0
    for chosen in [name] if name else list(benchmarks.BENCHMARKS):
        benchmark = benchmarks.load(chosen)
        problems = benchmark.check()
        faults += len(problems)
        for problem in problems:
            console.print(f"{chosen}: {problem}", highlight=False, soft_wrap=True, markup=False)
        if not problems:
            console.print(f"{chosen}: all well, manifest {benchmark.manifest[:16]}", highlight=False)
    raise typer.Exit(1 if faults else 0)


@app.command("draw")
def draw(
    name: str = typer.Argument("digits", metavar="[BENCHMARK]", help="Which benchmark."),
    out: Path = typer.Option(Path("digits-domains.png"), "--out", help="The PNG to write."),
) -> None:
    """Draw a picture of each class in every domain, and of every corruption.

    Example: gmixout data draw digits --out figures/digits-domains.png
    """
    from studies.benchmarks.digits import gallery

    gallery.draw(benchmarks.load(name), out)
    Console().print(f"drawn: {out}", highlight=False, soft_wrap=True)
