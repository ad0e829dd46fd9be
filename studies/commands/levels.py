"""How far a study is by lever: for each value of what its cells differ in, how many stand where."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from studies.settings import CellSettings
from studies.store import State

MANY = 8
"""More numbers than these are shown in ``BINS`` ranges with as many cells in each."""
BINS = 4


def by_level(cells: Sequence[CellSettings], states: Mapping[str, State]) -> dict[str, dict[str, Counter[State]]]:
    """Counts of states by lever and level, for everything that has more than one value among the cells.

    Args:
        cells: The study's cells.
        states: Where each stands, by identity.

    Returns:
        Lever to level to counts; levels in their order, cells without the lever left out.
    """
    facts = {cell.identity: _facts(cell) for cell in cells}
    names = list(dict.fromkeys(name for values in facts.values() for name in values))
    found = {}
    for name in names:
        values = {identity: own[name] for identity, own in facts.items() if own.get(name) is not None}
        levels = _levels(list(values.values()))
        if len(levels) < 2:
            continue
        counts: dict[str, Counter[State]] = {label: Counter() for label in dict.fromkeys(levels.values())}
        for identity, value in values.items():
            counts[levels[value]][states[identity]] += 1
        found[name] = counts
    return found


def levels_table(found: Mapping[str, Mapping[str, Counter[State]]]) -> Table:
    """One line a level, one column a state.

    Args:
        found: From :func:`by_level`.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("lever")
    table.add_column("level")
    for state in State:
        table.add_column(state.value, justify="right")
    for name, levels in found.items():
        for number, (label, counts) in enumerate(levels.items()):
            numbers = (str(counts[state]) if counts[state] else "" for state in State)
            table.add_row(name if number == 0 else "", label, *numbers)
        table.add_section()
    return table


def _facts(cell: CellSettings) -> dict[str, Any]:
    facts = {
        "method": cell.listed_as,
        "learning_rate": cell.learning_rate,
        "seed": cell.seed,
        "pretrain_seed": cell.pretrain_seed,
        "backbone": cell.backbone,
    }
    return {**facts, **cell.levers, **{name: _hashable(value) for name, value in cell.options.items()}}


def _hashable(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _levels(values: list[Any]) -> dict[Any, str]:
    different = list(dict.fromkeys(values))
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in different)
    if not is_number:
        return {value: str(value) for value in different}
    different.sort()
    if len(different) <= MANY:
        return {value: f"{value:g}" for value in different}
    parts = np.array_split(np.array(different), BINS)
    return {float(value): f"{part[0]:.3g} to {part[-1]:.3g}" for part in parts for value in part}
