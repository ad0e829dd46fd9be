"""The numbers and lists of captions in words."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from analysis import theme


def percent(value: float, signed: bool = False) -> str:
    """A fraction as percent with one decimal, its minus a real one.

    Example:
        >>> percent(0.6013), percent(-0.034, signed=True)
        ('60.1', '−3.4')
    """
    if pd.isna(value):
        return "unknown"
    return f"{100 * value:{'+' if signed else ''}.1f}".replace("-", "−")


def with_interval(row: Any, name: str, low: str, high: str, signed: bool = False) -> str:
    """A fraction of a row with its interval, where there is one, as percent.

    Example:
        >>> with_interval({"gain": 0.02, "low": -0.01, "high": 0.05}, "gain", "low", "high", signed=True)
        '+2.0 [−1.0, +5.0]'
    """
    text = percent(row[name], signed)
    if pd.isna(row[low]) or pd.isna(row[high]):
        return text
    return f"{text} [{percent(row[low], signed)}, {percent(row[high], signed)}]"


def listed(words: Iterable[str]) -> str:
    """Words as a list.

    Example:
        >>> listed(["ID", "OOD", "diversity"])
        'ID, OOD and diversity'
    """
    found = list(words)
    return " and ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "run"), counted(3, "run")
        ('1 run', '3 runs')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def span(values: pd.Series) -> str:
    """Lowest to highest of a column of fractions, as percent.

    Example:
        >>> span(pd.Series([0.5, 0.25]))
        '25.0 to 50.0'
    """
    return f"{percent(values.min())} to {percent(values.max())}"


def id_and_ood(points: pd.DataFrame, most: int = 6) -> str:
    """Methods with their ID and OOD accuracies: all of them if they are few, else GMixout and its references.

    Args:
        points: Columns ``method``, ``id_score``, ``ood_score``, one row a method.
        most: How many are few.
    """
    rows = points.drop_duplicates("method").set_index("method").to_dict("index")
    shown: Sequence[Any] = theme.in_order(map(str, rows))
    if len(shown) > most:
        shown = [name for name in ("zero_shot", "full", "mixout", "gmixout") if name in rows] or shown[:most]
    return "; ".join(
        f"{theme.look(name).label} {percent(rows[name]['id_score'])} / {percent(rows[name]['ood_score'])}"
        for name in shown
    )


def cells_behind(frame: pd.DataFrame) -> int:
    """How many cells a figure's table names, each once."""
    return len({cell for cells in frame["cells"] for cell in cells})
