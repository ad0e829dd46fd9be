"""A cell's lease: at most one process works on a cell, and a dead process's cell is taken over."""

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from studies.atomic import write_text

LEASE = "lease"
LOCK = ".lease-lock"
HEARTBEAT_EVERY_S = 5.0
STALE_AFTER_S = 60.0


class Leased(RuntimeError):
    """Another live process holds the cell."""


class LostLease(RuntimeError):
    """The lease was taken over: this process was silent for too long and must not write its result."""


class Lease:
    """The right to work on one cell, renewed by a heartbeat while it is held.

    The heartbeat is the lease file's modification time. A lease is stale when its process on this host is gone, or
    when its last heartbeat is ``stale_after_s`` old. Taking happens under an advisory lock of the folder, so of two
    processes that see the same stale lease one gets it.

    Args:
        folder: The cell's folder; it exists.
        stale_after_s: Silence, in seconds, after which another host's lease may be taken.
        heartbeat_every_s: Seconds between heartbeats.

    Raises:
        Leased: On entering, if a live process holds the cell.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with Lease(folder) as lease:
        ...     holder(folder)["pid"] == os.getpid()
        True
        >>> holder(folder) is None
        True
    """

    def __init__(
        self, folder: Path, stale_after_s: float = STALE_AFTER_S, heartbeat_every_s: float = HEARTBEAT_EVERY_S
    ) -> None:
        self.folder = folder
        self.path = folder / LEASE
        self.owner = uuid.uuid4().hex
        self._stale_after_s = stale_after_s
        self._heartbeat_every_s = heartbeat_every_s
        self._released = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Lease":
        with _locked(self.folder):
            if is_leased(self.folder, self._stale_after_s):
                raise Leased(f"{self.folder} is worked on by {_describe(holder(self.folder))}")
            pid = os.getpid()
            claim = {"owner": self.owner, "host": socket.gethostname(), "pid": pid, "started": _start_of(pid)}
            write_text(self.path, json.dumps(claim))
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        if self._thread is not None:
            self._thread.join()
        with _locked(self.folder):
            if self.is_held():
                self.path.unlink(missing_ok=True)

    def is_held(self) -> bool:
        """Whether the lease is still ours."""
        found = holder(self.folder)
        return found is not None and found.get("owner") == self.owner

    def check(self) -> None:
        """Call before a result is written.

        Raises:
            LostLease: If another process has taken the cell over.
        """
        if not self.is_held():
            raise LostLease(f"the lease of {self.folder} was taken over by {_describe(holder(self.folder))}")

    def _beat(self) -> None:
        while not self._released.wait(self._heartbeat_every_s):
            if not self.is_held():
                return
            try:
                os.utime(self.path)
            except OSError:
                return


def holder(folder: Path) -> dict[str, object] | None:
    """Who holds the lease of a cell's folder, dead or alive; None where there is none."""
    try:
        claim = json.loads((folder / LEASE).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return claim if isinstance(claim, dict) else {}


def is_leased(folder: Path, stale_after_s: float = STALE_AFTER_S) -> bool:
    """Whether a live process holds the cell."""
    claim = holder(folder)
    if claim is None:
        return False
    try:
        silent_s = time.time() - (folder / LEASE).stat().st_mtime
    except OSError:
        return False
    if silent_s > stale_after_s:
        return False
    if claim.get("host") != socket.gethostname() or not isinstance(claim.get("pid"), int):
        return True
    return _is_running(int(str(claim["pid"])), claim.get("started"))


def _is_running(pid: int, started: object) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # A process id is used again after a while; the start time tells the two processes apart.
    return started is None or _start_of(pid) is None or _start_of(pid) == started


def _start_of(pid: int) -> str | None:
    """When a process started, in the system's own ticks, without zombies; None where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "zombie" if fields[0] == "Z" else fields[19]


def _describe(claim: dict[str, object] | None) -> str:
    return f"process {claim.get('pid', '?')} on {claim.get('host', '?')}" if claim else "an unknown process"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with open(folder / LOCK, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
