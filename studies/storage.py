"""Where a study's plan is kept: a journal file beside the results, or a database for workers on many machines."""

import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy
from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from studies.impatient import PATIENCE_S, connecting
from studies.store import ResultsError

VARIABLE = "GMIXOUT_STORAGE"
"""The environment's variable for the database's URL: other users of a machine can read a command line."""
JOURNAL = "plan.journal"
HEARTBEAT_S = 10.0
GRACE_S = 60.0
LOCK_PART_MS = 3000
_LOCK_NOT_AVAILABLE = "55P03"
UNREACHABLE = (StorageInternalError, SQLAlchemyError)
"""What is raised where a database does not answer."""

_NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "gpfs",
    "beegfs",
    "sshfs",
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Database:
    """A database for workers on many machines, which keeps their heartbeats.

    Attributes:
        rdb: Optuna's.
        told: What one of its errors says, for people: in one line and without a password.
        heartbeat_s: Seconds between heartbeats.
        grace_s: Silence after which a trial counts as abandoned, in seconds.
    """

    rdb: RDBStorage
    told: Callable[[BaseException], str]
    heartbeat_s: float
    grace_s: float


@dataclass(frozen=True)
class Storage:
    """An opened storage.

    Attributes:
        optuna: What Optuna needs.
        turns: Where processes wait for each other.
        database: What is behind it, where many machines share it; None for files.
    """

    optuna: BaseStorage
    turns: "Turns"
    database: Database | None = None

    def told(self, error: BaseException) -> str:
        """What an error of the storage says, for people."""
        return str(error) if self.database is None else self.database.told(error)

    def close(self) -> None:
        """Closes the connections, once nobody needs them any more."""
        self.optuna.remove_session()
        if self.database is not None:
            self.database.rdb.engine.dispose()


class Turns:
    """Lets one process at a time do what must not be done by two: making tables, filling the queue.

    Args:
        lock: A file to lock, or a database whose advisory locks are used.
    """

    def __init__(self, lock: Path | sqlalchemy.Engine) -> None:
        self._lock = lock

    @contextmanager
    def take(self, name: str) -> Iterator[None]:
        """Waits for this process's turn; a process that dies gives its turn away."""
        if isinstance(self._lock, Path):
            with FileLock(self._lock):
                yield
            return
        key = int.from_bytes(hashlib.sha256(f"gmixout {name}".encode()).digest()[:8], "big", signed=True)
        with self._lock.connect() as connection:
            _lock(connection, key)
            try:
                yield
            finally:
                connection.execute(sqlalchemy.text("SELECT pg_advisory_unlock(:key)"), {"key": key})
                connection.commit()


def _lock(connection: sqlalchemy.Connection, key: int) -> None:
    """Waits in parts: a server that has been silent for longer than one of them is gone."""
    while True:
        try:
            connection.execute(sqlalchemy.text(f"SET lock_timeout = {LOCK_PART_MS}"))
            connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": key})
            connection.commit()
            return
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            connection.rollback()


def storage_url(given: str | None) -> str | None:
    """The database's URL: as given, or from the environment, out of which it is then taken; None for a journal file.

    Workers and whatever they load inherit the environment, and need not know a password.
    """
    inherited = os.environ.pop(VARIABLE, None)
    return given or inherited or None


def open_storage(
    url: str | None,
    folder: Path,
    workers: int = 1,
    heartbeat_s: float = HEARTBEAT_S,
    grace_s: float = GRACE_S,
) -> Storage:
    """Opens, and makes if need be, the storage of a plan.

    Args:
        url: A database, or None for a journal file.
        folder: The results folder, where the journal lies.
        workers: Processes of this run.
        heartbeat_s: Seconds between heartbeats in a database.
        grace_s: Silence after which a database's trial counts as abandoned, in seconds.

    Raises:
        ResultsError: If the database cannot be had. No message ever holds more of the URL than host and name.
    """
    if url is None:
        if is_on_network(folder):
            logger.warning(
                "the plan %s lies on a network file system, whose locks may fail: for workers on several machines give "
                "a database with --storage postgresql://…",
                folder / JOURNAL,
            )
        journal = folder / JOURNAL
        storage = JournalStorage(JournalFileBackend(str(journal), _Flock(folder / f".{JOURNAL}.lock")))
        return Storage(storage, Turns(folder / f".{JOURNAL}.turn"))
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, workers)
    return _postgresql(parsed, heartbeat_s, grace_s)


