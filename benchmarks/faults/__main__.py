"""Breaks everything once, in earnest, and writes what came of it: `python -m benchmarks.faults`; takes half an hour."""

import argparse
import csv
import datetime
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.faults import scenarios
from benchmarks.faults.postgres import MissingPostgres, Postgres, postgres
from benchmarks.faults.scenarios import NotHere, Outcome

OUT = Path(__file__).resolve().parents[1] / "results" / "faults.csv"

SCENARIOS: dict[str, tuple[str, Callable[[Path, Postgres], Outcome]]] = {
    "killed_workers": ("SIGKILL of random workers and runs", lambda folder, server: scenarios.killed_workers(folder)),
    "terminated": ("SIGTERM to a whole run", lambda folder, server: scenarios.terminated(folder)),
    "raced": ("processes race for a lease", lambda folder, server: scenarios.raced(folder)),
    "raced_in_database": ("machines race for a claim", lambda folder, server: scenarios.raced_in_database(server)),
    "killed_machines": ("SIGKILL of workers and machines on a database", scenarios.killed_machines),
    "restarted_database": ("database crashes and comes back", scenarios.restarted_database),
    "unreachable_database": ("database away for a minute", scenarios.unreachable_database),
    "full_disk": ("disk runs full", lambda folder, server: scenarios.full_disk(folder)),
    "read_only_disk": ("results folder becomes read-only", lambda folder, server: scenarios.read_only_disk(folder)),
    "jumping_clock": ("clock jumps by a day", lambda folder, server: scenarios.jumping_clock(folder)),
    "killed_ray_nodes": (
        "SIGKILL of a Ray cluster's nodes",
        lambda folder, server: scenarios.killed_ray_nodes(folder),
    ),
    "torn_files": ("torn results, markers and leases", lambda folder, server: scenarios.torn_files(folder)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the scenarios; 0 where nothing was wrong after any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS), help=", ".join(SCENARIOS))
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args(arguments)
    rows = []
    for name in chosen.scenarios:
        meaning, run = SCENARIOS[name]
        began = time.monotonic()
        try:
            # Each its own server: a queue of before would be no undisturbed start.
            with tempfile.TemporaryDirectory(prefix="gmixout-faults-") as folder, postgres() as server:
                found = run(Path(folder), server)
        except (MissingPostgres, NotHere) as missing:
            print(f"{name}: left out: {missing}", flush=True)
            continue
        rows.append(
            {
                "scenario": name,
                "what": meaning,
                "faults": found.faults,
                "cells": found.cells,
                "wrong": len(found.wrong),
                "longest_s": "" if found.seconds is None else f"{found.seconds:.1f}",
                "took_s": f"{time.monotonic() - began:.0f}",
                "date": datetime.date.today().isoformat(),
                "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
            }
        )
        print(f"{name}: {found.faults} faults, {found.cells} cells, {found.wrong or 'all well'}", flush=True)
        with open(chosen.out, "w", newline="") as file:
            table = csv.DictWriter(file, fieldnames=list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    return int(any(row["wrong"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
