"""Jobs of submitit's local executor: a study to its end, a time limit, a second command, and what is refused."""

import json
import os
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from studies.engines.slurm_jobs import FOLDER, RECORD, Jobs, running_jobs
from studies.processes import process
from studies.store import CHECKPOINT, ResultsError, State, Store
from tests.studies.one_node_slurm import MissingSlurm, one_node_slurm
from tests.studies.running import gmixout, here, killed_at_last, start, wait_for, write_study

pytestmark = pytest.mark.skipif(find_spec("submitit") is None, reason="submitit is not installed (gmixout[cluster])")
METHODS = [{"name": "full"}, {"name": "zero_shot"}]


def local_study(folder, methods=METHODS, steps=30, **slurm):
    execution = {"checkpoint_every_s": 1e9, "slurm": {"cluster": "local", "jobs": 2, **slurm}}
    training = {"steps": steps, "warmup_steps": 0, "validate_every": None}
    return write_study(folder, name="jobs", methods=methods, training=training, execution=execution)


def logs(root):
    return "\n".join(path.read_text() for path in (root / FOLDER).glob("*_log.out"))


@pytest.mark.slow
def test_jobs_do_a_study_and_the_command_that_follows_closes_it(cells, tmp_path):
    path = local_study(tmp_path, jobs=1)
    ended = gmixout("study", "run", str(path), "--engine", "slurm", "--no-figures", cwd=tmp_path)
    root = tmp_path / "results" / "jobs"
    assert ended.returncode == 0, ended.stdout + ended.stderr + logs(root)
    assert "are submitted" in ended.stdout
    assert (root / "records").exists()
    assert all(Store(root).cell(identity).is_done for identity in Store(root).identities())
    assert len(list((root / FOLDER).glob("*_submitted.pkl"))) == 1, "a job a worker, not one a cell"


@pytest.mark.slow
def test_job_saves_before_its_time_limit_and_is_queued_again(cells, tmp_path, run_cell):
    path = local_study(tmp_path, [{"name": "full"}], 3000, jobs=1, time_limit_min=0.5, margin_s=10)
    root = tmp_path / "results" / "jobs"
    # submitit's local executor starts a job six times at most: on a slow machine the next command goes on.
    for _ in range(4):
        ended = gmixout("study", "run", str(path), "--engine", "slurm", "--no-figures", cwd=tmp_path, timeout_s=400)
        if "no job is left" not in ended.stdout:
            break
    told = logs(root)
    assert ended.returncode == 0, ended.stdout + ended.stderr + told
    assert "Requeued job" in told
    assert "stopping: every running cell writes its checkpoint first" in told
    (identity,) = Store(root).identities()
    alone = Store(tmp_path / "alone").cell(identity)
    run_cell(alone, Store(root).cell(identity).settings())
    weights = (alone.path / "weights.sha256").read_text()
    assert (Store(root).cell(identity).path / "weights.sha256").read_text() == weights


