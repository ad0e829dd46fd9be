"""The jobs of a study that were submitted: written down in the results folder, asked for, and looked after."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studies.atomic import write_text
from studies.engines.slurm_job import Errand
from studies.processes import is_dead, process
from studies.settings import Execution
from studies.storage import VARIABLE
from studies.store import ResultsError

FOLDER = "slurm"
RECORD = "jobs.json"
OUTPUT = "submitting.log"
ASK_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Jobs:
    """Submitted jobs.

    Attributes:
        cluster: ``slurm``, or ``local`` for processes of this machine.
        numbers: What SLURM calls them: the array's number, or each job's.
        processes: On ``local``, which processes they are.
    """

    cluster: str
    numbers: tuple[str, ...]
    processes: tuple[dict[str, object], ...] = ()

    @property
    def cancelling(self) -> str:
        """The command that ends them."""
        return f"{'scancel' if self.cluster == 'slurm' else 'kill'} {' '.join(self.numbers)}"

    def is_alive(self) -> bool:
        """Whether any of them waits or runs, or nobody can say."""
        if self.cluster == "local":
            return any(not is_dead(one) for one in self.processes)
        command = ["squeue", "--noheader", "--format=%T", f"--jobs={','.join(self.numbers)}"]
        try:
            asked = subprocess.run(command, capture_output=True, text=True, timeout=ASK_PATIENCE_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return True
        # SLURM forgets jobs some minutes after their end.
        return bool(asked.stdout.strip()) if asked.returncode == 0 else "Invalid job id" not in asked.stderr


def require_slurm(execution: Execution) -> None:
    """Refuses what cannot be submitted from here.

    Raises:
        ResultsError: If submitit or SLURM's commands are missing.
    """
    if find_spec("submitit") is None:
        raise ResultsError("--engine slurm needs submitit, which is not installed: pip install 'gmixout[cluster]'")
    missing = [name for name in ("sbatch", "squeue", "srun") if shutil.which(name) is None]
    if execution.slurm.cluster == "slurm" and missing:
        raise ResultsError(
            f"--engine slurm submits with SLURM's own commands, and {', '.join(missing)} is not here: run it on a "
            "login node of the cluster"
        )


def running_jobs(root: Path) -> Jobs | None:
    """The jobs that an earlier command has submitted for a results folder, if any of them still waits or runs."""
    path = root / FOLDER / RECORD
    try:
        content = json.loads(path.read_text())
        jobs = Jobs(content["cluster"], tuple(content["numbers"]), tuple(content["processes"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path} cannot be read ({error}); remove it if no job of this study runs") from error
    return jobs if jobs.is_alive() else None


def submit(errand: Errand, number: int, name: str, execution: Execution, storage: str | None) -> Jobs:
    """Submits an array of jobs that all do the same, and writes them down.

    Args:
        errand: What each does.
        number: How many.
        name: What SLURM shows.
        execution: What each needs, and how SLURM is asked.
        storage: The database's URL, which the jobs find in their environment.

    Raises:
        ResultsError: If SLURM does not take them.
    """
    import submitit

    folder = errand.results / FOLDER
    folder.mkdir(exist_ok=True)
    settings = execution.slurm
    executor: Any
    if settings.cluster == "local":
        executor = submitit.LocalExecutor(folder, max_num_timeout=settings.requeues)
        how: dict[str, Any] = {"timeout_min": settings.time_limit_min, "gpus_per_node": execution.gpus_needed}
    else:
        executor = submitit.SlurmExecutor(folder, max_num_timeout=settings.requeues)
        how = {
            "time": math.ceil(settings.time_limit_min),
            "job_name": name,
            "cpus_per_task": execution.cpus,
            "ntasks_per_node": 1,
            "gpus_per_node": execution.gpus_needed or None,
            "mem": None if execution.memory_gb is None else f"{math.ceil(1000 * execution.memory_gb)}MB",
            "array_parallelism": settings.at_once or number,
            "partition": settings.partition,
            "account": settings.account,
            "additional_parameters": {"requeue": True, **settings.extra},
        }
    executor.update_parameters(
        signal_delay_s=settings.margin_s,
        stderr_to_stdout=True,
        **{option: value for option, value in how.items() if value is not None},
    )
    with _given(storage), _deaf_to_ctrl_c(), _output_to(folder / OUTPUT):
        try:
            # The jobs themselves end here, too: a Ctrl-C while an object is taken down would be lost.
            identities = [job.job_id for job in executor.submit_array([errand] * number)]
        except (submitit.core.utils.FailedJobError, OSError, ValueError) as error:
            raise ResultsError(f"SLURM does not take the jobs: {' '.join(str(error).split())}") from error
    found = _described(settings.cluster, identities)
    content = {"cluster": found.cluster, "numbers": found.numbers, "processes": found.processes}
    write_text(folder / RECORD, json.dumps(content, indent=1) + "\n")
    return found


def _described(cluster: str, identities: Sequence[str]) -> Jobs:
    if cluster == "local":
        return Jobs(cluster, tuple(identities), tuple(process(int(identity)) for identity in identities))
    return Jobs(cluster, tuple(dict.fromkeys(identity.partition("_")[0] for identity in identities)))


@contextmanager
def _given(storage: str | None) -> Iterator[None]:
    """Jobs inherit the environment, which nobody else reads; a file or a command line would tell the password."""
    if storage is not None:
        os.environ[VARIABLE] = storage
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Jobs that are processes of this machine inherit it: Ctrl-C ends the command that follows them, not them.

    Blocked and not ignored: a Ctrl-C that comes meanwhile reaches this process afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """What is started within writes there: whoever reads this command's output is not to wait for the jobs' end."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    with path.open("ab") as file:
        try:
            for number, _ in kept:
                os.dup2(file.fileno(), number)
            yield
        finally:
            for number, copy in kept:
                os.dup2(copy, number)
                os.close(copy)
