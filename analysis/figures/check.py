"""Are stored figures still what the records say? Their tables are computed again and compared with the stored CSV.

Pixels are not compared: they change with the drawing library, and hide what differs. The picture is only asked which
records it was drawn from.
"""

import csv
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from io import StringIO
from pathlib import Path

from PIL import Image

from analysis.figures.render import ENDINGS, caption, redrawn, wanted_figures
from analysis.printing import csv_text
from analysis.records import Records

MOST_ROWS = 5
ROUNDING = 1e-9
"""Relative difference that is rounding: sums in another order, on another processor, differ by some 1e-15."""


@dataclass(frozen=True)
class Checked:
    """What the check of one figure found.

    Args:
        name: The figure.
        problems: What differs, one line each; empty if nothing does.
        note: Why there was nothing to compare; empty if there was.
    """

    name: str
    problems: tuple[str, ...] = ()
    note: str = ""


def check_all(
    records: Records,
    folder: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Checked]:
    """Compares every stored figure of a folder with what the records give now.

    Args:
        records: The records that the figures should show.
        folder: Where :func:`analysis.figures.render.draw_all` wrote them.
        names: Names in ``FIGURES``; by default all.
        progress: Called with a figure's name before it.

    Returns:
        One entry a figure. A figure that the folder does not hold has a ``note`` and no problem.

    Raises:
        ValueError: If a name is unknown, or the folder holds no figure at all.
    """
    wanted = wanted_figures(names)
    source = Path(folder)
    fingerprint = records.fingerprint()
    checked = []
    has_any = False
    for one in redrawn(records, wanted, progress):
        paths = {ending: source / f"{one.full_name}{ending}" for ending in ENDINGS}
        if not any(path.exists() for path in paths.values()):
            reason = one.skipped or "it can be drawn, but is not stored"
            checked.append(Checked(one.full_name, note=reason))
            continue
        has_any = True
        if one.frame is None:
            problem = f"it is stored, but can no longer be drawn: {one.skipped}"
            checked.append(Checked(one.full_name, (problem,)))
            continue
        lost = [str(path) for path in paths.values() if not path.exists()]
        problems = [f"{path} is missing" for path in lost]
        if paths[".csv"].exists():
            problems += differences(paths[".csv"].read_text(encoding="utf-8"), csv_text(one.frame, fingerprint))
        if paths[".md"].exists() and paths[".md"].read_text(encoding="utf-8") != caption(one, fingerprint):
            problems.append(f"{paths['.md']} is not the caption of these records")
        problems += [f"{path} was drawn from other records" for path in (paths[".png"], paths[".svg"])
                     if path.exists() and not _names(path, fingerprint)]  # fmt: skip
        checked.append(Checked(one.full_name, tuple(problems)))
    if not has_any:
        raise ValueError(f"{source} holds none of the figures {', '.join(wanted)}; draw them first, without --check")
    return checked


def differences(stored: str, now: str) -> list[str]:
    """How two texts of :func:`analysis.printing.csv_text` differ, row by row; numbers that differ by rounding agree.

    Rows are matched by what is not a number in them, cells left out, so that a row too many does not make all rows
    after it differ.

    Args:
        stored: The text of a stored file.
        now: What the records give now.

    Returns:
        One line a difference, the first ``MOST_ROWS`` rows in full; row 1 is the first below the heading.

    Example:
        >>> differences("# r\\nmethod,score\\nfull,0.5\\n", "# r\\nmethod,score\\nfull,0.6\\n")
        ['row 1 (full): score is 0.5, the records give 0.6']
    """
    source, heading, rows = _parsed(stored)
    source_now, heading_now, rows_now = _parsed(now)
    found = [] if source == source_now else [f"it names {source or 'no records'}, these are {source_now}"]
    if heading != heading_now:
        return [*found, f"its columns are {', '.join(heading)}; the records give {', '.join(heading_now)}"]
    lines = []
    pairs = _matched([_key(row, heading) for row in rows], [_key(row, heading) for row in rows_now])
    for position, position_now in pairs:
        if position is None:
            name = _spoken(rows_now[position_now or 0], heading)
            lines.append(f"row {(position_now or 0) + 1} of the records{name} is not stored")
        elif position_now is None:
            lines.append(f"row {position + 1}{_spoken(rows[position], heading)} is stored, the records do not give it")
        else:
            changed = [
                f"{name} is {_short(old)}, the records give {_short(new)}"
                for name, old, new in zip(heading, rows[position], rows_now[position_now])
                if not _is_same(old, new)
            ]
            if changed:
                lines.append(f"row {position + 1}{_spoken(rows[position], heading)}: {'; '.join(changed)}")
    if len(lines) > MOST_ROWS:
        lines = [*lines[:MOST_ROWS], f"and {len(lines) - MOST_ROWS} more rows of {len(rows_now)}"]
    return [*found, *lines]


def _parsed(text: str) -> tuple[str, list[str], list[list[str]]]:
    first, _, rest = text.partition("\n")
    source = first.removeprefix("# ") if first.startswith("#") else ""
    rows = list(csv.reader(StringIO(rest if source else text)))
    return source, rows[0] if rows else [], rows[1:]


def _matched(keys: list[tuple[str, ...]], keys_now: list[tuple[str, ...]]) -> list[tuple[int | None, int | None]]:
    pairs: list[tuple[int | None, int | None]] = []
    for kind, start, end, start_now, end_now in SequenceMatcher(None, keys, keys_now, autojunk=False).get_opcodes():
        if kind == "equal":
            pairs += zip(range(start, end), range(start_now, end_now))
        else:
            pairs += [(position, None) for position in range(start, end)]
            pairs += [(None, position) for position in range(start_now, end_now)]
    return pairs


def _key(row: list[str], heading: list[str]) -> tuple[str, ...]:
    return tuple(value for name, value in zip(heading, row) if name != "cells" and value and not _is_number(value))


def _spoken(row: list[str], heading: list[str]) -> str:
    words = [value for value in dict.fromkeys(_key(row, heading)) if value not in ("True", "False") and len(value) < 40]
    return f" ({', '.join(words)})" if words else ""


def _is_same(old: str, new: str) -> bool:
    if old == new:
        return True
    return _is_number(old) and _is_number(new) and math.isclose(float(old), float(new), rel_tol=ROUNDING, abs_tol=1e-15)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(value: str) -> str:
    shown = value or "empty"
    return shown if len(shown) <= 40 else f"{shown[:37]}..."


def _names(path: Path, fingerprint: str) -> bool:
    if path.suffix == ".svg":
        return fingerprint in path.read_text(encoding="utf-8")
    with Image.open(path) as image:
        return image.info.get("Source") == f"records sha256:{fingerprint}"
