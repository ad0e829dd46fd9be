"""Which of the project's bars are met? Compares the stored CSVs with them and writes a Markdown table.

A bar that covers several networks, batch sizes or modes is judged by its worst case, which is named. Medians decide;
quartiles stand beside them where there are any.

    python benchmarks/bars.py [--results DIR] [--out DIR]
"""

import argparse
import dataclasses
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence

if not __package__:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import pandas as pd

from benchmarks import stored

_CASES = {
    "step_time": ("backbone", "batch", "mode"),
    "memory": ("backbone", "batch"),
    "redraw": ("backbone", "batch", "rival"),
    "kernels": ("work",),
    "input_pipeline": ("backbone", "batch", "rival"),
    "runner": ("case", "workers"),
    "diversity": ("case", "members", "examples", "width"),
}
_LARGE = (64, 128)
_UNITS = ("element_10", "element_2", "row_10", "column_10", "column16_10", "block64_10")


@dataclasses.dataclass(frozen=True)
class Bar:
    """A number that must be reached.

    Attributes:
        text: What is measured.
        question: Whose CSV holds it.
        column: In which column.
        limit: The number.
        where: Values that other columns may have.
        alternatives: Rivals of which the best counts; without any, every row of ``where`` must reach the bar.
        is_floor: Whether the measured value must be at least the limit, not at most.
    """

    text: str
    question: str
    column: str
    limit: float
    where: Mapping[str, Sequence[object]] = dataclasses.field(default_factory=dict)
    alternatives: tuple[str, ...] = ()
    is_floor: bool = False


def _step(text: str, limit: float, *rivals: str, column: str = "ratio", batches: Sequence[int] = ()) -> Bar:
    where = {"batch": batches} if batches else {}
    return Bar(text, "step_time", column, limit, where, rivals)


def _memory(text: str, column: str, limit: float, rival: str, batches: Sequence[int] = ()) -> Bar:
    where = {"batch": batches} if batches else {}
    return Bar(text, "memory", column, limit, where, (rival,))


def _runner(text: str, column: str, limit: float, case: str) -> Bar:
    return Bar(text, "runner", column, limit, {"case": (case,)})


STATE = (
    _memory("state bytes / full fine-tuning, element 10 %", "state_ratio", 0.42, "element_10"),
    _memory("state bytes / full fine-tuning, element 2 %", "state_ratio", 0.30, "element_2"),
    _memory("state bytes / full fine-tuning, element 10 %, hilo", "state_ratio", 0.37, "element_10_hilo"),
    _memory("state bytes / full fine-tuning, element 2 %, hilo", "state_ratio", 0.28, "element_2_hilo"),
)
BARS: dict[str, tuple[Bar, ...]] = {
    "cpu": (
        _step("step / full fine-tuning, row 10 %", 0.80, "row_10"),
        _step("step / full fine-tuning, column 10 % (groups of 16 allowed)", 0.85, "column_10", "column16_10"),
        _step("step / full fine-tuning, element 10 %", 1.03, "element_10"),
        _step("step / full fine-tuning, fused Mixout", 1.02, "mixout"),
        _memory("peak memory / full fine-tuning, column 10 %", "peak_ratio", 0.70, "column_10"),
        *STATE,
        _runner("overhead of the runner a cell / 30 s", "ratio", 0.01, "overhead"),
        _runner("status of 10 000 cells, s", "wall_s", 2.0, "status"),
        _runner("status of 10 000 cells, MB", "peak_mb", 500.0, "status"),
        _runner("records of 10 000 cells with 100 numbers, s", "wall_s", 2.0, "records"),
        _runner("records of 10 000 cells with 100 numbers, MB", "peak_mb", 500.0, "records"),
        _runner("all figures from them, s", "wall_s", 60.0, "figures"),
        Bar("all diversity measures of 20 × 10 000 × 1 000 logits, s", "diversity", "wall_s", 60.0),
        Bar("all diversity measures of 20 × 10 000 × 1 000 logits, MB", "diversity", "peak_mb", 4000.0),
    ),
    "cuda": (
        _step("step / full fine-tuning, column 10 %, batch ≥ 64", 0.82, "column_10", batches=_LARGE),
        _step("step / full fine-tuning, row 10 %, batch ≥ 64", 0.82, "row_10", batches=_LARGE),
        _step("step / floor, column 10 %, batch ≥ 64", 1.05, "column_10", column="to_floor", batches=_LARGE),
        _step("step / floor, row 10 %, batch ≥ 64", 1.05, "row_10", column="to_floor", batches=_LARGE),
        _step("step / full fine-tuning, element 10 %, batch ≥ 64", 1.00, "element_10", batches=_LARGE),
        _step("step / LoRA r16, column 10 %, batch ≥ 64", 0.72, "column_10", column="to_lora", batches=_LARGE),
        _step("step / full fine-tuning, fused Mixout, batch ≥ 64", 1.01, "mixout", batches=_LARGE),
        *STATE,
        _memory("peak memory / full fine-tuning, column 10 %, batch 128", "peak_ratio", 0.70, "column_10", (128,)),
        _memory("peak memory / full fine-tuning, element 10 %, batch 128", "peak_ratio", 0.94, "element_10", (128,)),
        Bar("redraw, share of all time at k = 10", "redraw", "share", 0.005, {"k": (10,), "rival": _UNITS}),
        Bar(
            "bandwidth of mix / measured copy rate", "kernels", "peak_share", 0.85,
            {"kernel": ("mix",), "implementation": ("triton",)}, is_floor=True,
        ),
        Bar(
            "bandwidth of sparse AdamW / measured copy rate", "kernels", "peak_share", 0.70,
            {"kernel": ("adamw",), "implementation": ("triton",), "work": ("element 10 %",)}, is_floor=True,
        ),
        Bar("fed step / bare step - 1, readers by default", "input_pipeline", "cost", 0.05, {"is_default": (True,)}),
    ),
}  # fmt: skip
_NOBODY = {"cpu": "a CPU", "cuda": "an H200"}


