"""The queue of a study, where two runs share a folder, or many machines a database."""

import time
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState
from rich.console import Console

from benchmarks.faults.postgres import MissingPostgres, Postgres, postgres
from benchmarks.faults.race_in_database import race_in_database
from benchmarks.faults.standin import standin
from studies.commands.failed import retry
from studies.failures import CODE_ERROR, DIVERGED, PREEMPTED, Failure
from studies.messages import OBJECTIVE
from studies.opened import Opened
from studies.plan import DONE_ELSEWHERE, Plan
from studies.settings import load_study
from studies.storage import open_storage
from studies.store import ResultsError, Store
from tests.studies.running import wait_for, write_study

CELLS = [standin(number) for number in range(3)]
NAMES = [cell.identity for cell in CELLS]
DONE = {OBJECTIVE: 0.5}
BEAT_S, GRACE_S = 0.1, 0.5


@pytest.fixture(scope="module")
def server():
    try:
        with postgres() as found:
            yield found
    except MissingPostgres as missing:
        pytest.skip(str(missing))


@pytest.fixture
def machine(server: Postgres, tmp_path, request):
    """Opens the plan as another machine does, with a folder of its own."""
    opened = []

    def open_plan(shelf: str, waiting=tuple(NAMES), done=None, retry=()) -> Plan:
        storage = open_storage(server.url, tmp_path, 1, BEAT_S, GRACE_S)
        name = request.node.name.partition("[")[0]
        opened.append(Plan(tmp_path, name, CELLS, done or {}, waiting, (), storage, shelf, retry))
        return opened[-1]

    yield open_plan
    for plan in opened:
        plan.close()


def ends(plan, *states):
    """Cells and values of the trials in these states, or all."""
    found = plan._study.get_trials(deepcopy=False, states=states or None)
    return [(trial.user_attrs["cell"], trial.value) for trial in found]


def failures(plan):
    return [(trial.user_attrs["cell"], trial.user_attrs["failure"]) for trial in plan._in_state(TrialState.FAIL)]


def test_cell_is_run_once_where_another_run_takes_its_trial_for_abandoned(tmp_path):
    plan = Plan(tmp_path, "small", CELLS[:2], {}, NAMES[:2])
    assert plan.next() == NAMES[0]
    # The cell is not leased yet, so the other run sees a trial that nobody works on.
    Plan(tmp_path, "small", CELLS[:2], {}, [])
    plan.finish(NAMES[0], DONE)
    assert plan.next() == NAMES[1]
    assert plan.next() is None
    assert ends(Plan(tmp_path, "small", CELLS[:2], {}, []), TrialState.COMPLETE) == [(NAMES[0], 0.5)]


def test_what_is_not_ready_stays_in_the_queue(tmp_path):
    plan = Plan(tmp_path, "small", CELLS, {}, NAMES)
    assert plan.next(lambda identity: identity != NAMES[0]) == NAMES[1]
    assert plan.next() == NAMES[0]


def test_queue_keeps_the_design_as_parameters(tmp_path):
    plan = Plan(tmp_path, "small", CELLS, {}, NAMES)
    assert [trial.params["seed"] for trial in plan._in_state(TrialState.WAITING)] == [0, 1, 2]


def test_racing_machines_fill_the_queue_once_and_claim_each_cell_once(server):
    claims, trials = race_in_database(server.url, cells=12, processes=3)
    assert claims == [1] * 12
    assert trials == 12


def test_machine_learns_what_others_have_ended(machine):
    ours, theirs = machine("ours"), machine("theirs")
    assert (ours.next(), theirs.next(), theirs.next()) == tuple(NAMES)
    theirs.finish(NAMES[1], DONE)
    theirs.fail(NAMES[2], CODE_ERROR)
    assert ours.over(NAMES) == {NAMES[1]: "done", NAMES[2]: CODE_ERROR}
    assert ours.next() is None
    # What failed there is tried here only if asked for.
    assert machine("late").next() is None
    assert machine("asked", retry=[CODE_ERROR]).next() == NAMES[2]


def test_result_that_two_machines_bring_counts_once(machine):
    ours, theirs = machine("ours", NAMES[:1]), machine("theirs", NAMES[:1])
    assert ours.next() == NAMES[0]
    theirs.finish(NAMES[0], {OBJECTIVE: 0.25})
    ours.finish(NAMES[0], DONE)
    assert ends(ours, TrialState.COMPLETE) == [(NAMES[0], 0.25)]
    assert failures(ours) == [(NAMES[0], DONE_ELSEWHERE)]


