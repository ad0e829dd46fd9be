"""Searches whose history lies in a real PostgreSQL, so that machines with results folders of their own share one."""

import time
from importlib.util import find_spec

import optuna
import pytest
import yaml

from benchmarks.faults.postgres import MissingPostgres, postgres
from studies import benchmarks
from studies.failures import Failure
from studies.frames import write_failure
from studies.searching import Searching
from studies.settings import study_path
from studies.storage import open_storage
from studies.store import Store
from tests.studies.pretending import finished_cell
from tests.studies.running import gmixout, start
from tests.studies.test_search import study

GRACE_S = 3.0


@pytest.fixture(scope="module")
def server():
    try:
        with postgres() as running:
            yield running
    except MissingPostgres as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def manifest(cells):
    return benchmarks.load("digits").manifest


@pytest.fixture
def machine(server, manifest, tmp_path):
    """Makes machines that take part in one search, each with a results folder of its own."""
    opened = []

    def made(name, **search):
        store = Store(tmp_path / name)
        store.open()
        storage = open_storage(server.url, store.root, heartbeat_s=1.0, grace_s=GRACE_S)
        settings = study(**{"sampler": {"name": "random", "seed": 3}, **search})
        settings = settings.model_copy(update={"name": tmp_path.name[:40]})
        opened.append(Searching(settings, manifest, store, storage=storage))
        return opened[-1], store

    yield made
    for searching in opened:
        searching.close()


def finish(searching, store, cell):
    finished_cell(cell, store.cell(cell.identity), cell.learning_rate, ood=0.5)
    searching.settle(cell.identity)


