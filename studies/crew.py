"""Starts the processes that help a worker train one cell, and ends them with it."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.failures import Failure, LostProcess
from studies.messages import Task
from studies.ranks import Group, is_echo, joined

READY = b"ready\n"
FAREWELL_S = 20.0
"""How long processes may take to end once one of them has failed or the training is over."""


@dataclass(frozen=True)
class Errand:
    """What a helping process is told.

    Attributes:
        task: The cell, as the worker has it.
        rank: Number of the process, at least 1.
        size: How many processes train the cell.
        store: File at which they meet.
    """

    task: Task
    rank: int
    size: int
    store: Path


@contextmanager
def crew(task: Task) -> Iterator[Group]:
    """The processes that ``task.engine.processes`` asks for, this one being the first; they end with the context.

    Args:
        task: The cell to train; the helping processes load its data and model themselves.

    Raises:
        LostProcess: If a helping process is gone before its work is done; with its own error where it could tell.
        ValueError: If there are fewer GPUs than processes.
    """
    size = task.engine.processes
    _require_devices(task.device, size)
    folder = Path(tempfile.mkdtemp(prefix="gmixout-"))
    errands = [Errand(task, rank, size, folder / "store") for rank in range(1, size)]
    helpers = [_Helper(errand) for errand in errands]
    try:
        for helper in helpers:
            helper.wait_until_ready()
        with joined(folder / "store", 0, size, task.device) as group:
            yield group
        for helper in helpers:
            helper.farewell()
    except Exception as error:
        if is_echo(error):
            _explain(helpers, error)
        raise
    finally:
        for helper in helpers:
            helper.end()
        shutil.rmtree(folder, ignore_errors=True)


class _Helper:
    """A process on an errand. Its standard input stays open while this one lives; its output says how it fares."""

    def __init__(self, errand: Errand) -> None:
        self.rank = errand.rank
        # A process of its own and not one of multiprocessing's: workers are daemons, which may have no children.
        paths = os.pathsep.join(dict.fromkeys(path or os.getcwd() for path in sys.path))
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-c", "from studies.helper import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths},
        )
        assert self.process.stdin is not None
        told = pickle.dumps(errand)
        # One that is gone already is found out below.
        with suppress(BrokenPipeError):
            self.process.stdin.write(len(told).to_bytes(8, "little") + told)
            self.process.stdin.flush()

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        if self.process.stdout.readline() != READY:
            raise self.lost()

    def farewell(self) -> None:
        """Waits for a process whose work is done; whatever it may say is of no matter any more."""
        try:
            self.process.wait(FAREWELL_S)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def lost(self) -> LostProcess:
        """Why this process is gone; it must be, or about to be."""
        assert self.process.stdout is not None
        said = self.process.stdout.read()
        code = self.process.wait()
        failure: Failure | None = pickle.loads(said) if said else None
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return LostProcess(self.rank, how, failure)


def _explain(helpers: list[_Helper], echo: BaseException) -> None:
    """Raises the error behind an echo, if a process tells it within a while; processes that only echo are silent."""
    until = time.monotonic() + FAREWELL_S
    while time.monotonic() < until:
        gone = [helper for helper in helpers if helper.process.poll() is not None]
        for lost in [helper.lost() for helper in gone if helper.process.returncode != ECHOED]:
            raise lost from echo
        if len(gone) == len(helpers):
            return
        time.sleep(0.05)


ECHOED = 75
"""Exit code of a helping process that ended because another one had gone."""


def end_with_parent() -> None:
    """Ends this process as soon as its standard input is closed: the one that started it is gone."""

    def wait() -> None:
        os.read(0, 1)
        os._exit(ECHOED)

    threading.Thread(target=wait, daemon=True).start()


def _require_devices(device: str, size: int) -> None:
    import torch

    if device == "cuda" and torch.cuda.device_count() < size:
        raise ValueError(
            f"execution.processes needs a GPU each, got {size} processes and {torch.cuda.device_count()} GPUs (--gpus "
            "gives a worker one: leave it out); lower processes, or use --workers 1"
        )


def read_errand() -> Any:
    """The errand that this helping process was started with."""
    # Not a byte more: what follows is the end of the stream, which another thread waits for.
    return pickle.loads(_read(int.from_bytes(_read(8), "little")))


def _read(length: int) -> bytes:
    found = b""
    while len(found) < length:
        more = os.read(0, length - len(found))
        if not more:
            os._exit(ECHOED)
        found += more
    return found