def test_lost_result_is_computed_again_and_counts_again(machine):
    first = machine("shelf", NAMES[:1])
    first.next()
    first.finish(NAMES[0], DONE)
    again = machine("shelf", NAMES[:1])
    assert again.next() == NAMES[0]
    assert machine("elsewhere", NAMES[:1]).next() is None
    again.finish(NAMES[0], DONE)
    assert machine("elsewhere", NAMES[:1]).over(NAMES[:1]) == {NAMES[0]: "done"}


def test_abandoned_cell_goes_to_another_machine_and_a_living_one_does_not(machine):
    dead, living, heir = machine("dead"), machine("living"), machine("heir")
    assert (dead.next(), living.next()) == (NAMES[0], NAMES[1])
    dead._pulse.stop()
    assert heir.next() == NAMES[2]
    assert wait_for(heir.next, timeout_s=20) == NAMES[0]
    assert failures(heir) == [(NAMES[0], PREEMPTED)]
    assert Counter(ends(heir, TrialState.RUNNING)).keys() == {(name, None) for name in NAMES}
    # Whoever was only silent finishes all the same; the first result counts.
    dead.finish(NAMES[0], DONE)
    heir.finish(NAMES[0], DONE)
    assert ends(heir, TrialState.COMPLETE) == [(NAMES[0], 0.5)]


def test_database_that_crashes_is_told_later_and_kills_no_claim(machine, server):
    plan, other = machine("ours"), machine("theirs")
    assert (plan.next(), other.next()) == (NAMES[0], NAMES[1])
    server.stop("immediate")
    try:
        plan.finish(NAMES[0], DONE)
        assert plan.next() is None
        assert plan.trouble
        assert server.password not in plan.trouble
        wait_for(lambda: plan.silent_s > 2 * GRACE_S)
    finally:
        server.start()
    wait_for(lambda: plan.next() == NAMES[2])
    assert not plan.trouble
    assert ends(plan, TrialState.COMPLETE) == [(NAMES[0], 0.5)]
    assert plan.over(NAMES[1:]) == {}
    assert failures(plan) == []


def test_failed_cells_are_put_back_into_the_database_when_asked_for(machine, server, tmp_path):
    plan = machine("one")
    for kind in (CODE_ERROR, DIVERGED, CODE_ERROR):
        plan.fail(plan.next(), kind)
    assert machine("two").next() is None
    assert plan.free([CODE_ERROR]) == [NAMES[0], NAMES[2]]
    assert plan.free([CODE_ERROR]) == [], "they wait by now"
    assert [machine("two").next() for _ in range(2)] == [NAMES[0], NAMES[2]]


def test_retry_on_the_command_line_reaches_the_database(server, tmp_path, capsys):
    path = write_study(tmp_path, name="again", methods=[{"name": "full", "learning_rates": [1, 2]}])
    study = load_study(str(path))
    cells = study.cells("00")
    opened = Opened(study, Store(tmp_path / "results"), "again", path)
    vars(opened)["planned"] = vars(opened)["_stored_planned"] = cells
    names = [cell.identity for cell in cells]

    def plan():
        return Plan(tmp_path, "again", cells, {}, names, (), open_storage(server.url, tmp_path), "shelf")

    first = plan()
    for _ in names:
        opened.store.cell(identity := first.next()).fail(Failure(CODE_ERROR, "why"))
        first.fail(identity, CODE_ERROR)
    first.close()
    assert retry(opened, [CODE_ERROR], Console(width=200), server.url) == 2
    assert "2 cells are in the database's queue again" in capsys.readouterr().out
    second = plan()
    assert [second.next(), second.next()] == names
    second.close()


def test_server_that_keeps_connections_and_says_nothing_holds_nobody_up(machine, server, monkeypatch):
    monkeypatch.setattr("studies.storage.PATIENCE_S", 1.0)
    plan = machine("one")
    taken = plan.next()
    with server.silenced():
        began = time.monotonic()
        plan.finish(taken, DONE)
        assert plan.next() is None
        assert time.monotonic() - began < 12
        assert "has said nothing for 1 s" in plan.trouble or "timeout" in plan.trouble
        with pytest.raises(ResultsError, match="cannot be used"):
            open_storage(server.url, Path())
    wait_for(lambda: plan.next() is not None and not plan.trouble)
    assert ends(plan, TrialState.COMPLETE) == [(taken, 0.5)]
