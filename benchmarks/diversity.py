"""What do all diversity measures of a large ensemble cost: seconds and peak memory, from memory and from files?

Made-up members of 20 x 10 000 x 1 000 logits in half precision, and their features, each case in a process of its own
whose largest resident memory is read; mapped files count there as far as they are in the page cache. The bar: all
measures within 60 s and 4 GB on two cores. ``cpu_s`` are seconds of processors, which other work on the machine does
not change much; ``wall_s`` are seconds on the clock.

    python benchmarks/diversity.py [--quick] [--threads N] [--out DIR]
"""

import argparse
import datetime
import multiprocessing
import os
import pathlib
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd

from analysis.diversity import diversity_scores, feature_diversity_score
from benchmarks import stored

QUESTION = "diversity"
SIZES = {"full": (20, 10_000, 1_000, 768), "quick": (3, 200, 10, 8)}
CASES = ("memory", "mapped", "features")


def main(arguments: Sequence[str] | None = None) -> pathlib.Path:
    """Measures every case and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny arrays: does the script run?")
    parser.add_argument("--threads", type=int, default=2, help="parts of the examples that are worked on at once")
    parser.add_argument("--out", type=pathlib.Path, help="directory of the CSV")
    options = parser.parse_args(arguments)
    out = options.out or (stored.QUICK_RESULTS if options.quick else stored.RESULTS)
    size = SIZES["quick" if options.quick else "full"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        alone(write_members, folder, size)
        for case in CASES:
            rows.append(alone(measure, case, folder, size, options.threads))
            print(f"[{QUESTION}] {rows[-1]}", flush=True)
    table = pd.DataFrame(rows).assign(**provenance())
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{QUESTION}-cpu.csv"
    table.to_csv(path, index=False, float_format="%.5g")
    print(f"[{QUESTION}] {len(table)} rows in {path}", flush=True)
    return path


def alone(work, *arguments):
    """Calls a function in a new process, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def write_members(folder: str, size: tuple[int, int, int, int]) -> None:
    """Members that share a signal and differ by noise, a file each; labels are the signal's."""
    members, examples, classes, width = size
    rng = np.random.default_rng(0)
    shared = 3.0 * rng.standard_normal((examples, classes), dtype=np.float32)
    np.save(f"{folder}/labels.npy", shared.argmax(axis=1))
    for member in range(members):
        noisy = shared + rng.standard_normal((examples, classes), dtype=np.float32)
        np.save(f"{folder}/logits-{member}.npy", noisy.astype(np.float16))
        np.save(f"{folder}/features-{member}.npy", rng.standard_normal((examples, width), dtype=np.float32))


def measure(case: str, folder: str, size: tuple[int, int, int, int], threads: int) -> dict[str, object]:
    """One row of the table."""
    kind = "features" if case == "features" else "logits"
    mode = None if case == "memory" else "r"
    arrays = [np.load(f"{folder}/{kind}-{member}.npy", mmap_mode=mode) for member in range(size[0])]
    labels = np.load(f"{folder}/labels.npy")
    began, cpu = time.perf_counter(), time.process_time()
    if case == "features":
        found = {"feature_diversity_score": feature_diversity_score(arrays)}
    else:
        found = diversity_scores(arrays, labels, threads=threads)
    return {
        "case": case, "members": size[0], "examples": size[1], "width": arrays[0].shape[1], "measures": len(found),
        "threads": threads, "wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "arrays_mb": sum(array.nbytes for array in arrays) / 2**20,
    }  # fmt: skip


def provenance() -> dict[str, object]:
    """Device, versions and date."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"device": f"{platform.machine()} CPU", "cores": os.cpu_count(), "numpy": np.__version__, "date": today}


if __name__ == "__main__":
    main()
