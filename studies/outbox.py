"""What a plan's database is to be told, in order: where it does not answer, the work goes on and it is told later."""

import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from studies.storage import UNREACHABLE

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0

Answer = TypeVar("Answer")


class Outbox:
    """Messages to a database that may be away for a while.

    Args:
        told: What an error of the database says, for people.

    Example:
        >>> outbox = Outbox(str)
        >>> outbox.put(lambda: print("told"))
        told
        >>> outbox.ask(lambda: 3, otherwise=None)
        3
    """

    def __init__(self, told: Callable[[BaseException], str]) -> None:
        self._told = told
        self._waiting: deque[Callable[[], object]] = deque()
        self._pause_s = FIRST_PAUSE_S
        self._not_before = -float("inf")
        self._silent_since: float | None = None
        self.trouble = ""

    @property
    def silent_s(self) -> float:
        """How long the database has not answered, in seconds; 0 where it does."""
        return 0.0 if self._silent_since is None else time.monotonic() - self._silent_since

    def put(self, message: Callable[[], object]) -> None:
        """Tells the database now if it can be, else as soon as it can; messages keep their order.

        Args:
            message: May be called again after an attempt that failed half-way.
        """
        self._waiting.append(message)
        self.flush()

    def ask(self, question: Callable[[], Answer], otherwise: Answer) -> Answer:
        """The database's answer, once it knows all that it was to be told.

        Args:
            question: Asks.
            otherwise: The answer where the database gives none.
        """
        if not self.flush():
            return otherwise
        try:
            return question()
        except UNREACHABLE as error:
            self._despair(error)
            return otherwise

    def flush(self, patience_s: float = 0.0) -> bool:
        """Tells what is waiting; returns whether nothing is left and the database is there.

        Args:
            patience_s: How long to try again where it does not answer.
        """
        until = time.monotonic() + patience_s
        while not self._try():
            if time.monotonic() >= until:
                return False
            time.sleep(min(0.1, FIRST_PAUSE_S))
        return True

    def _try(self) -> bool:
        if time.monotonic() < self._not_before:
            return False
        try:
            while self._waiting:
                self._waiting[0]()
                self._waiting.popleft()
        except UNREACHABLE as error:
            self._despair(error)
            return False
        if self._silent_since is None or not self._waiting:
            self.trouble, self._silent_since, self._pause_s = "", None, FIRST_PAUSE_S
        return True

    def _despair(self, error: BaseException) -> None:
        self.trouble = self._told(error)
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        self._not_before = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