def shown(url: str) -> str:
    """A database's URL for people: host, port and name, and nothing that could be secret.

    Example:
        >>> shown("postgresql://ann:secret@db.lab:5433/studies?sslpassword=more")
        'postgresql://db.lab:5433/studies'
    """
    return _shown(_parsed(url))


def is_on_network(folder: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether a folder lies on a file system of another machine; False where the system does not say.

    Args:
        folder: Any folder.
        mounts: The system's list of what is mounted where.
    """
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return False
    place = folder.resolve()
    kinds = {
        Path(mounted.replace("\\040", " ")): kind
        for _, mounted, kind, *_ in lines
        if place.is_relative_to(mounted.replace("\\040", " "))
    }
    kind = kinds[max(kinds, key=lambda mounted: len(mounted.parts))] if kinds else ""
    return kind.removeprefix("fuse.") in _NETWORK


class _Flock(BaseJournalFileLock):
    """A journal's lock that a killed process gives back at once: Optuna's own is waited for, half a minute long."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (SQLAlchemyError, ValueError):
        # What cannot be parsed may hold a password anywhere.
        raise ResultsError("--storage is no database's URL; give postgresql://user@host/database") from None


def _shown(url: URL) -> str:
    place = (
        f"{url.host or 'localhost'}{f':{url.port}' if url.port else ''}" if url.get_backend_name() != "sqlite" else ""
    )
    return f"{url.get_backend_name()}://{place}/{url.database or ''}"


def _sqlite(url: URL, workers: int) -> Storage:
    reason = (
        "SQLite lets one process write at a time, and the others fail waiting: with more than one worker leave "
        "--storage out on one machine, or give postgresql://… for several"
    )
    if workers > 1:
        raise ResultsError(f"--storage {_shown(url)} takes 1 worker, got {workers}: {reason}")
    path = Path(url.database or "").resolve()
    lock = FileLock(path.with_name(f"{path.name}.in-use"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ResultsError(f"--storage {_shown(url)} is in use by another worker: {reason}") from None
    storage = RDBStorage(url.render_as_string(hide_password=False))
    # The lock is held as long as the storage is.
    storage.gmixout_lock = lock  # type: ignore[attr-defined]
    return Storage(get_storage(storage), Turns(path.with_name(f"{path.name}.turn")))


def _postgresql(url: URL, heartbeat_s: float, grace_s: float) -> Storage:
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ResultsError(
            f"--storage takes a PostgreSQL database (postgresql://user@host/database), got {url.get_backend_name()}://…"
        )
    full = url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    options: Mapping[str, Any] = {
        # A server that does not answer must not hold up who asks: they come back later.
        "connect_timeout": 3,
        "tcp_user_timeout": 5000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "application_name": "gmixout",
    }
    try:
        connect = connecting(make_url(full), dict(options), PATIENCE_S)
        turns = Turns(sqlalchemy.create_engine(full, poolclass=NullPool, creator=connect))
        with turns.take("tables"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            storage = RDBStorage(
                full,
                engine_kwargs={"pool_pre_ping": True, "creator": connect},
                heartbeat_interval=max(1, round(heartbeat_s)),
                grace_period=max(1, round(grace_s)),
            )
    except UNREACHABLE as error:
        raise ResultsError(f"the database {_shown(url)} cannot be used: {told(error, url)}") from None
    return Storage(get_storage(storage), turns, Database(storage, lambda error: told(error, url), heartbeat_s, grace_s))


def told(error: BaseException, url: URL) -> str:
    """What a database's error says, in one line and without its password.

    Args:
        error: From the database or on the way to it.
        url: Whose password must not be told.
    """
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    text = " ".join(str(cause).split())
    secrets = [value for name, value in url.query.items() if isinstance(value, str) and "pass" in name]
    for secret in [str(url.password), *secrets] if url.password else secrets:
        for spelled in (secret, quote(secret), quote(secret, safe="")):
            text = text.replace(spelled, "***")
    return text or type(cause).__name__