def main(arguments: Sequence[str] | None = None) -> pathlib.Path:
    """Judges every bar, prints the table and writes ``bars.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=pathlib.Path, default=stored.RESULTS, help="directory of the CSVs")
    parser.add_argument("--out", type=pathlib.Path, help="directory of bars.md; that of the CSVs if not given")
    options = parser.parse_args(arguments)
    found = judged(options.results)
    text = markdown(found)
    path = (options.out or options.results) / "bars.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(text)
    counts = found["verdict"].value_counts()
    print(f"[bars] {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}; table in {path}")
    return path


def judged(folder: pathlib.Path) -> pd.DataFrame:
    """A row for every bar and measured device: ``device``, ``bar``, ``limit``, ``value``, quartiles, ``verdict``, ``at``.

    A kind of device of which there is no CSV at all has its bars once, ``unmeasured``.
    """  # noqa: E501
    tables = {question: stored.read(question, folder) for question in _CASES}
    rows = []
    for kind, bars in BARS.items():
        slugs = sorted({slug for found in tables.values() for slug in found if stored.is_cpu(slug) == (kind == "cpu")})
        for slug in slugs or [""]:
            of_device = {question: found[slug] for question, found in tables.items() if slug in found}
            device = next((table["device"].iloc[0] for table in of_device.values()), _NOBODY[kind])
            rows += [{"device": device, **verdict_on(bar, of_device.get(bar.question))} for bar in bars]
    return pd.DataFrame(rows)


def verdict_on(bar: Bar, table: pd.DataFrame | None) -> dict[str, object]:
    """One bar against one device's table, or against none."""
    chosen = _worst(bar, table) if table is not None else None
    sign = "≥" if bar.is_floor else "≤"
    row: dict[str, object] = {"bar": bar.text, "limit": f"{sign} {bar.limit:g}"}
    if chosen is None:
        return {**row, "value": math.nan, "q25": math.nan, "q75": math.nan, "verdict": "unmeasured", "at": ""}
    value = float(chosen[bar.column])
    is_met = value >= bar.limit if bar.is_floor else value <= bar.limit
    return {
        **row,
        "value": value,
        "q25": float(chosen.get(f"{bar.column}_q25", math.nan)),
        "q75": float(chosen.get(f"{bar.column}_q75", math.nan)),
        "verdict": "met" if is_met else "missed",
        "at": _named(bar, chosen),
    }


def _worst(bar: Bar, table: pd.DataFrame) -> pd.Series | None:
    """The row that decides: the best alternative of the worst case."""
    for column, allowed in bar.where.items():
        table = table[table[column].isin(list(allowed))]
    if bar.alternatives:
        table = table[table["rival"].isin(bar.alternatives)]
    table = table.dropna(subset=[bar.column]).sort_values(bar.column, ascending=not bar.is_floor, kind="stable")
    if table.empty:
        return None
    return table.drop_duplicates(list(_CASES[bar.question])).iloc[-1]


def _named(bar: Bar, row: pd.Series) -> str:
    words = {"batch": "batch {}", "workers": "{} workers", "members": "{} members", "examples": "{} examples"}
    parts = [words.get(column, "{}").format(row[column]) for column in _CASES[bar.question]]
    if len(bar.alternatives) > 1:
        parts.append(str(row["rival"]))
    return ", ".join(parts)


def markdown(found: pd.DataFrame) -> str:
    """The table as Markdown, with as many digits as a ratio deserves."""
    lines = ["| device | bar | limit | measured (quartiles) | verdict | worst case |", "|---|---|---|---|---|---|"]
    for row in found.to_dict("records"):
        measured = "–" if math.isnan(row["value"]) else f"{row['value']:.3g}"
        if not math.isnan(row["q25"]):
            measured += f" ({row['q25']:.3g}–{row['q75']:.3g})"
        cells = (row["device"], row["bar"], row["limit"], measured, row["verdict"], row["at"] or "–")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
