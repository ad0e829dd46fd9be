"""What do compilers make of the kernels: registers, spills, shared memory, tensor cores and width of accesses?

Every kernel is compiled for every target with no device, about a second each; a run that finds them in Triton's cache
takes seconds. A row a kernel and target; ``access_bytes`` are the sizes of a thread's accesses to global memory,
``doubles`` the instructions of arithmetic in float64. An empty cell was not compiled, and ``error`` says why.

    python benchmarks/kernel_compilation.py [--out DIR]
"""

import argparse
import dataclasses
import datetime
import pathlib
import sys
from collections.abc import Sequence

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import pandas as pd

from benchmarks import record, stored
from gmixout.kernels.compiling import KERNELS, TARGETS, compile_kernel
from gmixout.kernels.launch import INTERPRETED

QUESTION = "kernel_compilation"


def main(arguments: Sequence[str] | None = None) -> pathlib.Path:
    """Compiles everything and writes the table, one for all machines: what compilers say does not depend on them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=stored.RESULTS, help="directory of the CSV")
    options = parser.parse_args(arguments)
    if INTERPRETED:
        sys.exit("interpreted kernels cannot be compiled: unset TRITON_INTERPRET")
    rows = []
    for target in TARGETS:
        for name in KERNELS:
            record.progress(QUESTION, f"{target}: {name}")
            rows.append(row(name, target))
        record.say(QUESTION, f"{target}: {len(KERNELS)} kernels")
    table = pd.DataFrame(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{QUESTION}.csv"
    table.to_csv(path, index=False)
    print(table.drop(columns=["triton", "date"]).to_string(index=False))
    record.say(QUESTION, f"{len(table)} rows in {path}")
    return path


def row(name: str, target: str) -> dict[str, object]:
    """What became of one kernel."""
    compiled = compile_kernel(name, target)
    # How long it took depends on the machine and on Triton's cache.
    numbers = {field: value for field, value in dataclasses.asdict(compiled).items() if field != "seconds"}
    numbers["access_bytes"] = " ".join(map(str, compiled.access_bytes or ()))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"kernel": name, "target": target, **numbers, "triton": record.version("triton"), "date": today}


if __name__ == "__main__":
    main()
