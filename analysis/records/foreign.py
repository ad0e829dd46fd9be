"""Foreign tables of results as records: published numbers drawn, compared and tested as our own are.

A table is CSV or TSV with a heading (lines that begin with # are remarks), or a JSON object a line; what its columns
are says a :mod:`analysis.records.column_map`.
"""

import csv
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.records.column_map import NAMED, UNITS, ColumnMap, is_split, read_map
from analysis.records.frames import cells_frame, curves_frame, examples_frame, metrics_frame
from analysis.records.schema import CELL_COLUMNS
from analysis.records.storage import read
from analysis.records.tables import Records
from analysis.records.validation import canonical_json

MEASURED = ("trained_per_episode", "touched_over_run", "total_parameters", "stored_floats", "training_flops",
            "training_steps", "inference_passes", "subnetworks", "wall_time_s", "train_time_s",
            "peak_memory_bytes")  # fmt: skip
DEFAULTS: Mapping[str, Any] = {"backbone": "unknown", "pretrain_seed": 0, "seed": 0, "steps": 0, "batch_size": 0,
                               "device": "", "member_kind": "none"}  # fmt: skip
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_given(path: str | os.PathLike[str], column_map: str | os.PathLike[str] | None = None) -> Records:
    """Reads a folder of records, or with a column map a foreign table.

    Args:
        path: A folder for :func:`analysis.records.read`, or a table.
        column_map: File of the map; None for a folder.

    Raises:
        ValueError: As the two readers; or if a table comes without a map, or a folder with one.
    """
    is_table = Path(path).is_file()
    if is_table and column_map is None:
        raise ValueError(f"{path} is a table, not a folder of records: say with --map which column is what")
    if column_map is None:
        return read(path)
    if Path(path).is_dir():
        raise ValueError(f"--map is for tables, and {path} is a folder; leave it out for records")
    return read_foreign(path, read_map(column_map))


def read_foreign(table: str | os.PathLike[str], columns: ColumnMap) -> Records:
    """Reads a foreign table as records: ``cells`` and ``metrics``, without examples and curves.

    Rows that agree in all mapped columns of a run are one cell. An empty number is a number that is not there; a run
    without any is shown as missing.

    Args:
        table: A ``.csv``, ``.tsv`` or ``.jsonl`` file.
        columns: From :func:`read_map`.

    Raises:
        ValueError: In one line with the row, if the file cannot be read, lacks a column, holds something that is no
            number, a score outside its unit, or the same number twice.
    """
    source = Path(table)
    rows = list(_rows(source))
    if not rows:
        raise ValueError(f"{source} holds no row")
    wanted = [*columns.columns.values(), *columns.scores.values()]
    present = {name for _, row in rows for name in row}
    if lost := [name for name in dict.fromkeys(wanted) if name not in present]:
        raise ValueError(
            f"{source} lacks the columns {', '.join(map(repr, lost))}, which the column map names; it has "
            f"{', '.join(map(repr, sorted(present)))}"
        )
    cells: dict[str, dict[str, Any]] = {}
    numbers: dict[tuple[Any, ...], int] = {}
    metrics: list[dict[str, Any]] = []
    for line, row in rows:
        try:
            cell = _cell(row, columns)
            found = list(_numbers(row, columns))
        except ValueError as error:
            raise ValueError(f"{source}, line {line}: {error}") from None
        cells.setdefault(cell["cell"], cell)
        for number in found:
            key = (cell["cell"], *(number[name] for name in ("weights", "alpha", "split", "metric")))
            if key in numbers:
                told = f"{cell['method']}, seed {cell['seed']}, {number['split']}"
                raise ValueError(
                    f"{source}, lines {numbers[key]} and {line} give the same number twice ({told}); leave one out, or "
                    "map a column that tells them apart (seed, learning_rate, a lever)"
                )
            numbers[key] = line
            if number["value"] is not None:
                metrics.append({**number, "cell": cell["cell"], "line": line})
    _check_unit(metrics, columns, source)
    scale = UNITS[columns.unit]
    kept = [{name: value for name, value in row.items() if name != "line"} | {"value": row["value"] / scale}
            for row in metrics]  # fmt: skip
    for row in kept:
        row["alpha"] = math.nan if row["alpha"] is None else row["alpha"]
    return Records(cells_frame(list(cells.values())), metrics_frame(kept), examples_frame(), curves_frame())


