"""What was computed from records is computed once, as long as they live."""

import functools
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import pandas as pd

from analysis.records.tables import Records

P = ParamSpec("P")
R = TypeVar("R")


def remembered(function: Callable[Concatenate[Records, P], R]) -> Callable[Concatenate[Records, P], R]:
    """Remembers a function's results for each :class:`Records` object and each choice of its other arguments.

    Records never change, so that a result stays right; it is forgotten with them. A dozen figures ask one study for the
    same choices, which would cost a second each time. Frames are handed out as copies.

    Args:
        function: Takes records, and otherwise arguments that can be hashed.

    Example:
        >>> @remembered
        ... def size(records):
        ...     print("counting")
        ...     return len(records.cells)
        >>> nothing = Records.empty()
        >>> size(nothing), size(nothing)
        counting
        (0, 0)
    """
    found: dict[int, dict[Any, Any]] = {}

    @functools.wraps(function)
    def remembering(records: Records, *args: P.args, **kwargs: P.kwargs) -> R:
        name = id(records)
        if name not in found:
            found[name] = {}
            # An id may be given again, so it is forgotten with its owner.
            weakref.finalize(records, found.pop, name, None)
        choice = (args, tuple(sorted(kwargs.items())))
        if choice not in found[name]:
            found[name][choice] = function(records, *args, **kwargs)
        result = found[name][choice]
        return result.copy() if isinstance(result, pd.DataFrame) else result  # type: ignore[return-value]

    return remembering
