"""A real PostgreSQL server in a folder of its own, on loopback alone: started, stopped and killed at will."""

import getpass
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("initdb", "pg_ctl")


class MissingPostgres(RuntimeError):
    """The machine has no PostgreSQL server."""


class Postgres:
    """A server that runs; see :func:`postgres`.

    Args:
        folder: Its data.
        programs: Where ``initdb`` and ``pg_ctl`` are.
        user: The unprivileged user that it runs as; None: whoever runs this.
    """

    def __init__(self, folder: Path, programs: Path, user: str | None) -> None:
        self.folder, self._programs, self._user = folder, programs, user
        self.password = f"{secrets.token_hex(8)}:/@ %?"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @property
    def url(self) -> str:
        """The database's URL, password and all."""
        from urllib.parse import quote

        return f"postgresql://gmixout:{quote(self.password, safe='')}@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """Makes the database's files."""
        passwords = self.folder / "password"
        passwords.write_text(self.password)
        if self._user is not None:
            shutil.chown(passwords, self._user)
        options = ["--auth=scram-sha-256", f"--pwfile={passwords}", "--no-sync", "--encoding=UTF8", "--locale=C"]
        self._run("initdb", "--pgdata", str(self.folder / "data"), "--username=gmixout", *options)

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "max_connections": 200,
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._run("pg_ctl", *self._data, "--wait", f"--log={self.folder / 'log'}", f"--options={options}", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stops it: ``fast`` ends connections in order, ``immediate`` is a crash."""
        self._run("pg_ctl", *self._data, "--wait", f"--mode={mode}", "stop")

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """For as long as the context lasts its processes stand still: connections stay open and hear nothing."""
        main = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        # The first stands still before the others are listed: it would start more.
        os.kill(main, signal.SIGSTOP)
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGSTOP)
        try:
            yield
        finally:
            for process in [*map(int, children), main]:
                os.kill(process, signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return (self.folder / "data" / "postmaster.pid").exists()

    @property
    def _data(self) -> list[str]:
        return ["--pgdata", str(self.folder / "data")]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self.folder,
            user=self._user,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stdout}")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A fresh server with an empty database, and nothing of it left afterwards.

    Raises:
        MissingPostgres: If there are no programs for it.
    """
    programs = _programs()
    # It refuses to run as root.
    user = None if os.getuid() != 0 else _unprivileged()
    with tempfile.TemporaryDirectory(prefix="gmixout-postgres-") as name:
        if user is not None:
            shutil.chown(name, user)
        server = Postgres(Path(name), programs, user)
        server.create()
        server.start()
        try:
            yield server
        finally:
            if server.is_running:
                server.stop("immediate")


def _programs() -> Path:
    folders = [*map(Path, os.get_exec_path()), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    for folder in folders:
        if all(os.access(folder / program, os.X_OK) for program in PROGRAMS):
            return folder
    raise MissingPostgres("no initdb and pg_ctl here: install PostgreSQL's server (on Debian: postgresql)")


def _unprivileged() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), getpass.getuser())
