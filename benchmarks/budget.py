"""How long a script may take: asked between two pieces of work, so it is overrun by one piece at most."""

import math
import time


class Budget:
    """A number of seconds, counted from now.

    Args:
        seconds: How many; may be infinite.

    Example:
        >>> budget = Budget(100.0)
        >>> budget.is_spent, 49 < budget.share(2) <= 50
        (False, True)
        >>> Budget(0.0).is_spent
        True
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds that remain, never negative."""
        return max(0.0, self.seconds - (time.monotonic() - self._began))

    @property
    def is_spent(self) -> bool:
        """Whether none remain."""
        return self.left <= 0.0

    def share(self, parts: int) -> float:
        """Seconds for the first of so many equal parts of what remains."""
        return self.left / parts


def spoken(seconds: float) -> str:
    """A duration for people.

    Example:
        >>> spoken(42), spoken(400), spoken(float("inf"))
        ('42 s', '7 min', 'any time')
    """
    if math.isinf(seconds):
        return "any time"
    return f"{seconds:.0f} s" if seconds < 120 else f"{math.ceil(seconds / 60)} min"
