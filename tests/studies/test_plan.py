"""The queue of a study, where two runs share a folder, or many machines a database."""

from collections import Counter

import pytest
from optuna.trial import TrialState

from benchmarks.faults.postgres import MissingPostgres, Postgres, postgres
from benchmarks.faults.race_in_database import race_in_database
from benchmarks.faults.standin import standin
from studies.failures import CODE_ERROR, PREEMPTED
from studies.messages import OBJECTIVE
from studies.plan import DONE_ELSEWHERE, Plan
from studies.storage import open_storage
from tests.studies.running import wait_for

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