def patiently(ask, timeout_s=30.0):
    """What `ask` gives once it gives something."""
    until = time.monotonic() + timeout_s
    while not (found := ask()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return found


def finished_trials(searching):
    return [trial for trial in searching._own() if trial.state is optuna.trial.TrialState.COMPLETE]


def test_machines_share_trials_and_draw_what_one_would_have(machine, manifest, tmp_path):
    here, there = machine("here", trials=6), machine("there", trials=6)
    ran = []
    while any(searching.left for searching, _ in (here, there)):
        under_way = [(one, one[0].next()) for one in (here, there)]
        assert here[0].left + there[0].left >= sum(cell is not None for _, cell in under_way)
        for (searching, store), cell in under_way:
            if cell is not None:
                ran.append(cell.identity)
                finish(searching, store, cell)
        # What idle machines know is two seconds old.
        for searching, _ in (here, there):
            searching._looked_at = float("-inf")
    assert len(ran) == len(set(ran)) == 6
    assert len(list((tmp_path / "here" / "cells").iterdir())) == 3
    alone = Searching(study(trials=6, sampler={"name": "random", "seed": 3}), manifest, Store(tmp_path / "alone"))
    points = [alone._cell(alone._trial()).identity for _ in range(6)]
    assert sorted(ran) == sorted(points)
    assert here[0].counts() == {"complete": 6, "pruned": 0, "fail": 0, "running": 0}
    assert len(here[0].elsewhere()) == len(there[0].elsewhere()) == 3
    assert set(here[0].elsewhere().values()) == {"done"}
    assert here[0].found() == there[0].found() != []


def test_a_dead_machines_trial_goes_on_elsewhere_with_all_that_was_known(machine):
    pruner = {"name": "median", "startup_trials": 1, "warmup_steps": 0}
    dead, _ = machine("dead", trials=2, pruner=pruner, training={"validate_every": 2})
    begun = dead.next()
    assert dead.judge(begun.identity, 2, 0.25) is False
    # It dies: no heartbeat from now on.
    dead._pulse.stop()
    heir, store = machine("heir", trials=2, pruner=pruner, training={"validate_every": 2})
    other = heir.next()
    assert other.identity != begun.identity
    finish(heir, store, other)
    assert heir.left == 1
    went_on = patiently(heir.next)
    assert went_on.identity == begun.identity
    # Seen before, so not reported twice; and the number is there for others to be compared with.
    assert heir.judge(went_on.identity, 2, 0.25) is False
    assert [trial.intermediate_values for trial in heir._own()][-1] == {2: 0.25}
    finish(heir, store, went_on)
    assert heir.left == 0
    assert heir.next() is None
    assert heir.counts()["complete"] == 2
    # The dead one was alive after all: the first end counts.
    dead.settle(begun.identity)
    assert heir.counts() == {"complete": 2, "pruned": 0, "fail": 0, "running": 0}


def test_what_a_machine_leaves_in_order_is_taken_at_once(machine):
    leaving, _ = machine("leaving", trials=1)
    cell = leaving.next()
    staying, store = machine("staying", trials=1)
    assert staying.next() is None
    assert staying.left == 1
    leaving.close()
    assert patiently(staying.next, timeout_s=GRACE_S / 2).identity == cell.identity
    finish(staying, store, cell)
    assert staying.left == 0


@pytest.mark.parametrize("end", ["done", "diverged"])
def test_a_point_that_another_machine_runs_is_waited_for(machine, end):
    space = {"learning_rate": [1e-3]}
    first, store = machine("first", trials=2, space=space)
    cell = first.next()
    second, _ = machine("second", trials=2, space=space)
    assert second.next() is None
    assert second.left == 2, "its own and the other machine's"
    if end == "done":
        finish(first, store, cell)
    else:
        write_failure(cell, store.cell(cell.identity), Failure("diverged", "NaN", ""))
        first.settle(cell.identity)
    assert second.next() is None
    assert second.left == 0
    ended = second._own()
    assert len(ended) == 2
    if end == "done":
        assert [trial.values for trial in ended] == [[1e-3], [1e-3]]
    else:
        assert [trial.user_attrs["failure"] for trial in ended] == ["diverged", "diverged"]


def test_a_point_whose_machine_died_is_run_by_who_waited(machine):
    space = {"learning_rate": [1e-3]}
    dead, _ = machine("dead", trials=2, space=space)
    cell = dead.next()
    dead._pulse.stop()
    heir, store = machine("heir", trials=2, space=space)
    assert heir.next() is None
    assert patiently(heir.next).identity == cell.identity
    finish(heir, store, cell)
    assert heir.next() is None
    assert [trial.values for trial in heir._own()] == [[1e-3], [1e-3]]


def test_a_database_that_is_away_is_told_later(machine, server):
    searching, store = machine("one", trials=2)
    cell = searching.next()
    server.stop("immediate")
    try:
        finish(searching, store, cell)
        assert searching.next() is None
        assert searching.judge(cell.identity, 1, 0.5) is False
        assert searching.left == 1
    finally:
        server.start()
    other = patiently(searching.next)
    assert other.identity != cell.identity
    assert len(finished_trials(searching)) == 1


def test_finished_cells_that_the_database_does_not_know_are_told(machine, manifest, tmp_path):
    alone = Searching(study(trials=2, sampler={"name": "random", "seed": 3}), manifest, Store(tmp_path / "one"))
    cell = alone.next()
    finished_cell(cell, Store(tmp_path / "one").cell(cell.identity), 0.5)
    searching, _ = machine("one", trials=2)
    assert searching.left == 1
    assert len(finished_trials(searching)) == 1


@pytest.mark.slow
def test_two_machines_search_by_the_command_line(server, cells, tmp_path):
    name = "search-smoke"
    url = ("--storage", server.url)
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    running = [
        start("study", "work", name, "--results", str(folder / "results"), *url, cwd=folder) for folder in folders
    ]
    for process in running:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    stores = [Store(folder / "results") for folder in folders]
    done = [set(store.identities()) for store in stores]
    assert len(done[0] | done[1]) == len(done[0]) + len(done[1]) == 6
    again = gmixout("study", "work", name, "--results", str(folders[0] / "results"), *url, cwd=tmp_path)
    assert "nothing to run" in again.stdout
    assert "search: 6 trials" in again.stdout


@pytest.mark.slow
@pytest.mark.skipif(find_spec("submitit") is None, reason="submitit is not installed (gmixout[cluster])")
def test_jobs_of_slurm_share_a_search(server, cells, tmp_path):
    content = yaml.safe_load(study_path("search-smoke").read_text())
    content |= {"name": "jobs", "execution": {"slurm": {"cluster": "local", "jobs": 2}}}
    path = tmp_path / "jobs.yaml"
    path.write_text(yaml.safe_dump(content))
    command = ("study", "run", str(path), "--engine", "slurm", "--storage", server.url, "--no-figures")
    ended = gmixout(*command, cwd=tmp_path)
    root = tmp_path / "results" / "jobs"
    logs = "\n".join(log.read_text() for log in root.glob("slurm/*_log.out"))
    assert ended.returncode == 0, ended.stdout + ended.stderr + logs
    assert len(Store(root).identities()) == 6
    assert (root / "records").exists()
    assert "nothing to run" in gmixout(*command, cwd=tmp_path).stdout
