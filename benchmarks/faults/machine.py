"""One machine's part of a study of stand-ins: a process with its workers, to be killed, stopped and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Machine:
    """A run of `benchmarks.faults.study`, and every process that it ever had.

    Args:
        folder: Its results folder.
        *arguments: Further arguments.
        environment: What is added to the environment.
    """

    def __init__(self, folder: Path, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._command = [sys.executable, "-m", "benchmarks.faults.study", str(folder), *map(str, arguments)]
        self._environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | (environment or {})
        self.seen: set[int] = set()
        self.start()

    def start(self) -> None:
        """Starts it, again if need be."""
        with open(self.folder.with_suffix(".out"), "a") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment, cwd=ROOT, start_new_session=True
            )
        self.seen.add(self.process.pid)

    @property
    def is_running(self) -> bool:
        """Whether its main process runs."""
        return self.process.poll() is None

    def workers(self) -> list[int]:
        """Its worker processes that run now: copies of the server that it has started for them."""
        servers = [child for child in _children(self.process.pid) if b"forkserver" in _command_line(child)]
        found = [worker for server in servers for worker in _children(server)]
        self.seen.update(found)
        return found

    def kill(self, pid: int) -> None:
        """Kills one of its processes, as a power cut would."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        if pid == self.process.pid:
            self.process.wait()

    def orphans(self, patience_s: float = 30.0) -> list[int]:
        """Those of its processes that still run although it is over, after so long a wait."""
        until = time.monotonic() + patience_s
        while (left := [pid for pid in self.seen if is_alive(pid)]) and time.monotonic() < until:
            time.sleep(0.1)
        return left

    def end(self, timeout_s: float = 600.0) -> int:
        """Waits for its end; returns the exit code."""
        self.workers()
        return self.process.wait(timeout_s)


def is_alive(pid: int) -> bool:
    """Whether a process runs, zombies not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], object], timeout_s: float = 300.0) -> None:
    """Waits until something is so.

    Raises:
        TimeoutError: If it does not come true.
    """
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
