"""`gmixout study run`: pretrain once, run what is missing, close with records, figures and the summary."""

import math
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from studies.commands.pretrain import pretrain
from studies.commands.saying import say
from studies.commands.searches import begin_search, oracle_warning, tell_search
from studies.engines.hands import Hire
from studies.failures import DIVERGED, KINDS
from studies.forking import worker_context
from studies.opened import Opened
from studies.outcome import Outcome
from studies.plan import Plan
from studies.pool import local, preload
from studies.progress import display, spoken
from studies.runner import Runner
from studies.settings import CellSettings, Execution, StudySettings
from studies.settings.backbones import is_own
from studies.storage import Storage, open_storage
from studies.store import ResultsError, State
from studies.viewed import class_words

if TYPE_CHECKING:
    from studies.searching import Searching

LOW_SPACE_BYTES = 64 * 2**20

SMALL = 256
"""With so many images a step the suite's own networks fit everywhere."""


@dataclass(frozen=True)
class Choices:
    """Switches of the command line.

    Attributes:
        workers: Number of processes.
        retry: Kinds of failure to try again besides those that always are.
        has_figures: Whether figures are drawn at the end.
        gpus: A GPU for each process, as the driver counts or names them; empty: what the study says.
        storage: URL of the database that keeps the plan; None: a journal file in the results folder.
        engine: What carries the workers: ``local``, ``ray`` or ``slurm``.
        address: Of a Ray cluster; None: an instance of the run's own.
    """

    workers: int
    retry: tuple[str, ...] = ()
    has_figures: bool = True
    gpus: tuple[str, ...] = ()
    storage: str | None = field(default=None, repr=False)
    engine: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        if self.engine != "local" and self.gpus:
            raise ValueError(
                f"--gpus names GPUs of this machine, and --engine {self.engine} hands out its own: say how many a cell "
                "needs as execution.gpus in the study"
            )
        if self.address is not None and self.engine != "ray":
            raise ValueError(f"--address is that of a Ray cluster: give --engine ray, got --engine {self.engine}")
        if self.gpus and self.workers > len(self.gpus):
            raise ValueError(
                f"each GPU gets one cell at a time: {self.workers} workers need as many GPUs, got {len(self.gpus)} "
                "(--gpus); leave --workers out for one worker a GPU"
            )
        if len(set(self.gpus)) != len(self.gpus):
            raise ValueError(f"each GPU is named once, got --gpus {','.join(self.gpus)}")

    def shares(self, processes: int) -> tuple[str, ...]:
        """The GPUs of each worker, as its environment names them.

        Args:
            processes: Processes that share a cell, each with a GPU.

        Raises:
            ValueError: If there are too few GPUs.

        Example:
            >>> Choices(2, gpus=("0", "1", "2", "3")).shares(processes=2)
            ('0,1', '2,3')
        """
        whole = len(self.gpus) // processes
        if self.gpus and self.workers > whole:
            raise ValueError(
                f"each GPU gets one cell at a time: {self.workers} workers of {processes} processes need as many GPUs, "
                f"got {len(self.gpus)} (--gpus); ask for fewer with --workers"
            )
        return tuple(",".join(self.gpus[start * processes : (start + 1) * processes]) for start in range(whole))

    def execution(self, study: StudySettings) -> Execution:
        """How a study's work is done: as it says, but on the GPUs where some are named."""
        if self.engine != "local":
            return study.execution.on_cluster()
        return study.execution.model_copy(update={"device": "cuda"}) if self.gpus else study.execution

    def hands(self, study: StudySettings, root: Path) -> AbstractContextManager[Hire]:
        """What gives the run its workers.

        Args:
            study: Says what a cell needs.
            root: The results folder.

        Raises:
            ResultsError: If the engine cannot be had.
        """
        if self.engine == "ray":
            from studies.engines.ray_cluster import on_ray

            return on_ray(self.address, self.execution(study), root)
        threads = study.execution.cpus if self.engine == "slurm" else 1
        return nullcontext(local(self.shares(study.execution.processes), threads))


def run(opened: Opened, choices: Choices, console: Console) -> int:
    """Runs a study and returns the exit code: 0 if every cell is done or diverged, 1 if not, 130 if stopped.

    Raises:
        ResultsError: If the results folder or the database cannot be used, before any work.
    """
    if choices.engine == "slurm":
        from studies.commands.on_slurm import run_on_slurm

        return run_on_slurm(opened, choices, console)
    return close(opened, work(opened, choices, console), choices, console)


