"""The queue of a study, where two runs share it."""

import pytest
from optuna.trial import TrialState

from studies import benchmarks
from studies.messages import OBJECTIVE
from studies.plan import JOURNAL, Plan, _load
from studies.settings import load_study
from tests.studies.running import write_study


@pytest.fixture
def cells(tmp_path):
    path = write_study(tmp_path, name="small", methods=[{"name": "linear_probe"}], seeds=[0, 1])
    return load_study(str(path)).cells(benchmarks.load("digits").manifest)


def test_cell_is_run_once_where_another_run_takes_its_trial_for_abandoned(cells, tmp_path, monkeypatch):
    names = [cell.identity for cell in cells]
    plan = Plan(tmp_path, "small", cells, {}, names)
    ask = plan._study.ask

    def ask_then_open_another():
        trial = ask()
        # The cell is not leased yet, so the other run sees a trial that nobody works on.
        Plan(tmp_path, "small", cells, {}, [])
        return trial

    monkeypatch.setattr(plan._study, "ask", ask_then_open_another)
    assert plan.next() == names[0]
    monkeypatch.undo()
    plan.finish(names[0], {OBJECTIVE: 0.5})
    assert plan.next() == names[1]
    assert plan.next() is None
    trials = _load(tmp_path / JOURNAL, plan._study.study_name).get_trials(states=(TrialState.COMPLETE,))
    assert [(trial.user_attrs["cell"], trial.value) for trial in trials] == [(names[0], 0.5)]
