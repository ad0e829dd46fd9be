"""`gmixout study run --engine slurm`: submits jobs, or finds those that run, and follows the results folder."""

import time

from filelock import FileLock
from rich.console import Console

from studies.commands.run import Choices, close, require_data, require_fit, require_space
from studies.commands.saying import say
from studies.commands.searches import begin_search
from studies.engines.slurm_job import Errand
from studies.engines.slurm_jobs import FOLDER, Jobs, require_slurm, running_jobs, submit
from studies.opened import Opened
from studies.outcome import Outcome
from studies.progress import display
from studies.searched import searched_cells
from studies.storage import open_storage
from studies.store import ResultsError, State

LOOK_EVERY_S = 2.0
"""How often the results folder is looked at, in seconds."""


def run_on_slurm(opened: Opened, choices: Choices, console: Console) -> int:
    """Runs a study by SLURM's jobs and returns the exit code as `studies.commands.run.run` does.

    Raises:
        ResultsError: If the results folder cannot be used, or SLURM does not take the jobs.
    """
    if opened.study.search is not None and choices.storage is None:
        raise ResultsError(
            "jobs of a search tell each other in a database what came of their trials: give --storage postgresql://…, "
            "or run it with --engine local or ray"
        )
    require_slurm(opened.study.execution)
    opened.store.check([])
    say(console, f"study {opened.study.name}: results in {opened.store.root}")
    for line in opened.study.skipped():
        say(console, line)
    opened.store.open([cell.identity for cell in opened.cells])
    with FileLock(opened.store.root / f".{FOLDER}.turn"):
        jobs = running_jobs(opened.store.root)
        if jobs is not None:
            say(console, f"jobs {', '.join(jobs.numbers)} of an earlier command still wait or run: they are followed")
        elif waiting := _waiting(opened, choices) or _trials_left(opened, choices, console):
            jobs = _submit(opened, choices, waiting)
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
    if left := _waiting(opened, choices) + _trials_left(opened, choices, console):
        say(console, f"no job is left, and {left} cells are not done: the same command submits new jobs")
        return 1
    return code


def _waiting(opened: Opened, choices: Choices) -> int:
    return len(_open_cells(opened, choices))


def _open_cells(opened: Opened, choices: Choices) -> list[str]:
    return [cell.identity for cell in opened.planned if opened.folder(cell).may_run(choices.retry)]


def _trials_left(opened: Opened, choices: Choices, console: Console) -> int:
    """How many trials of the study's search are still to come; 0 without one."""
    if opened.study.search is None:
        return 0
    searching = begin_search(opened, console, open_storage(choices.storage, opened.store.root))
    assert searching is not None
    try:
        return searching.left
    finally:
        searching.close()


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
    """Shows how many cells are over until all are, or no job is left; what a search tries ends with its jobs."""
    shown = display(console)
    work = opened.work
    open_cells = dict.fromkeys(_open_cells(opened, choices))
    search = opened.study.search
    begun, planned = _searched(opened), len(open_cells)
    trials = max(0, search.trials - begun) if search is not None else 0
    total = sum(work[identity] for identity in open_cells)
    trial_work = opened.search_work if search is not None else 0.0
    shown.start(planned + trials, total + trials * trial_work)
    try:
        while True:
            # Asked before the folders are: what the last job has done is seen.
            is_alive = jobs.is_alive()
            for identity in list(open_cells):
                folder = opened.store.cell(identity)
                if folder.is_done or (folder.state() is State.FAILED and not folder.may_run(choices.retry)):
                    del open_cells[identity]
            tried = _searched(opened) - begun
            done = total - sum(work[identity] for identity in open_cells) + tried * trial_work
            shown.end(-1, planned - len(open_cells) + tried, done)
            if not is_alive or (search is None and not open_cells):
                return
            time.sleep(LOOK_EVERY_S)
    finally:
        shown.stop()


def _searched(opened: Opened) -> int:
    """How many cells that the study's search came upon are over."""
    searched = searched_cells(opened.study, opened.store, {})
    return sum(opened.folder(cell).state() in (State.DONE, State.FAILED, State.PRUNED) for cell in searched)
