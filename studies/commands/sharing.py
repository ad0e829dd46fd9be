"""`gmixout study export`, `merge` and `reproduce`: results given away, brought together, and run again."""

import json
import tempfile
from collections import Counter
from pathlib import Path

import typer
from rich.console import Console

from studies.commands.pretrain import pretrain
from studies.commands.saying import say
from studies.merge import Fate, Keep, merge
from studies.opened import Opened
from studies.reproduce import Compared, Stored, find_stored, reproduce
from studies.store import Store

SHOWN = 10


def export(opened: Opened, out: Path | None, has_logits: bool, has_figures: bool, console: Console) -> None:
    """Writes the study as one file and says what is in it."""
    from studies import export as exporting

    file = out if out is not None else Path(f"{opened.study.name}.zip")
    contents = exporting.export(opened, file, has_logits, has_figures)
    cells = ", ".join(f"{number} {state}" for state, number in contents["cells"].items())
    say(console, f"{file}: {len(contents['files'])} files, {file.stat().st_size / 2**20:.1f} MiB; cells: {cells}")
    say(console, f"records sha256:{contents['records_sha256']}")


def join(into: Path, sources: list[Path], keep: Keep | None, console: Console, is_json: bool) -> int:
    """Merges results folders; returns the exit code: 1 where something was refused or waits for a decision."""
    merged = merge(Store(into), [Store(source) for source in sources], keep)
    counts = Counter(one.fate for one in merged)
    told = [one for one in merged if one.why]
    if is_json:
        cells = [
            {"cell": one.cell, "from": str(one.source), "fate": one.fate.value, "why": one.why or None}
            for one in merged
        ]
        typer.echo(json.dumps({"into": str(into), "cells": cells}, indent=1))
    else:
        for one in told:
            say(console, f"{one.fate.value}: {one.cell} of {one.source}: {one.why}")
        say(
            console,
            f"{into}: {', '.join(f'{counts[fate]} {fate.value}' for fate in Fate if counts[fate]) or 'no cells'}",
        )
        if counts[Fate.CONFLICT]:
            say(console, "conflicts keep our result; decide with --keep ours or --keep theirs")
        if counts[Fate.TAKEN] or counts[Fate.REPLACED]:
            say(console, f"next: gmixout study run STUDY --results {into} writes its records, figures and tables")
    return 1 if counts[Fate.CONFLICT] or counts[Fate.REFUSED] or counts[Fate.BUSY] else 0


def again(
    start: str, results: Path | None, study: str | None, out: Path | None, device: str, console: Console, is_json: bool
) -> int:
    """Runs a stored cell again and tells how the results compare; returns 0 where they are equal, else 1."""
    if study is not None:
        from studies.settings import load_study

        # Makes its plugins' methods and its folders' benchmarks known.
        load_study(study)
    folders = [results] if results is not None else sorted(Path("results").glob("*"))
    stored = find_stored(start, folders)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) if out is None else out
        pretrain(Store(root), [stored.cell], Console(stderr=True))
        compared = reproduce(stored, root, device)
    if is_json:
        typer.echo(json.dumps(_facts(stored, compared), indent=1))
    else:
        _tell(stored, compared, console)
    return 0 if compared.is_equal else 1


def _facts(stored: Stored, compared: Compared) -> dict[str, object]:
    rows = compared.numbers.astype(object).where(compared.numbers.notna(), None).to_dict("records")
    return {
        "cell": stored.cell.identity,
        "is_equal": compared.is_equal,
        "differing_files": compared.differing_files,
        "numbers": rows,
        "versions": {name: {"then": then, "now": now} for name, (then, now) in compared.versions.items()},
    }


def _tell(stored: Stored, compared: Compared, console: Console) -> None:
    say(console, f"cell {stored.cell.identity}: {stored.cell.label}")
    for name, (then, now) in compared.versions.items():
        say(console, f"  {name}: then {then}, now {now}")
    if compared.is_equal:
        what = (
            "every number is equal"
            if compared.differing_files is None
            else "weights, logits and numbers are equal bit for bit"
        )
        say(console, f"reproduced: {what}")
        return
    if compared.differing_files:
        say(console, f"not bit-equal: {', '.join(compared.differing_files)}")
    count = len(stored.records.metrics)
    say(console, f"{len(compared.numbers)} of {count} numbers differ; the largest differences:")
    for row in compared.numbers.head(SHOWN).to_dict("records"):
        where = f"{row['weights']} {row['split']}".strip()
        say(console, f"  {where} {row['metric']}: {row['one']:.6g} then, now {row['difference']:+.3g}")
