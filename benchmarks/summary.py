"""The README's table of costs, from the stored CSVs: step time, state, what is saved for backward, peak, redraws.

python benchmarks/summary.py [--results DIR]
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import pandas as pd

from benchmarks import stored

HEADER = ("method", "step time", "state", "saved for backward", "peak", "redraws at k = 10")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table of the CPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=pathlib.Path, default=stored.RESULTS)
    print("\n".join(lines(parser.parse_args(arguments).results)))


def lines(results: pathlib.Path) -> list[str]:
    """Lines of Markdown: ratios to full fine-tuning, quartiles of the step time's, and redraws as a share of all time.

    Raises:
        ValueError: If nothing was measured on a CPU.
    """
    found = {question: stored.read(question, results).get("cpu") for question in ("step_time", "memory", "redraw")}
    steps, memory, redraws = found.values()
    if steps is None or memory is None or redraws is None:
        raise ValueError(f"{results} lacks measurements of a CPU; run make bench")
    steps = steps[steps["mode"].eq("eager")]
    table = steps.merge(memory, on=["backbone", "batch", "rival"], how="left", suffixes=("", "_memory"))
    shares = redraws[redraws["k"].eq(10)].set_index("rival")["share"]
    rows = [_row(row, shares) for row in table.to_dict("records")]
    return ["| " + " | ".join(cells) + " |" for cells in (HEADER, ("---",) * len(HEADER), *rows)]


def _row(row: dict[str, float], shares: pd.Series) -> tuple[str, ...]:
    megabytes = [(row[f"{name}_ratio"], row[f"{name}_mb"]) for name in ("state", "saved", "peak")]
    share = shares.get(row["rival"])
    return (
        str(row["label"]),
        f"{row['ratio']:.2f} ({row['ratio_q25']:.2f}–{row['ratio_q75']:.2f})",
        *(f"{ratio:.2f} ({size:.0f} MB)" if ratio == ratio else "–" for ratio, size in megabytes),
        "–" if share is None else f"{100 * share:.1f} %",
    )


if __name__ == "__main__":
    main()
