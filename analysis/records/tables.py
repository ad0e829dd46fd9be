"""Records: the four result tables held together, filtered together, and named by one fingerprint."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.records.among import among
from analysis.records.frames import cells_frame, curves_frame, examples_frame, metrics_frame, unpack
from analysis.records.schema import KEYS, SCHEMA_VERSION, TABLES
from analysis.records.validation import validate


@dataclass(frozen=True)
class Records:
    """What a study left behind, checked at construction.

    Args:
        cells: One row a cell, see ``CELL_COLUMNS``.
        metrics: One row a number, see ``METRIC_COLUMNS``.
        examples: One row a (cell, weights, split), see ``EXAMPLE_COLUMNS``.
        curves: One row a (cell, step, metric), see ``CURVE_COLUMNS``.

    Raises:
        ValueError: If a table breaks the schema, or names a cell that ``cells`` does not hold.

    Example:
        >>> len(Records.empty().cells)
        0
    """

    cells: pd.DataFrame
    metrics: pd.DataFrame
    examples: pd.DataFrame
    curves: pd.DataFrame

    def __post_init__(self) -> None:
        for field in fields(self):
            validate(field.name, getattr(self, field.name))
        known = set(self.cells["cell"])
        for name in ("metrics", "examples", "curves"):
            orphans = sorted(set(getattr(self, name)["cell"].unique()) - known)
            if orphans:
                raise ValueError(
                    f"{name} may only name cells of the cells table, got {len(orphans)} others, the first "
                    f"{orphans[0]!r}; add their rows to cells, or leave them out"
                )

    @classmethod
    def empty(cls) -> "Records":
        """Records without a single cell."""
        return cls(cells_frame(), metrics_frame(), examples_frame(), curves_frame())

    @classmethod
    def trusted(
        cls, cells: pd.DataFrame, metrics: pd.DataFrame, examples: pd.DataFrame, curves: pd.DataFrame
    ) -> "Records":
        """Records whose tables were taken from checked ones: they are not checked again."""
        made = object.__new__(cls)
        for name, frame in (("cells", cells), ("metrics", metrics), ("examples", examples), ("curves", curves)):
            object.__setattr__(made, name, frame)
        return made

    def keep(self, cells: Iterable[str]) -> "Records":
        """The records of these cells alone; names that are not present are ignored."""
        chosen = list(cells)
        return Records.trusted(
            *(frame[among(frame["cell"], chosen)].reset_index(drop=True) for frame in self._frames())
        )

    def where(self, **equal: object) -> "Records":
        """The records of the cells whose columns have these values, e.g. ``where(method="full", seed=0)``.

        Raises:
            ValueError: If a name is not a column of ``cells``.
        """
        unknown = [name for name in equal if name not in self.cells.columns]
        if unknown:
            raise ValueError(f"where filters by columns of cells ({', '.join(self.cells.columns)}), got {unknown}")
        chosen = np.ones(len(self.cells), dtype=bool)
        for name, value in equal.items():
            chosen &= (self.cells[name] == value).fillna(False).to_numpy(dtype=bool)
        return self.keep(self.cells.loc[chosen, "cell"])

    def canonical(self) -> "Records":
        """The same records in canonical row order (sorted by each table's key)."""
        sorted_frames = []
        for field, frame in zip(fields(self), self._frames(), strict=True):
            sorted_frames.append(frame.iloc[_order(field.name, frame)].reset_index(drop=True)[list(TABLES[field.name])])
        return Records(*sorted_frames)

    def fingerprint(self) -> str:
        """sha256 (64 hex digits) of the content; row order, column order and file format do not matter.

        Nor does a column that came later and says nothing: see :class:`analysis.records.schema.Column`.
        """
        digest = hashlib.sha256(f"gmixout records {SCHEMA_VERSION}".encode())
        for field, frame in zip(fields(self), self._frames(), strict=True):
            order = _order(field.name, frame)
            digest.update(f"{field.name} {len(frame)}".encode())
            for name, column in TABLES[field.name].items():
                if column.is_later and (frame[name] == column.default).all():
                    continue
                digest.update(f"{name} {column.kind}".encode())
                digest.update(_content(column.kind, frame[name], order))
        return digest.hexdigest()

    def correct(self, cell: str, split: str, weights: str = "reported") -> npt.NDArray[np.bool_] | None:
        """Right answers of one cell on one split, shape ``(examples,)``, or None where they were not kept."""
        chosen = self.examples["cell"].eq(cell) & self.examples["split"].eq(split)
        rows = self.examples[chosen & self.examples["weights"].eq(weights)]
        if rows.empty:
            return None
        return unpack(rows["correct"].iloc[0], int(rows["examples"].iloc[0]))

    def _frames(self) -> tuple[pd.DataFrame, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


def concatenate(parts: Sequence[Records]) -> Records:
    """Puts records one after the other, in canonical row order.

    Raises:
        ValueError: If two parts hold the same cell.
    """
    filled = [part for part in parts if len(part.cells)]
    if not filled:
        return Records.empty()
    names = pd.concat([part.cells["cell"] for part in filled])
    repeated = sorted(set(names[names.duplicated()]))
    if repeated:
        raise ValueError(
            f"each cell may come from one part only, got {len(repeated)} cells twice, the first {repeated[0]!r}; "
            "leave one of the copies out"
        )
    frames = []
    for field in fields(Records):
        present = [getattr(part, field.name) for part in filled if len(getattr(part, field.name))]
        whole = pd.concat(present, ignore_index=True) if present else getattr(filled[0], field.name)
        frames.append(whole)
    return Records(*frames).canonical()


def _order(table: str, frame: pd.DataFrame) -> npt.NDArray[np.intp]:
    keys = [_codes(frame[name]) for name in reversed(KEYS[table])]
    return np.lexsort(keys) if len(frame) else np.arange(0)


def _codes(values: pd.Series) -> npt.NDArray[np.generic]:
    if isinstance(values.dtype, pd.StringDtype):
        return _factorize(values)[0]
    return values.to_numpy()


def _factorize(values: pd.Series) -> tuple[npt.NDArray[np.int32], list[str]]:
    codes, uniques = pd.factorize(values, sort=False)
    names = [str(name) for name in uniques]
    # Python's order of code points, so that no locale or library version can change a fingerprint.
    rank = np.empty(len(names) + 1, dtype=np.int32)
    rank[np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.intp)] = np.arange(len(names))
    rank[-1] = -1
    return rank[codes], sorted(names)


def _content(kind: str, values: pd.Series, order: npt.NDArray[np.intp]) -> bytes:
    if kind == "text":
        codes, names = _factorize(values)
        return json.dumps(names).encode() + codes[order].astype("<i4").tobytes()
    if kind == "bytes":
        rows = values.to_numpy()[order]
        return b"".join(len(row).to_bytes(8, "little") + row for row in rows)
    is_null = values.isna().to_numpy()[order]
    if kind == "real":
        reals = values.to_numpy(dtype="<f8")[order] + 0.0
        reals[is_null] = np.nan
        return reals.astype("<f8").tobytes()
    null = False if kind == "truth" else 0
    whole = values.fillna(null).to_numpy(dtype="<i8")[order]
    return is_null.tobytes() + whole.tobytes()