def work(
    opened: Opened,
    choices: Choices,
    console: Console,
    stop: threading.Event | None = None,
    leave_after_s: float = math.inf,
) -> Outcome:
    """Runs the cells of a study that are not done yet, and nothing else.

    Args:
        opened: The study.
        choices: Switches of the command line; here ``slurm`` is one of its jobs, which runs cells itself.
        console: Where progress is shown.
        stop: Asks to stop, as Ctrl-C does.
        leave_after_s: Idle time after which cells that others hold are left to them, in seconds.

    Raises:
        ResultsError: If the results folder or the database cannot be used, before any work.
    """
    choices.shares(opened.study.execution.processes)
    opened.store.check([])
    console.print(f"study {opened.study.name}: results in {opened.store.root}", soft_wrap=True, highlight=False)
    for line in (*opened.study.skipped(), *oracle_warning(opened.study)):
        say(console, line)
    opened.store.open([cell.identity for cell in opened.cells])
    waiting = [cell.identity for cell in opened.planned if opened.folder(cell).may_run(choices.retry)]
    storage = None
    if choices.storage is not None and opened.study.search is not None:
        storage = open_storage(choices.storage, opened.store.root, choices.workers)
    searching = begin_search(opened, console, storage)
    try:
        if not waiting and (searching is None or not searching.left):
            console.print("every cell is done or has failed for good; nothing to run", highlight=False)
            outcome = Outcome()
        else:
            outcome = _work(opened, choices, console, waiting, searching, storage, stop, leave_after_s)
        if searching is not None:
            outcome.elsewhere |= searching.elsewhere()
            tell_search(searching, console)
    finally:
        if searching is not None:
            searching.close()
    return outcome


def _work(
    opened: Opened,
    choices: Choices,
    console: Console,
    waiting: Sequence[str],
    searching: "Searching | None",
    storage: Storage | None,
    stop: threading.Event | None,
    leave_after_s: float,
) -> Outcome:
    if choices.engine == "local":
        # What workers need is imported while this process looks at data, model and plan.
        worker_context(preload())
    require_data(opened)
    if choices.engine == "local":
        require_device(choices.execution(opened.study))
    require_space(opened.store.root)
    cells = opened.planned
    by_identity = {cell.identity: cell for cell in cells}
    require_fit(opened)
    if choices.engine == "local":
        require_memory(opened, [by_identity[identity] for identity in waiting], choices)
    storage = storage or open_storage(choices.storage, opened.store.root, choices.workers)
    sampled = [opened.search_sample] if searching is not None else []
    study = opened.study
    running = [identity for identity, state in opened.states().items() if state is State.RUNNING]
    done = opened.done_scalars()
    with choices.hands(study, opened.store.root) as hire:
        pretrain(opened.store, [*(by_identity[identity] for identity in waiting), *sampled], console)
        shelf = opened.store.shelf if storage.database is not None else ""
        plan = Plan(opened.store.root, study.name, cells, done, waiting, running, storage, shelf, choices.retry)
        runner = Runner(
            opened.store,
            plan,
            cells,
            opened.work,
            choices.execution(study),
            display(console),
            choices.workers,
            plugins=study.plugins,
            folders=study.folders,
            hire=hire,
            retry=choices.retry,
            further=searching,
            stop=stop,
            leave_after_s=leave_after_s,
        )
        started_at = time.monotonic()
        outcome = runner.run(waiting)
    say(console, f"this run: {len(outcome.finished)} cells done in {spoken(time.monotonic() - started_at)}")
    return outcome


def join(opened: Opened, choices: Choices, console: Console) -> int:
    """Takes part in a study that other machines run, too; returns the exit code as :func:`run` does.

    Neither records nor figures are made: whoever comes last would not know.

    Raises:
        ResultsError: If the results folder or the database cannot be used, before any work.
    """
    outcome = work(opened, choices, console)
    require_room(opened, outcome)
    counts = opened.counts()
    elsewhere = sum(end == "done" for end in outcome.elsewhere.values())
    say(console, f"{counts[State.DONE]} of {len(opened.cells)} cells are done here, {elsewhere} on other machines")
    if elsewhere:
        say(console, "next: gmixout study merge, with the results folders of all machines")
    elif counts[State.DONE] == len(opened.cells):
        say(console, f"next: gmixout study run {opened.arguments}, for records and figures")
    if outcome.is_stopped:
        return 130
    kinds = [*(failure.kind for failure in outcome.failures.values()), *outcome.elsewhere.values()]
    return 1 if any(kind not in ("done", DIVERGED) for kind in kinds) else 0


