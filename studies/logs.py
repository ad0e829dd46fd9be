"""A worker's log: all that it and the libraries below it print, cell after cell."""

import faulthandler
import logging
import os
import socket
import sys
import time
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path

LOGS = "logs"
TAIL_LINES = 20
_TAIL_BYTES = 2**16


def log_folder(root: Path) -> Path:
    """Where the workers of this run of a study write, in its results folder: a folder a run, sorted by time.

    Args:
        root: The results folder.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return root / LOGS / f"{stamp}-{socket.gethostname()}-{os.getpid()}"


def divert(path: Path) -> None:
    """From here on, whatever this process prints goes to the end of a file, also what compiled code prints.

    A log that cannot be written stops no work.

    Args:
        path: The file; it and its folder are made.
    """
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        os.close(descriptor)
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, TextIOWrapper):
            output.reconfigure(line_buffering=True, errors="backslashreplace")
    faulthandler.enable(all_threads=False)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


def note(line: str) -> None:
    """Writes a line with its time to this worker's log."""
    with suppress(OSError):
        os.write(1, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line.rstrip()}\n".encode())


def begin(identity: str, label: str) -> None:
    """Notes that a cell begins; what follows is its own until the next."""
    note(f"begin {identity} {label}")


def tail(path: Path, identity: str, lines: int = TAIL_LINES) -> str:
    """The last lines of a cell's latest part of a log; empty where there are none.

    Args:
        path: A worker's log.
        identity: The cell.
        lines: How many lines at most.
    """
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="backslashreplace")
    except OSError:
        return ""
    own = text.rpartition(f" begin {identity}")[2]
    return "\n".join(own.splitlines()[1:][-lines:])
