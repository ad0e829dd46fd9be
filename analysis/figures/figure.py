"""What a figure is: a table from records, a drawing and a caption from that table, a title, a size."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from analysis.records import Records


class NothingToDraw(ValueError):
    """The records lack what a figure shows; the message says what, and which cells would bring it."""


@dataclass(frozen=True)
class Figure:
    """A figure of the suite.

    Args:
        title: What is shown, in one line.
        table: Records of one benchmark and backbone to the frame that is drawn, one row a mark, with a ``cells``
            column (tuple of cell hashes). Raises :class:`NothingToDraw`.
        draw: Draws that frame on an empty matplotlib figure and returns its axes, colour bars left out.
        caption: The same frame to a few sentences that say what is drawn, with the numbers that they state.
        size: Width and height in inches.
        is_of_main_metric: Whether its "accuracy" is the benchmark's own metric, and is called by that one's name where
            it is another (macro-F1).
    """

    title: str
    table: Callable[[Records], pd.DataFrame]
    draw: Callable[[pd.DataFrame, Canvas], list[Axes]]
    caption: Callable[[pd.DataFrame], str]
    size: tuple[float, float]
    is_of_main_metric: bool = True


def needs(condition: bool, what: str, how: str) -> None:
    """Raises :class:`NothingToDraw` unless the condition holds.

    Args:
        condition: Whether the data are there.
        what: What the figure needs.
        how: Which cells bring it.
    """
    if not condition:
        raise NothingToDraw(f"this figure needs {what}, the records hold none; {how}")
