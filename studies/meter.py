"""How far a running cell is, as one fraction, and the request to stop."""

from collections.abc import Mapping
from typing import Protocol

from studies.costs import Rates, seconds, work_of
from studies.failures import Stopped
from studies.messages import Moving
from studies.settings import CellSettings


class Listener(Protocol):
    """Who follows a running cell."""

    def should_stop(self) -> bool:
        """Whether the cell should save itself and stop."""

    def move(self, moving: Moving) -> None:
        """Hears how far the cell is."""

    def judge(self, step: int, score: float) -> bool:
        """Whether the cell ends here, after so many steps and with this score on ID validation."""


class Meter:
    """Turns steps and images into the fraction of the cell that is done.

    Args:
        cell: The running cell.
        sizes: Number of images by split.
        listener: Is told, and is asked.
    """

    def __init__(self, cell: CellSettings, sizes: Mapping[str, int], listener: Listener) -> None:
        self._work = work_of(cell, sizes)
        evaluating_s = self._work.images * Rates().image_s
        self._training_part = 1 - evaluating_s / seconds(self._work, cell.listed_as)
        self._listener = listener
        self._images = 0

    def should_stop(self) -> bool:
        """Whether the cell should save itself and stop."""
        return self._listener.should_stop()

    def judge(self, step: int, score: float) -> bool:
        """Whether the cell ends here, after so many steps and with this score on ID validation."""
        return self._listener.judge(step, score)

    def step(self, done: int) -> None:
        """``done`` optimiser steps are done."""
        fraction = self._training_part * done / max(1, self._work.steps)
        self._listener.move(Moving("training", done, self._work.steps, fraction))

    def images(self, more: int) -> None:
        """``more`` images are evaluated.

        Raises:
            Stopped: If asked to stop; a trained model's checkpoint is there.
        """
        self._images += more
        fraction = self._training_part + (1 - self._training_part) * self._images / max(1, self._work.images)
        self._listener.move(
            Moving("evaluating", self._images, max(self._images, self._work.images), min(1.0, fraction))
        )
        if self.should_stop():
            raise Stopped("stopped while evaluating")
