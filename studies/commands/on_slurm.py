"""`gmixout study run --engine slurm`: submits jobs, or finds those that run, and follows the results folder."""

import time

from filelock import FileLock
from rich.console import Console

from studies.commands.run import Choices, close, require_data, require_fit, require_space, say
from studies.engines.slurm_job import Errand
from studies.engines.slurm_jobs import FOLDER, Jobs, require_slurm, running_jobs, submit
from studies.opened import Opened
from studies.outcome import Outcome
from studies.progress import display
from studies.store import ResultsError, State

LOOK_EVERY_S = 2.0
"""How often the results folder is looked at, in seconds."""


def run_on_slurm(opened: Opened, choices: Choices, console: Console) -> int:
    """Runs a study by SLURM's jobs and returns the exit code as `studies.commands.run.run` does.

    Raises:
        ResultsError: If the results folder cannot be used, or SLURM does not take the jobs.
    """
    require_slurm(opened.study.execution)
    if opened.study.search is not None:
        raise ResultsError(
            "a search decides in one place what is tried next: run it with --engine local or ray, not slurm"
        )
    opened.store.check([])
    say(console, f"study {opened.study.name}: results in {opened.store.root}")
    for line in opened.study.skipped():
        say(console, line)
    opened.store.open([cell.identity for cell in opened.cells])
    with FileLock(opened.store.root / f".{FOLDER}.turn"):
        jobs = running_jobs(opened.store.root)
        if jobs is not None:
            say(console, f"jobs {', '.join(jobs.numbers)} of an earlier command still wait or run: they are followed")
        elif waiting := _waiting(opened, choices):
            jobs = _submit(opened, choices, len(waiting))
            logs = opened.store.root / FOLDER
            say(console, f"{jobs.cluster} jobs {', '.join(jobs.numbers)} are submitted; their logs: {logs}")
        else:
            say(console, "every cell is done or has failed for good; nothing to run")
            return close(opened, Outcome(), choices, console)
    try:
        _follow(opened, choices, jobs, console)
    except KeyboardInterrupt:
        again = f"gmixout study run {opened.arguments} --engine slurm"
        say(console, "no longer followed; the jobs go on")
        say(console, f"look: gmixout study status {opened.arguments}; follow: {again}; end: {jobs.cancelling}")
        return 130
    code = close(opened, Outcome(), choices, console)
    if left := _waiting(opened, choices):
        say(console, f"no job is left, and {len(left)} cells are not done: the same command submits new jobs")
        return 1
    return code


def _waiting(opened: Opened, choices: Choices) -> list[str]:
    return [cell.identity for cell in opened.planned if opened.folder(cell).may_run(choices.retry)]


def _submit(opened: Opened, choices: Choices, cells: int) -> Jobs:
    require_data(opened)
    require_space(opened.store.root)
    require_fit(opened)
    study = str(opened.path.resolve()) if opened.path.exists() else opened.study.name
    execution = opened.study.execution
    errand = Errand(study, opened.store.root.resolve(), choices.retry, execution.slurm.margin_s / 2)
    number = min(choices.workers, cells)
    return submit(errand, number, opened.study.name, execution, choices.storage)


def _follow(opened: Opened, choices: Choices, jobs: Jobs, console: Console) -> None:
    """Shows how many cells are over until all are, or no job is left."""
    shown = display(console)
    work = opened.work
    open_cells = dict.fromkeys(_waiting(opened, choices))
    total = sum(work[identity] for identity in open_cells)
    number = len(open_cells)
    shown.start(number, total)
    try:
        while open_cells:
            # Asked before the folders are: what the last job has done is seen.
            is_alive = jobs.is_alive()
            for identity in list(open_cells):
                folder = opened.store.cell(identity)
                if folder.is_done or (folder.state() is State.FAILED and not folder.may_run(choices.retry)):
                    del open_cells[identity]
            shown.end(-1, number - len(open_cells), total - sum(work[identity] for identity in open_cells))
            if not is_alive:
                return
            if open_cells:
                time.sleep(LOOK_EVERY_S)
    finally:
        shown.stop()
