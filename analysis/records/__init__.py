"""The result tables: columns, dtypes, units, validation, building, reading, writing, concatenating.

The reader owns the schema; ``studies`` writes what it finds here.
"""

from analysis.records.among import among
from analysis.records.column_map import ColumnMap, read_map
from analysis.records.foreign import read_foreign, read_given
from analysis.records.frames import cells_frame, curves_frame, examples_frame, metrics_frame, pack, unpack
from analysis.records.remembered import remembered
from analysis.records.schema import (
    CELL_COLUMNS,
    CURVE_COLUMNS,
    EXAMPLE_COLUMNS,
    KEYS,
    LEVER_COLUMNS,
    MEMBER_KINDS,
    METRIC_COLUMNS,
    PATHS,
    SCHEMA_VERSION,
    STATUSES,
    TABLES,
    WEIGHTS,
    Column,
)
from analysis.records.storage import read, write
from analysis.records.tables import Records, concatenate
from analysis.records.validation import canonical_json, validate

LEVERS = tuple(LEVER_COLUMNS)

__all__ = [
    "CELL_COLUMNS",
    "CURVE_COLUMNS",
    "EXAMPLE_COLUMNS",
    "KEYS",
    "LEVERS",
    "LEVER_COLUMNS",
    "MEMBER_KINDS",
    "METRIC_COLUMNS",
    "PATHS",
    "SCHEMA_VERSION",
    "STATUSES",
    "TABLES",
    "WEIGHTS",
    "Column",
    "ColumnMap",
    "Records",
    "among",
    "canonical_json",
    "cells_frame",
    "concatenate",
    "curves_frame",
    "examples_frame",
    "metrics_frame",
    "pack",
    "read",
    "read_foreign",
    "read_given",
    "read_map",
    "remembered",
    "unpack",
    "validate",
    "write",
]