@pytest.mark.slow
def test_command_that_is_stopped_leaves_its_jobs_and_the_next_one_follows_them(cells, tmp_path):
    path = local_study(tmp_path, [{"name": "full"}], 2000, jobs=1)
    command = ("study", "run", str(path), "--engine", "slurm", "--no-figures")
    with start(*command, cwd=tmp_path) as first, killed_at_last(first):
        wait_for(lambda: running_jobs(tmp_path / "results" / "jobs"))
        os.killpg(first.pid, signal.SIGINT)
        output, _ = first.communicate(timeout=60)
    assert first.returncode == 130, output
    jobs = running_jobs(tmp_path / "results" / "jobs")
    assert jobs is not None
    for words in ("the jobs go on", "gmixout study status", f"end: kill {jobs.numbers[0]}"):
        assert words in output
    ended = gmixout(*command, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"jobs {jobs.numbers[0]} of an earlier command" in ended.stdout
    assert "are submitted" not in ended.stdout


@pytest.mark.slow
def test_ended_job_gives_its_cell_back_and_new_jobs_go_on(cells, tmp_path):
    path = local_study(tmp_path, [{"name": "full"}], 2000, jobs=1)
    command = ("study", "run", str(path), "--engine", "slurm", "--no-figures")
    root = tmp_path / "results" / "jobs"
    with start(*command, cwd=tmp_path) as first, killed_at_last(first):
        wait_for(lambda: root.exists() and list(root.glob("cells/*/lease")))
        jobs = wait_for(lambda: running_jobs(root))
        os.kill(int(jobs.numbers[0]), signal.SIGTERM)
        output, _ = first.communicate(timeout=120)
    assert first.returncode == 1, output
    assert "no job is left, and 1 cells are not done" in output
    (identity,) = Store(root).identities()
    assert Store(root).cell(identity).state() in (State.STARTED, State.MISSING), "nobody holds it"
    ended = gmixout(*command, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_jobs_that_are_written_down_are_asked_for(tmp_path):
    folder = tmp_path / FOLDER
    folder.mkdir()
    own = process(os.getpid())
    for processes, is_alive in (([own], True), ([own | {"started": "1"}], False), ([], False)):
        content = {"cluster": "local", "numbers": ["1"], "processes": processes}
        (folder / RECORD).write_text(json.dumps(content))
        assert (running_jobs(tmp_path) is not None) is is_alive
    (folder / RECORD).write_text("{")
    with pytest.raises(ResultsError, match="remove it if no job of this study runs"):
        running_jobs(tmp_path)


def test_forgotten_jobs_are_over_and_a_silent_slurm_is_no_end(tmp_path, monkeypatch):
    """SLURM's own words, told by a stand-in of `squeue`."""
    squeue = tmp_path / "squeue"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for script, is_alive in (
        ("echo PENDING", True),
        ("exit 0", False),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", False),
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", True),
    ):
        squeue.write_text(f"#!/bin/sh\n{script}\n")
        squeue.chmod(0o755)
        assert Jobs("slurm", ("7",)).is_alive() is is_alive, script


def test_wrong_settings_and_missing_commands_are_refused_before_any_work(tmp_path, monkeypatch):
    late = local_study(tmp_path, time_limit_min=1, margin_s=60)
    assert "must leave some of the time limit" in str(here("study", "run", str(late), "--engine", "slurm").exception)
    monkeypatch.setenv("PATH", str(tmp_path))
    path = local_study(tmp_path, cluster="slurm")
    ended = here("study", "run", str(path), "--engine", "slurm", "--results", str(tmp_path / "results"))
    assert "sbatch, squeue, srun is not here" in str(ended.exception)
    ended = here("study", "run", "search-smoke", "--engine", "slurm", "--results", str(tmp_path / "results"))
    assert "tell each other in a database" in str(ended.exception)
    assert not Path(tmp_path / "results").exists()


@pytest.fixture(scope="module")
def slurm():
    try:
        with one_node_slurm() as environment:
            os.environ |= environment
            yield
            for name in environment:
                del os.environ[name]
    except MissingSlurm as missing:
        pytest.skip(str(missing))


@pytest.mark.slow
def test_real_slurm_queues_a_job_again_that_was_told_to_save(slurm, cells, tmp_path, run_cell):
    """By the signal that SLURM sends before a time limit and to jobs that it preempts."""
    path = local_study(tmp_path, [{"name": "full"}], 2000, cluster="slurm", jobs=1, time_limit_min=30)
    root = tmp_path / "results" / "jobs"
    command = ("study", "run", str(path), "--engine", "slurm", "--no-figures")
    with start(*command, cwd=tmp_path) as first, killed_at_last(first):
        wait_for(lambda: root.exists() and list(root.glob("cells/*/lease")), 300)
        os.killpg(first.pid, signal.SIGINT)
        output, _ = first.communicate(timeout=60)
    assert first.returncode == 130, output
    (number,) = running_jobs(root).numbers
    assert f"end: scancel {number}" in output
    subprocess.run(["scancel", "--signal=USR2", number], check=True)
    wait_for(lambda: "Requeued job" in logs(root), 120)
    (identity,) = Store(root).identities()
    assert (Store(root).cell(identity).path / CHECKPOINT).exists(), "only a request to stop writes one here"
    # It would wait two minutes before it begins again.
    wait_for(lambda: subprocess.run(["scontrol", "update", f"jobid={number}", "starttime=now"]).returncode == 0)
    ended = gmixout(*command, cwd=tmp_path, timeout_s=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr + logs(root)
    assert f"jobs {number} of an earlier command still wait or run" in ended.stdout
    alone = Store(tmp_path / "alone").cell(identity)
    run_cell(alone, Store(root).cell(identity).settings())
    weights = (alone.path / "weights.sha256").read_text()
    assert (Store(root).cell(identity).path / "weights.sha256").read_text() == weights
