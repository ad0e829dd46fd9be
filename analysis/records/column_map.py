"""Column maps: what the columns of a foreign table of results are, in a few lines of YAML or JSON.

One row of the table is one run (``scores`` names the columns of its splits), or one number (``columns`` names ``split``
and ``value``)::

    source: Smith et al. 2024, table 3     # where the numbers are from; part of every cell's identity
    unit: percent                          # or fraction: what a score of 1 would mean is never guessed
    constants: {benchmark: imagenet, backbone: clip-vit-b16}
    columns: {method: Method, seed: Run}   # ours: theirs
    scores: {id_test: ImageNet, ood/v2: IN-V2, ood/sketch: Sketch}
    names: {method: {FT: full, Ours: gmixout}}
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from analysis.records.schema import CELL_COLUMNS, SPLIT_PATTERN

UNITS = {"percent": 100.0, "fraction": 1.0}
_OURS = ("cell", "settings", "schema_version", "options", "recipe", "manifest", "status", "failure", "code_version",
         "library_versions", "engine")  # fmt: skip
NAMED = tuple(name for name in CELL_COLUMNS if name not in _OURS)
"""Columns of ``cells`` that a map may name."""

_LONG = ("split", "metric", "value", "alpha")


@dataclass(frozen=True)
class ColumnMap:
    """What the columns of a foreign table are.

    Args:
        source: Where the numbers are from, in words.
        unit: ``percent`` or ``fraction``.
        columns: Our columns to the table's; ``split``, ``value``, ``metric`` and ``alpha`` (a WiSE-FT coefficient on
            the fine-tuned side) among them.
        scores: Our splits to the table's columns, where a row is a run.
        constants: Our columns to one value for all rows.
        names: Our columns to what their values are called here.
        metric: What the scores are, where no column says it; ends in ``_score``.
    """

    source: str
    unit: str
    columns: Mapping[str, str]
    scores: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    metric: str = "accuracy_score"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit must be percent or fraction, got {self.unit!r}")
        if not self.source:
            raise ValueError("source must say where the numbers are from, got nothing")
        allowed = [*NAMED, *_LONG]
        for place, given in (("columns", self.columns), ("constants", self.constants), ("names", self.names)):
            if unknown := [name for name in given if name not in allowed]:
                raise ValueError(f"{place} may name {', '.join(allowed)}; got {', '.join(map(str, unknown))}")
        if twice := [name for name in self.columns if name in self.constants]:
            raise ValueError(f"columns and constants both give {', '.join(twice)}; leave one of them out")
        for needed in ("benchmark", "method"):
            if needed not in self.columns and needed not in self.constants:
                raise ValueError(f"{needed} must be among columns or constants, and is in neither")
        has_values = "value" in self.columns
        if has_values == bool(self.scores):
            raise ValueError(
                "numbers come from scores (a row is a run) or from columns.value (a row is a number), got "
                f"{'both' if has_values else 'neither'}"
            )
        if has_values and "split" not in self.columns and "split" not in self.constants:
            raise ValueError("with columns.value, split must be among columns or constants, and is in neither")
        if wrong := [split for split in self.scores if not is_split(split)]:
            raise ValueError(
                f"scores are of id_val, id_test, ood/<domain> or corruption/<kind>/<1..5>, got {wrong[0]!r}"
            )
        if not self.metric.endswith("_score"):
            raise ValueError(f"metric must end in _score, since unit is a unit of scores, got {self.metric!r}")


def read_map(path: str | os.PathLike[str]) -> ColumnMap:
    """Reads a column map from YAML or JSON.

    Raises:
        ValueError: In one line with the file's name, if it cannot be read, or is not a column map.
    """
    source = Path(path)
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"a column map is a YAML or JSON file; {source} cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{source} is neither YAML nor JSON: {' '.join(str(error).split())}") from None
    known = list(ColumnMap.__dataclass_fields__)
    if not isinstance(content, dict):
        raise ValueError(f"{source} must hold {', '.join(known)}; got {type(content).__name__}")
    unknown = [str(name) for name in content if name not in known]
    missing = [name for name in ("source", "unit", "columns") if name not in content]
    if unknown or missing:
        raise ValueError(
            f"{source} may hold {', '.join(known)}; missing: {', '.join(missing) or 'none'}; unknown: "
            f"{', '.join(unknown) or 'none'}"
        )
    for name in ("columns", "scores", "constants", "names"):
        if not isinstance(content.get(name, {}), dict):
            raise ValueError(f"{source}: {name} must map names to names, got {content[name]!r}")
    try:
        return ColumnMap(**content)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: {error}") from None


def is_split(split: str) -> bool:
    """Whether a foreign table may have numbers of this split."""
    return bool(split) and split != "train" and SPLIT_PATTERN.fullmatch(split) is not None
