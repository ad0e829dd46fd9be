"""A cell's lease: at most one process works on a cell, and a dead process's cell is taken over."""

import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from studies.atomic import write_text
from studies.processes import described, is_dead, me

LEASE = "lease"
LOCK = ".lease-lock"
HEARTBEAT_EVERY_S = 5.0
STALE_AFTER_S = 60.0

_WATCHED: dict[Path, tuple[str, float]] = {}
"""The last heartbeat seen of each foreign lease, and when this process first saw it, by a clock that never jumps."""


class Leased(RuntimeError):
    """Another live process holds the cell."""


class LostLease(RuntimeError):
    """The lease was taken over: this process was silent for too long and must not write its result."""


class Lease:
    """The right to work on one cell, renewed by a heartbeat while it is held.

    The heartbeat is the lease file's modification time. A lease is stale when its process is known to have ended, or
    when whoever wants it has watched it for ``stale_after_s`` without a heartbeat. No two clocks are ever compared, and
    none that can be set, so a machine whose clock jumps takes nothing and loses nothing. Taking happens under an
    advisory lock of the folder, so of two processes that see the same stale lease one gets it.

    Args:
        folder: The cell's folder; it exists.
        stale_after_s: Silence, in seconds, after which a lease may be taken whose process cannot be looked up.
        heartbeat_every_s: Seconds between heartbeats.
        silent: A heartbeat that another process of ours has watched for long enough; see :func:`silent_beat`.

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
        self,
        folder: Path,
        stale_after_s: float = STALE_AFTER_S,
        heartbeat_every_s: float = HEARTBEAT_EVERY_S,
        silent: str = "",
    ) -> None:
        self.folder = folder
        self.path = folder / LEASE
        self.owner = uuid.uuid4().hex
        self._stale_after_s = stale_after_s
        self._heartbeat_every_s = heartbeat_every_s
        self._silent = silent
        self._lost = threading.Event()
        self._released = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Lease":
        with _locked(self.folder):
            if is_leased(self.folder, self._stale_after_s, self._silent):
                raise Leased(f"{self.folder} is worked on by {described(holder(self.folder))}")
            write_text(self.path, json.dumps({"owner": self.owner, **me()}))
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        if self._thread is not None:
            self._thread.join()
        # Where the file cannot be removed it falls silent: whoever wants the cell waits for that.
        with suppress(OSError), _locked(self.folder):
            if self.is_held():
                self.path.unlink(missing_ok=True)

    def is_held(self) -> bool:
        """Whether the lease is still ours."""
        found = holder(self.folder)
        return found is not None and found.get("owner") == self.owner

    @property
    def is_lost(self) -> bool:
        """Whether a heartbeat found that another process has taken the cell over; asks no disk."""
        return self._lost.is_set()

    def check(self) -> None:
        """Call before a result is written.

        Raises:
            LostLease: If another process has taken the cell over.
        """
        if not self.is_held():
            raise LostLease(f"the lease of {self.folder} was taken over by {described(holder(self.folder))}")

    def _beat(self) -> None:
        while not self._released.wait(self._heartbeat_every_s):
            found = holder(self.folder)
            if found is None or found.get("owner", self.owner) != self.owner:
                self._lost.set()
                return
            try:
                os.utime(self.path)
            except OSError:
                # A file server may be away for a while; the next beat tries again.
                continue


def holder(folder: Path) -> dict[str, object] | None:
    """Who holds the lease of a cell's folder, dead or alive; None where there is none, empty where it is unreadable."""
    found = _look(folder)
    return None if found is None else found[0]


def is_leased(folder: Path, stale_after_s: float = STALE_AFTER_S, silent: str = "") -> bool:
    """Whether a live process holds the cell, as far as can be known.

    A lease whose process cannot be looked up from here counts until this process has watched it for so long without a
    heartbeat: the first look at it always says that it is held.

    Args:
        folder: The cell's folder.
        stale_after_s: Silence after which it no longer counts, in seconds.
        silent: A heartbeat that has been watched for long enough elsewhere.
    """
    found = _look(folder)
    if found is None or is_dead(found[0]) or found[1] == silent:
        return False
    now = time.monotonic()
    beat, since = _WATCHED.get(folder, ("", now))
    if beat != found[1]:
        _WATCHED[folder] = (found[1], now)
        return True
    return now - since <= stale_after_s


def silent_beat(folder: Path, stale_after_s: float = STALE_AFTER_S) -> str:
    """The heartbeat of a lease that this process has watched for long enough: whoever is told it need not watch again.

    Empty where there is none such.
    """
    found = _look(folder)
    return found[1] if found is not None and not is_leased(folder, stale_after_s) else ""


def silence_s(folder: Path) -> float:
    """Age of a lease's last heartbeat in seconds, by two clocks: to be shown to people, never to decide by."""
    try:
        return max(0.0, time.time() - (folder / LEASE).stat().st_mtime)
    except OSError:
        return 0.0


def _look(folder: Path) -> tuple[dict[str, object], str] | None:
    try:
        # Opened anew each time: network file systems ask the server only then.
        with open(folder / LEASE, "rb") as file:
            beat, content = os.fstat(file.fileno()).st_mtime_ns, file.read()
    except FileNotFoundError:
        return None
    except OSError:
        return {}, "unreadable"
    try:
        claim = json.loads(content)
    except ValueError:
        claim = None
    claim = claim if isinstance(claim, dict) else {}
    return claim, f"{claim.get('owner', '')} {beat}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with open(folder / LOCK, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