def _rows(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{source} cannot be read as a table: {error}") from None
    if source.suffix in (".csv", ".tsv"):
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        skipped = len(text.splitlines()) - len(lines)
        reader = csv.DictReader(lines, delimiter="\t" if source.suffix == ".tsv" else ",", strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(
                        f"{source}, line {reader.line_num + skipped}: as many fields as the heading has "
                        f"({len(reader.fieldnames or [])}) are needed"
                    )
                yield reader.line_num + skipped, {name.strip(): value.strip() for name, value in row.items()}
        except csv.Error as error:
            raise ValueError(f"{source}, line {reader.line_num + skipped}: {error}") from None
    elif source.suffix in (".jsonl", ".ndjson"):
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{source}, line {number} is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise ValueError(f"{source}, line {number} must be a JSON object, got {type(row).__name__}")
            yield number, row
    else:
        raise ValueError(f"a foreign table is a .csv, .tsv or .jsonl file, got {source.name}")


def _cell(row: Mapping[str, Any], columns: ColumnMap) -> dict[str, Any]:
    found: dict[str, Any] = dict(DEFAULTS)
    for name in NAMED:
        if name in columns.constants:
            found[name] = _converted(name, columns.constants[name])
        elif name in columns.columns:
            value = _renamed(name, row.get(columns.columns[name]), columns)
            found[name] = found.get(name) if _is_empty(value) else _converted(name, value)
    for name in ("benchmark", "method"):
        if _is_empty(found.get(name)):
            raise ValueError(f"every row needs a {name}, and {columns.columns[name]!r} is empty")
    identity = {name: _spelled(value) for name, value in found.items() if name not in MEASURED and value is not None}
    settings = canonical_json({"source": columns.source, **identity})
    cell = hashlib.sha256(settings.encode()).hexdigest()[:16]
    return {**found, "cell": cell, "settings": settings, "status": "done"}


def _numbers(row: Mapping[str, Any], columns: ColumnMap) -> Iterator[dict[str, Any]]:
    alpha = _optional_number(_given("alpha", row, columns), "alpha")
    about = {"weights": "reported" if alpha is None else "wise", "alpha": alpha}
    if columns.scores:
        for split, theirs in columns.scores.items():
            value = _optional_number(row.get(theirs), theirs)
            yield {**about, "split": split, "metric": columns.metric, "value": value}
        return
    split = str(_given("split", row, columns))
    if not is_split(split):
        raise ValueError(
            f"split must be id_val, id_test, ood/<domain> or corruption/<kind>/<1..5>, got {split!r}; say under "
            "names.split what it is"
        )
    metric = str(_given("metric", row, columns) or columns.metric)
    if not metric.endswith("_score"):
        raise ValueError(f"metric must end in _score, got {metric!r}; say under names.metric what it is")
    value = _optional_number(_given("value", row, columns), columns.columns["value"])
    yield {**about, "split": split, "metric": metric, "value": value}


def _given(name: str, row: Mapping[str, Any], columns: ColumnMap) -> Any:
    if name in columns.constants:
        return columns.constants[name]
    value = row.get(columns.columns[name]) if name in columns.columns else None
    return None if _is_empty(value) else _renamed(name, value, columns)


def _renamed(name: str, value: Any, columns: ColumnMap) -> Any:
    return columns.names.get(name, {}).get(str(value), value)


def _converted(name: str, value: Any) -> Any:
    kind = CELL_COLUMNS[name].kind
    if kind == "text":
        return str(value)
    if kind == "truth":
        if str(value).lower() not in _TRUTHS:
            raise ValueError(f"{name} must be true or false, got {value!r}")
        return _TRUTHS[str(value).lower()]
    number = _number(value, name)
    if kind == "whole" and number != int(number):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return int(number) if kind == "whole" else number


def _optional_number(value: Any, name: str) -> float | None:
    return None if _is_empty(value) else _number(value, name)


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name!r} must be a number, or empty where there is none, got {value!r}") from None
    if math.isnan(number):
        raise ValueError(f"{name!r} must be a number, or empty where there is none, got {value!r}")
    return number


def _check_unit(metrics: list[dict[str, Any]], columns: ColumnMap, source: Path) -> None:
    """A score beyond its unit, or percents none of which exceeds 1, mean that the map says the wrong unit."""
    most = UNITS[columns.unit]
    for row in metrics:
        if not 0.0 <= row["value"] <= most:
            hint = "; say unit: percent" if columns.unit == "fraction" and 1.0 < row["value"] <= 100.0 else ""
            raise ValueError(
                f"{source}, line {row['line']}: as {columns.unit} a score lies in [0, {most:g}], got "
                f"{row['value']:g}{hint}"
            )
    if columns.unit == "percent" and metrics and max(row["value"] for row in metrics) <= 1.0:
        raise ValueError(f"{source}: unit is percent, but no score exceeds 1; say unit: fraction")


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _spelled(value: Any) -> Any:
    return "inf" if isinstance(value, float) and math.isinf(value) else value
