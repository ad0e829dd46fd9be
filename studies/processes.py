"""Which process on which machine, and whether it still runs. Process ids mean nothing elsewhere."""

import os
import socket
from functools import cache
from pathlib import Path


def me() -> dict[str, object]:
    """What tells this process from every other: its machine and boot, its id, and when it started.

    Example:
        >>> is_dead(me()), is_dead(me() | {"started": "1"}), is_dead(me() | {"host": "elsewhere", "pid": 0})
        (False, True, False)
    """
    return process(os.getpid())


def process(pid: int) -> dict[str, object]:
    """What tells a process of this machine from every other.

    Args:
        pid: Its id.
    """
    return {"host": socket.gethostname(), "place": _place(), "pid": pid, "started": _start_of(pid)}


def is_dead(process: dict[str, object]) -> bool:
    """Whether a process is known to have ended: False where it runs, and where nothing can be said from here.

    Args:
        process: What :func:`me` said in that process.
    """
    if process.get("host") != socket.gethostname() or process.get("place") != _place():
        return False
    pid = process.get("pid")
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    # A process id is used again after a while; the start time tells the two processes apart.
    started, now = process.get("started"), _start_of(pid)
    return started is not None and now is not None and now != started


def described(process: dict[str, object] | None) -> str:
    """A process in words."""
    return f"process {process.get('pid', '?')} on {process.get('host', '?')}" if process else "an unknown process"


@cache
def _place() -> str:
    """One boot of one machine, seen from one container: hosts of equal names differ here."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    try:
        return f"{boot.read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start_of(pid: int) -> str | None:
    """When a process started, in the system's own ticks; None where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "zombie" if fields[0] == "Z" else fields[19]
