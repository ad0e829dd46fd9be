"""The `gmixout` command line. It imports torch only to train."""

import logging
import sys
from pathlib import Path

import typer
from rich.console import Console

from studies.commands import data, study
from studies.commands.doctor import doctor
from studies.commands.show_backbone import show_backbone
from studies.failures import is_disk_full
from studies.opened import open_study
from studies.settings import StudyError
from studies.store import ResultsError

BAD_INPUT = 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="""Stochastic weight masking for robust fine-tuning, and the studies that show when it acts as an ensemble.

    Begin with:

        gmixout doctor                    is this machine ready?

        gmixout study run smoke           a small study, in seconds

        gmixout study plan levers-quick   what would the main study do, and how long?

        gmixout study run levers-quick    run it; stop with Ctrl-C, go on with the same command

        gmixout study show levers-quick   its summary with intervals

        gmixout study methods             every rival method, and what it can be set to

        gmixout study run rivals-quick    all of them on equal terms

        gmixout show clip-vit-b16         a backbone, and which of its tensors are masked

        gmixout dashboard levers-quick    its cells and figures in the browser

        gmixout figures results/levers-quick/records --out figures

        gmixout tables results/levers-quick/records --out tables

        gmixout report levers-quick       all of it as one HTML page
    """,
)
RECORDS = typer.Argument(
    ..., metavar="RECORDS", help="A folder of records, or a results folder; with --map a .csv, .tsv or .jsonl table."
)
MAP = typer.Option(
    None, "--map", metavar="FILE", help="YAML or JSON that says what the columns of a foreign table are."
)

app.add_typer(study.app, name="study")
app.add_typer(data.app, name="data")
app.command()(doctor)
app.command("show")(show_backbone)


@app.callback()
def root(debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error.")) -> None:
    """Stochastic weight masking, and its studies."""
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, format="%(message)s")


@app.command()
def figures(
    records: Path = RECORDS,
    out: Path = typer.Option(Path("figures"), "--out", help="Where the figures go, or lie."),
    is_check: bool = typer.Option(
        False, "--check", help="Draw nothing: compare the data behind stored figures with the records."
    ),
    column_map: Path | None = MAP,
) -> None:
    """Draw all figures from stored records: PNG, SVG, a caption, and the numbers behind each as CSV. Needs no torch.

    With --check nothing is written: figures whose stored numbers differ from the records are named with the rows that
    differ, and the exit code is 1.

    Examples:

        gmixout figures results/levers-quick/records --out figures

        gmixout figures figures/rivals/records --out figures/rivals --check

        gmixout figures published.csv --map columns.yaml --out figures
    """
    from studies.commands import figures as drawing

    if is_check:
        raise typer.Exit(drawing.check(records, out, Console(), column_map))
    drawing.figures(records, out, Console(), column_map)


@app.command()
def tables(
    records: Path = RECORDS,
    out: Path = typer.Option(Path("tables"), "--out", help="Where the tables go."),
    column_map: Path | None = MAP,
) -> None:
    """Write all tables from stored records: Markdown, LaTeX, and CSV in full precision. Needs no torch.

    Methods with intervals, paired differences with Holm's correction, costs, implicit ensembles, effects of levers,
    granularities, one run against many.

    Examples:

        gmixout tables results/rivals/records --out tables

        gmixout tables published.csv --map columns.yaml --out tables
    """
    from studies.commands import tables as writing

    writing.tables(records, out, Console(), column_map)


@app.command()
def report(
    study: str = typer.Argument(..., metavar="STUDY", help="A preset, a YAML file, or a folder of records."),
    results: Path | None = typer.Option(None, "--results", help="Results folder.  [default: results/<name>]"),
    out: Path | None = typer.Option(None, "--out", help="The file.  [default: report.html beside the results]"),
    column_map: Path | None = MAP,
) -> None:
    """Write one self-contained HTML page: findings with their tests, figures, tables, settings, provenance.

    Needs no torch, and the page needs no network.

    Examples:

        gmixout report levers-quick

        gmixout report figures/rivals/records --out rivals.html
    """
    from studies.commands import report as writing

    writing.report(study, results, out, Console(), column_map)


@app.command()
def dashboard(
    name: str = study.STUDY,
    results: Path | None = study.RESULTS,
    port: int = typer.Option(8080, "--port", min=1, max=65535, help="Port on 127.0.0.1."),
) -> None:
    """Open a study in optuna-dashboard: settings, scores, curves, notes and figures, on this machine alone.

    Example: gmixout dashboard levers-quick
    """
    from studies.commands import dashboard as showing

    showing.dashboard(open_study(name, results), port, Console())


def main() -> None:
    """Runs the command line; an error is one clear line and exit code 2, or a traceback under --debug."""
    # Allowed in any place, since one thinks of it only after an error.
    is_debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(args=["--debug", *arguments] if is_debug else arguments, prog_name="gmixout")
    except KeyboardInterrupt:
        _say("stopped; go on with the same command")
        sys.exit(130)
    except Exception as error:
        if is_debug:
            raise
        sys.exit(_explain(error))


def _explain(error: Exception) -> int:
    if is_disk_full(error):
        _say(f"error: the disk is full or read-only ({error}); all that is finished is kept; make room and go on")
    elif isinstance(error, ModuleNotFoundError):
        _say(f"error: this command needs {error.name}, which is not installed; run make setup")
    elif isinstance(error, StudyError | ResultsError | ValueError | OSError):
        _say(f"error: {error}")
    else:
        _say(f"error: {type(error).__name__}: {error} (a fault of ours; --debug shows where)")
        return 1
    return BAD_INPUT


def _say(line: str) -> None:
    Console(stderr=True).print(line, highlight=False, soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
