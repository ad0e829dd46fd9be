"""What a runner needs of those that run its cells, be they processes of this machine or tasks on a cluster."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from studies.messages import Task, Verdict

STOP_PATIENCE_S = 6.0
"""How long running cells may take to save themselves once asked to stop, in seconds."""


class Place(Protocol):
    """A place for one running cell."""

    @property
    def number(self) -> int:
        """Which place."""

    @property
    def log(self) -> Path:
        """Where the output of its cells goes."""


class Hands(Protocol):
    """So many places for cells that run at once. `studies.pool.Pool` says what each call means."""

    has_queue: bool
    """Whether a cell that was sent may wait before it begins; ``Begun`` then tells that it has."""
    patience_s: float
    """How long running cells may take to save themselves once asked to stop, in seconds."""

    @property
    def slots(self) -> Sequence[Any]:
        """The places."""

    def send(self, slot: Any, message: Task | Verdict) -> None: ...

    def receive(self, timeout_s: float) -> Iterator[tuple[Any, object]]: ...

    def replace(self, slot: Any) -> None: ...

    def retire(self, slot: Any) -> None: ...

    def stop(self) -> None: ...

    def close(self, patience_s: float) -> None: ...


Hire = Callable[[int, Path], Hands]
"""Gives so many places, whose logs go to a folder."""
