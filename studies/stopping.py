"""Ctrl-C and SIGTERM as a request to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def asked_to_stop(stop: threading.Event, is_at_once: bool = False) -> Iterator[None]:
    """Ctrl-C or SIGTERM asks to stop; a second one no longer waits.

    Where this is not the main thread, signals are somebody else's.

    Args:
        stop: Is set on request.
        is_at_once: Whether not even the first request waits, since nothing has begun.
    """

    def ask(number: int, frame: FrameType | None) -> None:
        if is_at_once or stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
