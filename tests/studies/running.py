"""Ways to run the command line and single cells in processes of their own, for tests that kill them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner, Result

from studies.messages import Moving
from studies.reproduce import Alone
from studies.settings import CellSettings, study_path
from studies.store import CellFolder

WITHOUT_TORCH = """
import sys
from importlib.machinery import PathFinder

class Blind(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "torch" else super().find_spec(name, path, target)

sys.meta_path = [Blind if finder is PathFinder else finder for finder in sys.meta_path]
"""
MAIN = "import sys; from studies.__main__ import main; sys.argv = ['gmixout', *sys.argv[1:]]; main()"


class Silent(Alone):
    """Follows a cell without a word."""


class KillsItself(Silent):
    """Ends its own process, as a power cut would, once so many steps are done."""

    def __init__(self, step: int) -> None:
        self.step = step

    def move(self, moving: Moving) -> None:
        if moving.phase == "evaluating" or moving.done >= self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def gmixout(*arguments: str, cwd: Path, has_torch: bool = True, timeout_s: float = 300) -> subprocess.CompletedProcess:
    """Runs the command line to its end."""
    blind = [sys.executable, "-c", WITHOUT_TORCH + MAIN, *arguments]
    command = _module(arguments) if has_torch else blind
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, env=environment())


def here(*arguments: str) -> Result:
    """Runs the command line in this process: for what needs none of its own."""
    from studies.__main__ import app

    return CliRunner().invoke(app, list(arguments), prog_name="gmixout")


def start(*arguments: str, cwd: Path) -> subprocess.Popen:
    """Starts the command line in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        _module(arguments),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        start_new_session=True,
    )


@contextmanager
def killed_at_last(*processes: subprocess.Popen) -> Iterator[None]:
    """Leaves no process behind, however a test ends."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def wait_for(condition: Callable[[], Any], timeout_s: float = 90) -> Any:
    """Waits until the condition is true, and returns its value."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.02)
    raise TimeoutError("the condition did not come true")


def write_study(folder: Path, preset: str = "smoke", **changes: Any) -> Path:
    """A copy of a preset with other values at the top level (and inside ``training`` and ``evaluation``)."""
    content = yaml.safe_load(study_path(preset).read_text())
    for name, value in changes.items():
        if name in ("training", "evaluation", "execution"):
            content[name] = content[name] | value
        else:
            content[name] = value
    path = folder / f"{content['name']}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def run_and_die(canonical: str, path: Path, step: int, every_s: float) -> None:
    """Runs a cell in this process until the step, then kills it. For a process of its own."""
    from studies.cell import run_cell

    folder = CellFolder(path)
    with folder.lease() as lease:
        run_cell(CellSettings.from_canonical(canonical), folder, lease, KillsItself(step), every_s)


def _module(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "studies", *arguments]


def environment() -> dict[str, str]:
    root = Path(__file__).resolve().parents[2]
    return os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
