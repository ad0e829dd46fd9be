"""Builders: plain rows or columns in, frames of the schema's dtypes out.

The runner hands over what it has; everything is coerced here, once, and a value that does not fit is refused by name.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.records.schema import TABLES, Column
from analysis.records.validation import check_names, validate

Rows = Iterable[Mapping[str, Any]] | Mapping[str, Sequence[Any]] | pd.DataFrame


def cells_frame(rows: Rows = ()) -> pd.DataFrame:
    """Builds the ``cells`` table; levers that a method does not have may be left out and become null.

    Args:
        rows: Mappings, one a cell; or a mapping of columns; or a frame.

    Raises:
        ValueError: If a required column is missing, a name is unknown, or a value does not fit its column.
    """
    return _build("cells", rows)


def metrics_frame(rows: Rows = ()) -> pd.DataFrame:
    """Builds the ``metrics`` table; ``alpha``, ``member``, ``split`` and ``examples`` have defaults.

    Example:
        >>> frame = metrics_frame([{"cell": "c", "weights": "reported", "split": "id_val",
        ...                         "metric": "accuracy_score", "value": 0.5, "examples": 10}])
        >>> frame["member"].item()
        -1
    """
    return _build("metrics", rows)


def examples_frame(rows: Rows = ()) -> pd.DataFrame:
    """Builds the ``examples`` table; make each row's ``correct`` with :func:`pack`."""
    return _build("examples", rows)


def curves_frame(rows: Rows = ()) -> pd.DataFrame:
    """Builds the ``curves`` table: one row a (cell, step, metric)."""
    return _build("curves", rows)


def pack(correct: npt.ArrayLike) -> bytes:
    """Packs right answers, eight a byte, first example in the highest bit (``np.packbits``).

    Args:
        correct: Booleans, shape ``(examples,)``.

    Raises:
        ValueError: If the array is not one-dimensional or not boolean.

    Example:
        >>> unpack(pack([True, False, True]), 3).tolist()
        [True, False, True]
    """
    array = np.asarray(correct)
    if array.ndim != 1 or array.dtype != np.bool_:
        raise ValueError(f"correct must be booleans of shape (examples,), got {array.dtype} of shape {array.shape}")
    return np.packbits(array).tobytes()


def unpack(packed: bytes, examples: int) -> npt.NDArray[np.bool_]:
    """Unpacks :func:`pack`.

    Raises:
        ValueError: If the bytes do not hold exactly this number of examples.
    """
    if len(packed) != -(-examples // 8):
        raise ValueError(f"{examples} examples take {-(-examples // 8)} bytes, got {len(packed)}: the row is corrupt")
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=examples).astype(bool)


def conform(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the frame with the schema's dtypes and column order, without changing any value.

    Raises:
        ValueError: If a column is missing or unknown, or a value does not fit.
    """
    columns = check_names(table, list(frame.columns))
    return pd.DataFrame({name: _coerce(table, name, column, frame[name]) for name, column in columns.items()})


def _build(table: str, rows: Rows) -> pd.DataFrame:
    columns = TABLES[table]
    defaults = {name: column.default for name, column in columns.items() if column.default is not ...}
    if isinstance(rows, pd.DataFrame):
        frame = rows.reset_index(drop=True)
    elif isinstance(rows, Mapping):
        frame = pd.DataFrame(dict(rows), dtype=object)
    else:
        frame = pd.DataFrame([defaults | dict(row) for row in rows], dtype=object)
    given = {str(name): frame[name] for name in frame.columns}
    for name in columns:
        if name not in given and (name in defaults or frame.empty):
            given[name] = pd.Series([defaults.get(name)] * len(frame), index=frame.index, dtype=object)
    built = conform(table, pd.DataFrame(given))
    validate(table, built)
    return built


def _coerce(table: str, name: str, column: Column, values: pd.Series) -> pd.Series:
    if column.kind == "text" and isinstance(values.dtype, pd.StringDtype):
        return values.astype("string")
    if values.dtype == column.dtype and column.kind != "bytes":
        return values
    try:
        return _convert(column, values)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{table}.{name} must be {column.kind} ({column.doc}), got values like {values.iloc[0]!r}: {error}"
        ) from None


def _convert(column: Column, values: pd.Series) -> pd.Series:
    is_null = values.isna()
    if column.kind == "text":
        wrong = [value for value in values[~is_null] if not isinstance(value, str)]
        if wrong:
            raise TypeError(f"{wrong[0]!r} is not text")
        return values.astype(object).where(~is_null, None).astype("string")
    if column.kind == "real":
        return values.astype(object).where(~is_null, np.nan).astype("float64")
    if column.kind == "whole":
        reals = values.astype(object).where(~is_null, None)
        wrong = [value for value in reals[~is_null] if isinstance(value, str) or int(value) != value]
        if wrong:
            raise TypeError(f"{wrong[0]!r} is not a whole number")
        whole = pd.Series([None if value is None else int(value) for value in reals], index=values.index, dtype="Int64")
        return whole if column.nullable else whole.astype("int64")
    if column.kind == "truth":
        truths = values.astype(object).where(~is_null, None)
        return truths.astype("boolean") if column.nullable else truths.astype("bool")
    wrong = [value for value in values if not isinstance(value, bytes)]
    if wrong:
        raise TypeError(f"{type(wrong[0]).__name__} is not bytes")
    return values.astype(object)
