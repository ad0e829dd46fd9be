"""The check that a frame obeys the schema: columns, dtypes, nulls, allowed values, unique keys."""

import json
from collections.abc import Mapping

import pandas as pd

from analysis.records.schema import (
    KEYS,
    MEMBER_KINDS,
    SCHEMA_VERSION,
    SPLIT_PATTERN,
    STATUSES,
    TABLES,
    WEIGHTS,
    Column,
)

# Two spellings of the same settings would pass for two settings.
_CANONICAL = ("options", "recipe", "engine")
_ALLOWED = {
    ("cells", "status"): STATUSES,
    ("cells", "member_kind"): MEMBER_KINDS,
    ("metrics", "weights"): WEIGHTS,
    ("examples", "weights"): WEIGHTS,
}


def validate(table: str, frame: pd.DataFrame) -> None:
    """Checks columns, dtypes, nulls, allowed values and unique keys of one table.

    Args:
        table: ``cells``, ``metrics``, ``examples`` or ``curves``.
        frame: The frame to check; its columns may stand in any order.

    Raises:
        ValueError: At the first rule that is broken, with what came and what to do.

    Example:
        >>> validate("curves", pd.DataFrame({"cell": []}))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: curves must have the columns cell, step, metric, value; missing: step, metric, value; ...
    """
    columns = check_names(table, list(frame.columns))
    for name, column in columns.items():
        _check_column(table, name, column, frame[name])
    if table == "cells" and len(frame):
        other = sorted(set(frame["schema_version"]) - {SCHEMA_VERSION})
        if other:
            raise ValueError(
                f"cells.schema_version must be {SCHEMA_VERSION}, got {other}; "
                "read them with the version of the code that wrote them, or run the study again"
            )
    for name in _CANONICAL if table == "cells" else ():
        _check_canonical(name, frame[name])
    repeated = frame.duplicated(list(KEYS[table]))
    if repeated.any():
        first = frame.loc[repeated, list(KEYS[table])].iloc[0].to_dict()
        raise ValueError(
            f"{table} must hold each ({', '.join(KEYS[table])}) once, got {int(repeated.sum())} repeated rows, "
            f"the first {first}; drop the copies before building the records"
        )


def check_names(table: str, names: list[str]) -> Mapping[str, Column]:
    """Returns the table's columns after checking that exactly these names came.

    Raises:
        ValueError: If the table is unknown, or a column is missing, unknown or repeated.
    """
    if table not in TABLES:
        raise ValueError(f"table must be one of {', '.join(TABLES)}, got {table!r}")
    columns = TABLES[table]
    missing = [name for name in columns if name not in names]
    unknown = [name for name in names if name not in columns]
    if missing or unknown or len(set(names)) != len(names):
        raise ValueError(
            f"{table} must have the columns {', '.join(columns)}; missing: {', '.join(missing) or 'none'}; "
            f"unknown: {', '.join(map(str, unknown)) or 'none'}; build it with analysis.records.{table}_frame"
        )
    return columns


def canonical_json(settings: Mapping[str, object]) -> str:
    """Settings as ``options``, ``recipe`` and ``engine`` hold them: keys sorted, no spaces, empty if there is none.

    Raises:
        ValueError: If a value is NaN or infinite.

    Example:
        >>> canonical_json({"rank": 4, "alpha": 8.0})
        '{"alpha":8.0,"rank":4}'
        >>> canonical_json({})
        ''
    """
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False) if settings else ""


def _check_canonical(name: str, values: pd.Series) -> None:
    for text in values.unique():
        try:
            settings = json.loads(text) if text else {}
            is_right = isinstance(settings, dict) and canonical_json(settings) == text
        except ValueError:
            is_right = False
        if not is_right:
            raise ValueError(
                f"cells.{name} must be empty or a JSON object with sorted keys and no spaces, got {text}; "
                "write it with analysis.records.canonical_json"
            )


def _check_column(table: str, name: str, column: Column, values: pd.Series) -> None:
    is_right = isinstance(values.dtype, pd.StringDtype) if column.kind == "text" else values.dtype == column.dtype
    if not is_right:
        raise ValueError(
            f"{table}.{name} must have dtype {column.dtype}, got {values.dtype}; "
            f"build it with analysis.records.{table}_frame"
        )
    if not column.nullable and values.isna().any():
        raise ValueError(
            f"{table}.{name} must never be null, got {int(values.isna().sum())} nulls in {len(values)} rows; "
            f"give a value ({column.doc})"
        )
    if (table, name) in _ALLOWED:
        allowed = _ALLOWED[table, name]
        unknown = sorted(set(values.unique()) - set(allowed))
        if unknown:
            raise ValueError(f"{table}.{name} must be one of {', '.join(allowed)}, got {', '.join(unknown)}")
    if name == "split":
        unknown = sorted(split for split in values.unique() if not SPLIT_PATTERN.fullmatch(split))
        if unknown:
            raise ValueError(
                f"{table}.split must be empty, train, id_val, id_test, ood/<domain> or "
                f"corruption/<kind>/<severity 1..5>, got {', '.join(unknown[:5])}"
            )
