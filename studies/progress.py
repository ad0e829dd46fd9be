"""How a run is shown: a bar a running cell and one for the study on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from studies.messages import Moving

PLAIN_EVERY_S = 15.0


def spoken(seconds: float) -> str:
    """A duration for people.

    Example:
        >>> spoken(5), spoken(125), spoken(7300)
        ('5 s', '2 min 05 s', '2 h 01 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Clock:
    """Remaining time of the study, from how fast the work has gone since the first of it was heard of.

    Args:
        total: The whole work, in any unit.
        now: Seconds, from any start.
    """

    def __init__(self, total: float, now: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self._now = now
        # Workers take seconds to start; counting them would foretell hours from the first moments.
        self._first: tuple[float, float] | None = None

    def remaining_s(self, done: float) -> float | None:
        """Seconds left once ``done`` of the work is done; None while less than a hundredth was seen being done.

        Example:
            >>> clock = Clock(10.0, now=iter([0.0, 30.0]).__next__)
            >>> clock.remaining_s(done=1.0)
            >>> clock.remaining_s(done=7.0)
            15.0
        """
        now = self._now()
        if self._first is None:
            self._first = (now, done)
        began_at, before = self._first
        if done - before < 0.01 * self.total:
            return None
        return (now - began_at) * (self.total - done) / (done - before)


class Display(Protocol):
    """Where a run is shown."""

    def start(self, cells: int, work: float) -> None:
        """So many cells, with so much work, are about to run."""

    def begin(self, slot: int, label: str) -> None:
        """A worker begins a cell."""

    def move(self, slot: int, moving: Moving, done: float) -> None:
        """A worker's cell has moved; ``done`` is the work of the whole study that is done."""

    def end(self, slot: int, cells: int, done: float) -> None:
        """A worker's cell is over; so many cells are over now."""

    def say(self, line: str) -> None:
        """Something people should read."""

    def stop(self) -> None:
        """The run is over."""


class Plain:
    """One line every few seconds: for logs and pipes."""

    def __init__(self, console: Console, every_s: float = PLAIN_EVERY_S) -> None:
        self._console = console
        self._every_s = every_s
        self._said_at = time.monotonic()
        self._cells = self._over = 0
        self._clock = Clock(0.0)
        self._running: dict[int, tuple[str, float, Moving | None]] = {}

    def start(self, cells: int, work: float) -> None:
        self._cells, self._clock = cells, Clock(work)
        self.say(f"{cells} cells to run")

    def begin(self, slot: int, label: str) -> None:
        self._running[slot] = (label, time.monotonic(), None)

    def move(self, slot: int, moving: Moving, done: float) -> None:
        if slot in self._running:
            label, started_at, _ = self._running[slot]
            self._running[slot] = (label, started_at, moving)
        left = self._clock.remaining_s(done)
        if time.monotonic() - self._said_at >= self._every_s:
            self._tell(left)

    def end(self, slot: int, cells: int, done: float) -> None:
        self._running.pop(slot, None)
        self._over = cells
        left = self._clock.remaining_s(done)
        if time.monotonic() - self._said_at >= self._every_s or cells == self._cells:
            self._tell(left)

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def stop(self) -> None:
        return None

    def _tell(self, left: float | None) -> None:
        self._said_at = time.monotonic()
        running = "; ".join(_moving_words(*state) for state in self._running.values())
        self.say(f"{self._over}/{self._cells} cells, {_left(left)}{running and ' | '}{running}")


class Bars:
    """A bar for the study and one for each running cell, each with its remaining time."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[words]}", markup=False),
            console=console,
            transient=True,
        )
        self._study: TaskID | None = None
        self._slots: dict[int, tuple[TaskID, str, float]] = {}
        self._clock = Clock(0.0)
        self._cells = self._over = 0

    def start(self, cells: int, work: float) -> None:
        self._cells, self._clock = cells, Clock(work)
        self._study = self._progress.add_task("study", total=max(work, 1e-9), words=f"0/{cells} cells")
        self._progress.start()

    def begin(self, slot: int, label: str) -> None:
        task = self._progress.add_task(label, total=1.0, words="starting")
        self._slots[slot] = (task, label, time.monotonic())

    def move(self, slot: int, moving: Moving, done: float) -> None:
        if slot in self._slots:
            task, _, started_at = self._slots[slot]
            left = _left(_cell_remaining_s(started_at, moving))
            words = f"{moving.phase} {moving.done}/{moving.total}, {left}"
            self._progress.update(task, completed=moving.fraction, words=words)
        self._tell(done)

    def end(self, slot: int, cells: int, done: float) -> None:
        if slot in self._slots:
            self._progress.remove_task(self._slots.pop(slot)[0])
        self._over = cells
        self._tell(done)

    def say(self, line: str) -> None:
        self._progress.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def stop(self) -> None:
        self._progress.stop()

    def _tell(self, done: float) -> None:
        if self._study is not None:
            words = f"{self._over}/{self._cells} cells, {_left(self._clock.remaining_s(done))}"
            self._progress.update(self._study, completed=done, words=words)


def display(console: Console) -> Display:
    """Bars on a terminal, plain lines elsewhere."""
    return Bars(console) if console.is_terminal else Plain(console)


def _cell_remaining_s(started_at: float, moving: Moving) -> float | None:
    if moving.fraction <= 0:
        return None
    return (time.monotonic() - started_at) * (1 - moving.fraction) / moving.fraction


def _moving_words(label: str, started_at: float, moving: Moving | None) -> str:
    if moving is None:
        return f"{label}: starting"
    return f"{label}: {moving.phase} {moving.done}/{moving.total}, {_left(_cell_remaining_s(started_at, moving))}"


def _left(seconds: float | None) -> str:
    return "remaining time not known yet" if seconds is None else f"{spoken(seconds)} left"