def close(opened: Opened, outcome: Outcome, choices: Choices, console: Console) -> int:
    """Writes records and figures, prints the summary and what to do next; returns the exit code."""
    again = f"gmixout study run {opened.arguments}"
    require_room(opened, outcome)
    counts = opened.counts()
    if outcome.is_stopped:
        left = sum(counts[state] for state in (State.RUNNING, State.STARTED, State.MISSING))
        say(console, f"stopped: {counts[State.DONE]} cells done, {left} left; go on with the same command ({again})")
        return 130
    if counts[State.DONE]:
        write_results(opened, choices, console)
    failed = [cell for cell in opened.cells if opened.folder(cell).state() is State.FAILED]
    for cell in failed:
        failure = opened.folder(cell).failure()
        if failure is not None:
            say(console, f"{failure.kind}: {cell.identity} {cell.label}: {failure.message} ({KINDS[failure.kind]})")
    broken = [cell for cell in failed if (found := opened.folder(cell).failure()) and found.kind != DIVERGED]
    if broken:
        say(console, f"{len(broken)} cells failed; after mending the cause: {again} --retry all")
    # A cell whose machine is gone has nothing written in its folder yet.
    known = {cell.identity for cell in failed}
    lost = [one for one in outcome.failures if one not in known and not opened.store.cell(one).is_done]
    for identity in lost:
        failure = outcome.failures[identity]
        say(console, f"{failure.kind}: {identity}: {failure.message}; try again: {again}")
    say(console, f"next: gmixout study show {opened.arguments}, or open notebooks/02_explore.ipynb on the records")
    return 1 if broken or lost else 0


def write_results(opened: Opened, choices: Choices, console: Console) -> None:
    """Merges the study's cells into records, draws the figures, prints the summary."""
    from analysis.records import read, write
    from studies.decomposed import decomposed
    from studies.shared_rows import with_decomposition

    records = read(opened.store.root).keep(cell.identity for cell in opened.cells)
    records = with_decomposition(records, decomposed(opened.store, opened.cells))
    folder = opened.store.root / "records"
    write(records, folder)
    say(console, f"records: {folder}")
    if choices.has_figures:
        from studies.commands.figures import draw

        drawn = draw(folder, opened.store.root / "figures")
        say(console, f"figures: {opened.store.root / 'figures'} ({sum(bool(one.files) for one in drawn)} drawn)")
    from studies.commands.summary import print_summary
    from studies.commands.tables import write_tables

    written = write_tables(records, opened.store.root / "tables")
    say(console, f"tables: {opened.store.root / 'tables'} ({len(written)} files)")
    print_summary(records, console)


def require_data(opened: Opened) -> None:
    """Refuses data that is there in part only, before any work.

    Raises:
        DataError: If a split holds far fewer images than it should, or a class none to train on.
    """
    from studies import benchmarks
    from studies.readiness import half_there

    problems = half_there(benchmarks.load(opened.study.benchmark))
    if problems:
        raise benchmarks.DataError("; ".join(problems))


def require_device(execution: Execution) -> None:
    """Refuses a GPU that is not there, before every cell fails for want of it.

    Raises:
        ValueError: If there is none.
    """
    from studies.readiness import wrong_device

    if problems := wrong_device(execution):
        raise ValueError(problems[0])


def require_fit(opened: Opened) -> None:
    """Refuses a benchmark or a method that a backbone cannot take, before any work.

    Raises:
        ValueError: If there is one; see ``studies.fit``.
    """
    from studies import benchmarks, fit

    fit.require_fit(opened.study, class_words(benchmarks.load(opened.study.benchmark).classes))


def require_memory(opened: Opened, cells: Sequence[CellSettings], choices: Choices) -> None:
    """Refuses cells that clearly do not fit into the memory of the device or of the machine, before any work.

    Raises:
        ValueError: If there are such; says what to change.
    """
    execution = choices.execution(opened.study)
    sampled = [opened.search_sample] if opened.study.search is not None else []
    asked = [cell for cell in (*cells, *sampled) if not _is_small(cell, execution)]
    if not asked:
        return
    from studies.room import clearly_too_large

    if problems := clearly_too_large(opened, asked, execution, choices.workers, choices.gpus):
        raise ValueError("; ".join(problems))


def _is_small(cell: CellSettings, execution: Execution) -> bool:
    images = cell.training.batch_size if cell.training is not None else 1
    return is_own(cell.backbone) and images <= SMALL * execution.processes


def require_room(opened: Opened, outcome: Outcome) -> None:
    """Ends a run whose disk took no more.

    Raises:
        ResultsError: If that is how it ended.
    """
    if outcome.disk_full is not None:
        raise ResultsError(
            f"the disk is full or read-only: {outcome.disk_full.message}; every finished cell and checkpoint is kept; "
            f"make room under {opened.store.root} and go on with the same command"
        )


def require_space(folder: Path) -> None:
    """Refuses to begin on a disk that is as good as full.

    Raises:
        ResultsError: If too little space is left for even a few cells.
    """
    free = shutil.disk_usage(folder).free
    if free < LOW_SPACE_BYTES:
        raise ResultsError(
            f"the disk of {folder} is full: {free >> 20} MiB left, at least {LOW_SPACE_BYTES >> 20} MiB are needed; "
            "free space or choose another folder with --results"
        )
