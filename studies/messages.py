"""What the runner and its workers tell each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from studies.engine import PLAIN, Engine
from studies.failures import Failure
from studies.reading import Reading
from studies.settings.folders import FolderSettings

STOP = "stop"
OBJECTIVE = "id_val_accuracy_score"
"""The only score that a search may look at: selection reads ID validation and nothing else."""


JOB = "studies.cell:run_cell"


@dataclass(frozen=True)
class Task:
    """One cell to run.

    Attributes:
        canonical: The cell's settings.
        folder: The cell's folder.
        checkpoint_every_s: Seconds between checkpoints.
        device: Where to run.
        stale_after_s: Silence after which a lease may be taken over, in seconds.
        plugins: Files with users' own methods.
        folders: Users' own benchmarks, by name.
        reading: How images are read; None: by a thread on every core.
        engine: How a training step is carried out.
        may_shrink: Whether another attempt may take fewer images at once, once memory ran out.
        job: What runs a cell, as ``module:function`` with the signature of `studies.cell.run_cell`; only a worker
            imports it.
        silent: The last heartbeat of a lease that the parent has watched for long enough; see `studies.lease`.
        is_judged: Whether the parent decides after every look at ID validation if the cell goes on.
    """

    canonical: str
    folder: Path
    checkpoint_every_s: float
    device: str
    stale_after_s: float
    plugins: tuple[Path, ...] = ()
    folders: Mapping[str, FolderSettings] = field(default_factory=dict)
    reading: Reading | None = None
    engine: Engine = PLAIN
    may_shrink: bool = False
    job: str = JOB
    silent: str = ""
    is_judged: bool = False


@dataclass(frozen=True)
class Begun:
    """A cell that had to wait for its turn runs now."""


@dataclass(frozen=True)
class Moving:
    """How far a running cell is.

    Attributes:
        phase: What is being done, for people.
        done: Steps or images done in this phase.
        total: Steps or images of this phase.
        fraction: Fraction of the whole cell that is done, in [0, 1].
    """

    phase: str
    done: int
    total: int
    fraction: float


@dataclass(frozen=True)
class Validated:
    """A judged cell has looked at ID validation and waits for a ``Verdict``.

    Attributes:
        step: Optimiser steps taken.
        score: What the reported weights have there, higher is better.
    """

    step: int
    score: float


@dataclass(frozen=True)
class Verdict:
    """Whether a judged cell ends here, since a search expects too little of it."""

    is_pruned: bool


@dataclass(frozen=True)
class Finished:
    """The cell is done; its scalars are for the plan, ``OBJECTIVE`` among them."""

    scalars: dict[str, float]


@dataclass(frozen=True)
class Failed:
    """The cell failed, and its folder says so unless even that could not be written.

    Attributes:
        failure: Why.
        smaller: How the next attempt may be carried out, where memory ran out and less of it will do.
    """

    failure: Failure
    smaller: Engine | None = None


@dataclass(frozen=True)
class Released:
    """The cell was not finished here: stopped on request, or another process holds it or has done it."""

    is_held_elsewhere: bool
