"""Records on disk: four Parquet files a folder, written to a temporary name and renamed, read back or refused.

A folder is either one set of the four files, or a results folder whose ``cells/<hash>/`` shards each hold such a set.
A shard counts when it carries the marker ``DONE`` (read whole) or ``FAILED.json`` (its ``cells`` row alone). Of many
shards a joined copy is kept, see :mod:`analysis.records.joined`.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.records.frames import cells_frame, conform
from analysis.records.joined import FEWEST, Joined, Stamp, stamp
from analysis.records.schema import CELL_COLUMNS, SCHEMA_VERSION, TABLES, Column
from analysis.records.tables import Records, concatenate
from analysis.records.validation import canonical_json, check_names

_ARROW = {"text": pa.string(), "real": pa.float64(), "whole": pa.int64(), "truth": pa.bool_(), "bytes": pa.binary()}
JOINED_AT_ONCE = 500
MOST_READERS = 8
"""Threads that read shards; more wait for Python's part of it."""
STALE = 50
"""A running study is not joined anew for each cell: up to one new shard in so many is read by itself."""
_VERSION_KEY = b"gmixout_schema_version"
_FINGERPRINT_KEY = b"gmixout_records_sha256"


def write(records: Records, folder: str | os.PathLike[str]) -> str:
    """Writes ``cells``, ``metrics``, ``examples`` and ``curves`` as Parquet (zstd), in canonical row order.

    Each file is written whole to a temporary name beside its place, then renamed; a crash leaves the old files or a
    mixture that :func:`read` refuses, never half a file.

    Returns:
        The records' fingerprint.

    Raises:
        OSError: If the disk is full or the folder cannot be written; the temporary file is removed.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    ordered = records.canonical()
    fingerprint = ordered.fingerprint()
    for name, columns in TABLES.items():
        _write_table(_to_arrow(getattr(ordered, name), columns, fingerprint), target / f"{name}.parquet")
    return fingerprint


def read(folder: str | os.PathLike[str]) -> Records:
    """Reads one set of files, or all finished and failed shards of a results folder, in canonical row order.

    Runs that were made only for others to be built from (``is_ingredient`` in their settings) are no results and are
    left out of a results folder; the settings of what is built name them.

    Raises:
        ValueError: If the folder is missing or holds no records; if a file is missing, unreadable, of another schema
            version, or not what ``DONE`` vouches for; if the four files stem from different writes; or if a table
            breaks the schema.
    """
    source = Path(folder)
    if not source.is_dir():
        raise ValueError(f"records are read from a folder, got {source}, which is not one; run a study first")
    if (source / "cells.parquet").exists():
        return _read_set(source)
    shards = source / "cells"
    if not shards.is_dir():
        raise ValueError(
            f"a records folder holds {', '.join(f'{name}.parquet' for name in TABLES)}, or cells/<hash>/ folders; "
            f"{source} has neither; give the folder of a study's results"
        )
    return _read_results(source)


def _read_results(root: Path) -> Records:
    joined = Joined(root)
    known: dict[str, Stamp] = {}
    fresh: dict[str, Stamp] = {}
    ingredients: dict[str, Stamp] = {}
    failed = []
    with os.scandir(root / "cells") as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir())
    for name in names:
        seen = stamp(f"{root}/cells/{name}")
        if seen is not None and joined.shards.get(name) == seen:
            known[name] = seen
            continue
        shard = root / "cells" / name
        if (seen is not None and joined.ingredients.get(name) == seen) or _is_ingredient(shard):
            ingredients[name] = seen or []
        elif (shard / "DONE").exists():
            # Looked at before it is read: what changes meanwhile is read again next time.
            fresh[name] = seen or []
        elif (shard / "FAILED.json").exists():
            failed.append(_read_failed(shard))
    base = _joined_records(joined, known) if known else None
    if base is None:
        known, fresh = {}, known | fresh
    parts = [base] if base is not None else []
    if fresh:
        parts.append(_read_shards([root / "cells" / name for name in sorted(fresh)]))
    whole = parts[0] if len(parts) == 1 else concatenate(parts)
    stale = len(fresh) * STALE >= max(len(known), 1) or len(known) < len(joined.shards)
    if len(known | fresh) >= FEWEST and stale:
        tables = {name: _to_arrow(getattr(whole, name), columns, "") for name, columns in TABLES.items()}
        joined.write(tables, known | fresh, ingredients)
    return concatenate([whole, *failed]) if failed else whole


def _joined_records(joined: Joined, known: Mapping[str, Stamp]) -> Records | None:
    tables = joined.tables()
    if tables is None:
        return None
    if len(known) < len(joined.shards):
        names = pa.array(list(known), pa.string())
        tables = {name: table.filter(pc.is_in(table["cell"], names)) for name, table in tables.items()}
    frames = {}
    for name, columns in TABLES.items():
        # Let go of column by column: a frame and the table it is made of need not be there at once.
        parts = dict(zip(columns, tables.pop(name).select(list(columns)).itercolumns()))
        frames[name] = pd.DataFrame({column: _column(parts.pop(column), columns[column]) for column in columns})
    return Records.trusted(**frames)


def _is_ingredient(shard: Path) -> bool:
    path = shard / "settings.json"
    return path.is_file() and bool(_read_json(path).get("is_ingredient", False))


def _to_arrow(frame: pd.DataFrame, columns: Any, fingerprint: str) -> pa.Table:
    arrays = [pa.array(frame[name], type=_ARROW[column.kind], from_pandas=True) for name, column in columns.items()]
    schema = pa.schema(
        [
            pa.field(name, _ARROW[column.kind], column.nullable, metadata={"doc": column.doc})
            for name, column in columns.items()
        ],
        metadata={_VERSION_KEY: str(SCHEMA_VERSION).encode(), _FINGERPRINT_KEY: fingerprint.encode()},
    )
    # A real column's NaN is this schema's null, and comes back as NaN.
    return pa.Table.from_arrays(arrays, schema=schema)


def _write_table(table: pa.Table, path: Path) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read_set(folder: Path) -> Records:
    frames, fingerprints = {}, {}
    for name in TABLES:
        table = _read_table(folder / f"{name}.parquet")
        fingerprints[name] = (table.schema.metadata or {}).get(_FINGERPRINT_KEY, b"").decode()
        frames[name] = _to_pandas(name, table, folder / f"{name}.parquet")
    if len(set(fingerprints.values())) > 1:
        raise ValueError(
            f"the four files of {folder} must stem from one write, got {fingerprints}; "
            "a write was interrupted: write the records again"
        )
    try:
        records = Records(**frames)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    stored = next(iter(fingerprints.values()))
    if stored and records.fingerprint() != stored:
        raise ValueError(f"{folder} no longer holds what was written (sha256:{stored[:12]}); restore or rewrite it")
    return records


def _read_shards(shards: Sequence[Path]) -> Records:
    # Joined as Arrow and turned into frames once: a frame a shard takes ten times as long. The marker's hashes, not the
    # stored fingerprint, say here whether a shard is whole.
    parts: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_READERS)) as readers:
        for start in range(0, len(shards), JOINED_AT_ONCE):
            # Most of the time is pyarrow's own, in which other threads go on.
            for tables in readers.map(_read_shard, shards[start : start + JOINED_AT_ONCE]):
                for name, table in zip(TABLES, tables, strict=True):
                    parts[name].append(table)
            # Thousands of small tables take several times the memory of what is in them.
            parts = {name: [pa.concat_tables(tables).combine_chunks()] for name, tables in parts.items()}
    folder = shards[0].parent
    frames = {name: _to_pandas(name, pa.concat_tables(tables), folder) for name, tables in parts.items()}
    try:
        return Records(**frames).canonical()
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None


def _read_shard(shard: Path) -> list[pa.Table]:
    _check_marker(shard)
    paths = {name: shard / f"{name}.parquet" for name in TABLES}
    return [_checked_types(name, _read_table(path), path).replace_schema_metadata(None) for name, path in paths.items()]


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        raise ValueError(f"a set of records needs {', '.join(f'{n}.parquet' for n in TABLES)}; {path} is missing")
    try:
        # One thread: the files are small, and one thread a shard costs more than it saves.
        table = pq.ParquetFile(path).read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(
            f"{path} is not a readable Parquet file ({str(error).splitlines()[0]}); delete its folder and run again"
        ) from None
    version = (table.schema.metadata or {}).get(_VERSION_KEY, b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise ValueError(
            f"records must have schema version {SCHEMA_VERSION}, {path} has {version}; "
            "read it with the code that wrote it, or run the study again"
        )
    return table


def _checked_types(name: str, table: pa.Table, path: Path) -> pa.Table:
    for later, column in TABLES[name].items():
        if column.is_later and later not in table.column_names:
            kind = _ARROW[column.kind]
            field = pa.field(later, kind, column.nullable)
            table = table.append_column(field, pa.array([column.default] * len(table), kind))
    try:
        columns = check_names(name, table.column_names)
        wrong = [
            f"{field.name} is {field.type} where {_ARROW[columns[field.name].kind]} is needed"
            for field in table.schema
            if field.type != _ARROW[columns[field.name].kind]
        ]
        if wrong:
            raise ValueError(f"{name} has columns of another type: {', '.join(wrong)}; write it with analysis.records")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return table.select(list(columns))


def _to_pandas(name: str, table: pa.Table, path: Path) -> pd.DataFrame:
    ordered = _checked_types(name, table, path)
    frame = pd.DataFrame({column: _column(ordered.column(column), TABLES[name][column]) for column in TABLES[name]})
    try:
        return conform(name, frame)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _column(values: pa.ChunkedArray, column: Column) -> pd.Series:
    if column.kind == "text":
        return values.to_pandas(types_mapper={pa.string(): pd.StringDtype()}.get)
    if column.kind == "whole" and column.nullable:
        return values.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    if column.kind == "truth" and column.nullable:
        return values.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    return values.to_pandas()


def _check_marker(shard: Path) -> None:
    listed = _read_json(shard / "DONE")
    sums = listed.get("files", listed)
    for name in TABLES:
        expected = sums.get(f"{name}.parquet") if isinstance(sums, dict) else None
        path = shard / f"{name}.parquet"
        if expected and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise ValueError(f"{path} does not have the sha256 that DONE lists: it is corrupt; delete {shard}")


def _read_failed(shard: Path) -> Records:
    if (shard / "cells.parquet").is_file():
        path = shard / "cells.parquet"
        frame = _to_pandas("cells", _read_table(path), path)
    else:
        failure = _read_json(shard / "FAILED.json")
        settings = _read_json(shard / "settings.json")
        # A method may call its own settings what it likes, so they are no columns.
        flat = _flatten({name: value for name, value in settings.items() if name != "options"})
        row = {name: value for name, value in flat.items() if name in CELL_COLUMNS}
        row |= {"options": canonical_json(settings.get("options", {}))}
        row |= {"cell": shard.name, "status": "failed", "failure": str(failure.get("kind", "unknown"))}
        row |= {"settings": json.dumps(settings, sort_keys=True, separators=(",", ":"))}
        try:
            frame = cells_frame([row])
        except ValueError as error:
            raise ValueError(f"{shard}: settings.json of the failed cell does not name it fully: {error}") from None
    empty = Records.empty()
    return Records(frame, empty.metrics, empty.examples, empty.curves)


def _flatten(settings: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            if "name" in value:
                flat.setdefault(name, value["name"])
            for inner, content in _flatten(value).items():
                flat.setdefault(inner, content)
    return flat | {name: value for name, value in settings.items() if not isinstance(value, dict | list)}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be a JSON file, got {error}; delete its folder and run the cell again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(content).__name__}; delete its folder")
    return content
