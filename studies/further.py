"""Cells that a run makes up as it goes, each in the light of what came of the others."""

from typing import Protocol

from studies.settings import CellSettings


class Further(Protocol):
    """Where a run gets cells from once its own are taken."""

    cell_work: float
    """Work of a cell that is still to come, as expected, in the unit of the run's other work."""

    @property
    def left(self) -> int:
        """How many cells are still to come; 0 ends the run once all that it has are over."""

    def next(self) -> CellSettings | None:
        """The next cell; None where none can be had before another is over."""

    def judge(self, identity: str, step: int, score: float) -> bool:
        """Whether a running cell ends here, after so many steps and with this score on ID validation."""

    def settle(self, identity: str) -> None:
        """A cell is over: its folder says how."""
