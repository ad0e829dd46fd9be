"""The results folder: one folder a cell, whose completion marker is the truth about what is done."""

import json
import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from studies.atomic import file_hash, remove_temporary_files, write_text
from studies.failures import PRUNED, RESUMED, Failure
from studies.lease import STALE_AFTER_S, Lease, is_leased
from studies.settings import CellSettings

SETTINGS = "settings.json"
LOGITS = "logits.safetensors"
MEMBERS = "members.safetensors"
CHECKPOINT = "checkpoint.pt"
DONE = "DONE"
SHELF = "shelf"
FAILED = "FAILED.json"
TABLES = tuple(f"{table}.parquet" for table in ("cells", "metrics", "examples", "curves"))


class ResultsError(RuntimeError):
    """The results folder cannot be read, cannot be written, or holds damaged results."""


class State(StrEnum):
    """Where a cell stands."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    PRUNED = "pruned"
    STARTED = "started"
    MISSING = "missing"


class CellFolder:
    """One cell's files.

    Args:
        path: The folder; :meth:`prepare` makes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def identity(self) -> str:
        """The cell's identity: the folder's name."""
        return self.path.name

    @property
    def is_done(self) -> bool:
        """Whether the completion marker is there."""
        return (self.path / DONE).exists()

    def state(self, stale_after_s: float = STALE_AFTER_S) -> State:
        """Where the cell stands; the completion marker decides before anything else."""
        if self.is_done:
            return State.DONE
        if is_leased(self.path, stale_after_s):
            return State.RUNNING
        if (failure := self.failure()) is not None:
            return State.PRUNED if failure.kind == PRUNED else State.FAILED
        return State.STARTED if (self.path / SETTINGS).exists() else State.MISSING

    def settings(self) -> CellSettings | None:
        """The cell's settings; None where the folder does not tell, or not by this code's rules."""
        try:
            return CellSettings.from_canonical((self.path / SETTINGS).read_text())
        except (OSError, ValueError):
            return None

    def lease(self, stale_after_s: float = STALE_AFTER_S, silent: str = "") -> Lease:
        """The lease of this cell, to be entered; makes the folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        return Lease(self.path, stale_after_s, silent=silent)

    def prepare(self, canonical: str) -> None:
        """Writes the settings and clears what a killed writer left; call under the lease."""
        remove_temporary_files(self.path)
        write_text(self.path / SETTINGS, canonical + "\n")

    def finish(self, files: Iterable[str]) -> None:
        """Marks the cell done: from here on it is never run again. Call under the lease, once the files are whole.

        Args:
            files: Names of the result's files; the marker keeps their hashes.
        """
        hashes = {name: file_hash(self.path / name) for name in [SETTINGS, *files]}
        write_text(self.path / DONE, json.dumps({"files": hashes}, indent=1, sort_keys=True) + "\n")
        for left_over in (FAILED, CHECKPOINT):
            (self.path / left_over).unlink(missing_ok=True)

    def fail(self, failure: Failure) -> None:
        """Keeps why the cell failed; a checkpoint stays for the next attempt."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / FAILED, json.dumps(asdict(failure), indent=1) + "\n")

    def failure(self) -> Failure | None:
        """Why the last attempt failed, or None.

        Raises:
            ResultsError: If the file cannot be understood.
        """
        path = self.path / FAILED
        try:
            return Failure(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise ResultsError(f"{path} cannot be read ({error}); remove it to try the cell again") from error

    def may_run(self, retry: Iterable[str] = ()) -> bool:
        """Whether a run should take the cell: not done, and not failed in a way that must be asked for.

        Args:
            retry: Kinds of failure to try again besides those in ``failures.RESUMED``.
        """
        if self.is_done:
            return False
        failure = self.failure()
        return failure is None or failure.kind in RESUMED or failure.kind in retry

    def problem(self) -> str | None:
        """What is wrong with a finished cell's files, in one line; None where they are as the marker says."""
        marker = self.path / DONE
        try:
            hashes = json.loads(marker.read_text())["files"]
            wrong = _differing(self.path, hashes)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            return f"{marker} cannot be read ({error})"
        return f"{self.path / wrong} is not what its {DONE} marker says" if wrong else None


class Store:
    """A results folder.

    Args:
        root: The folder; :meth:`open` checks or makes it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def cells(self) -> Path:
        """Where the cells' folders lie."""
        return self.root / "cells"

    @property
    def shelf(self) -> str:
        """What tells this folder from other machines' folders with cells of the same study; drawn when first asked for.

        Example:
            >>> import tempfile
            >>> store = Store(Path(tempfile.mkdtemp()))
            >>> store.shelf == Store(store.root).shelf
            True
        """
        path = self.root / SHELF
        with FileLock(self.root / f".{SHELF}.turn"):
            if not path.exists():
                write_text(path, uuid.uuid4().hex + "\n")
            return path.read_text().strip()

    def cell(self, identity: str) -> CellFolder:
        """The folder of one cell."""
        return CellFolder(self.cells / identity)

    def state(self, identity: str) -> State:
        """Where a cell stands; of thousands at once quicker than by their folders, whose paths take time to be made."""
        if os.path.exists(f"{self.cells}/{identity}/{DONE}"):
            return State.DONE
        return self.cell(identity).state()

    def identities(self) -> list[str]:
        """Every cell that has a folder, sorted."""
        if not self.cells.is_dir():
            return []
        return sorted(path.name for path in self.cells.iterdir() if path.is_dir())

    def matching(self, start: str) -> list[str]:
        """Identities that begin with these characters."""
        return [identity for identity in self.identities() if identity.startswith(start)]

    def open(self, identities: Iterable[str] = ()) -> None:
        """Makes the folder if need be, and checks all that later work relies on.

        Args:
            identities: Cells whose finished files are compared with their hashes.

        Raises:
            ResultsError: If the folder cannot be written, leads out of itself, or a finished cell is damaged.
        """
        self._refuse_links()
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            write_text(self.cells / ".probe", "writable\n")
            (self.cells / ".probe").unlink()
        except OSError as error:
            raise ResultsError(
                f"the results folder {self.root} cannot be written ({error}); free it or choose another with --results"
            ) from error
        self.check(identities)

    def _refuse_links(self) -> None:
        """A folder from a stranger could lead whatever is written to it somewhere else."""
        root = self.root.resolve()
        for folder in [root, self.cells, *(self.cells / identity for identity in self.identities())]:
            if not folder.is_dir():
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                        raise ResultsError(
                            f"{entry.path} leads out of the results folder, where nothing may be written: remove the "
                            "link, or give the folder that is meant with --results"
                        )

    def check(self, identities: Iterable[str]) -> None:
        """Compares finished cells with their hashes.

        Raises:
            ResultsError: If a cell is damaged; the message names the first and says what to do.
        """
        if self.root.exists() and not (self.root.is_dir() and os.access(self.root, os.R_OK | os.X_OK)):
            raise ResultsError(f"the results folder {self.root} cannot be read: it must be a readable folder")
        problems: Mapping[str, str] = {
            identity: problem for identity in identities if (problem := self.cell(identity).problem())
        }
        if problems:
            first = next(iter(problems))
            others = f" ({len(problems)} cells are damaged)" if len(problems) > 1 else ""
            raise ResultsError(
                f"{problems[first]}{others}; restore the file, or remove the folder {self.cell(first).path} "
                "to compute that cell again"
            )


def _differing(folder: Path, hashes: dict[str, str]) -> str | None:
    for name, expected in hashes.items():
        path = folder / name
        # A marker from a stranger could have any file of this machine looked at.
        if Path(name).name != name or not path.exists() or file_hash(path) != expected:
            return name
    return None
