"""Answers every question on one device, in order, then draws the figures and judges the bars.

python -m benchmarks --device cpu|cuda [--quick] [--only QUESTION …] [--out DIR]
"""

import argparse
import pathlib
import sys
import time
import traceback
from collections.abc import Sequence

from benchmarks import (
    bars,
    figures,
    input_pipeline,
    kernels,
    memory,
    record,
    redraw,
    runner,
    scaling,
    step_time,
    stored,
)
from benchmarks.budget import spoken

QUESTIONS = {
    "step_time": step_time,
    "memory": memory,
    "redraw": redraw,
    "kernels": kernels,
    "scaling": scaling,
    "input_pipeline": input_pipeline,
    "runner": runner,
}
# Imports, figures and what a script takes beyond its time: at most one piece of its work.
_BESIDES_SECONDS = 45.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs everything; a question that fails does not stop the others.

    Returns:
        0, or 1 if a question failed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--quick", action="store_true", help="tiny networks and two rounds: do the scripts run?")
    parser.add_argument("--only", nargs="+", choices=list(QUESTIONS), default=list(QUESTIONS))
    parser.add_argument("--out", type=pathlib.Path, help="directory of the CSVs, the table and the figures")
    options = parser.parse_args(arguments)
    record.refuse_missing(options.device)
    out = options.out or (stored.QUICK_RESULTS if options.quick else stored.RESULTS)
    drawn = stored.FIGURES if out == stored.RESULTS else out / "figures"
    plan = "quick" if options.quick else options.device
    seconds = _BESIDES_SECONDS + sum(QUESTIONS[name].SECONDS[plan] for name in options.only)
    record.say("bench", f"{', '.join(options.only)}; takes at most about {spoken(seconds)}; CSVs go to {out}")
    if options.device == "cpu" and not options.quick:
        record.say("bench", "leave the machine alone meanwhile: ratios survive a shared core, times do not")
    began, failed = time.monotonic(), []
    shared = ["--device", options.device, "--out", str(out), *(["--quick"] if options.quick else [])]
    for name in options.only:
        started = time.monotonic()
        try:
            QUESTIONS[name].main(shared)
        except Exception as error:
            traceback.print_exc()
            failed.append(f"{name} ({type(error).__name__})")
        record.say("bench", f"{name}: {spoken(time.monotonic() - started)}")
    figures.main(["--results", str(out), "--out", str(drawn)])
    bars.main(["--results", str(out)])
    record.say("bench", f"done in {spoken(time.monotonic() - began)}" + _failures(failed))
    if not options.quick:
        record.say("bench", f"next: read {out / 'bars.md'}, look at {drawn}, and commit both with the CSVs")
    return 1 if failed else 0


def _failures(failed: list[str]) -> str:
    return f", but FAILED: {', '.join(failed)}" if failed else ""


if __name__ == "__main__":
    sys.exit(main())
