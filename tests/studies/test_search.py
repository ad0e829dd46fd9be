"""Searches at tiny size: what is proposed, ended early, gone on with, begun from, and never looked at."""

import json

import optuna
import pytest
import yaml

from analysis.printing import printed_summary
from analysis.records import read, write
from analysis.tables import summary
from studies import benchmarks
from studies.failures import PRUNED, Failure
from studies.frames import write_failure
from studies.messages import Failed, Task
from studies.searched import searched_cells
from studies.searching import JOURNAL, Searching
from studies.settings import CellSettings, StudyError, StudySettings, load_study, study_path
from studies.store import CellFolder, ResultsError, State, Store
from studies.worker import attempt
from tests.studies.pretending import finished_cell
from tests.studies.running import Silent, here

LEVERS = {"residual": "carry", "rescale": False, "moments": "carry", "report": "effective"}
SPACE = {
    "ema_decay": {"low": 0.0, "high": 1.0},
    "resample_every": {"low": 1, "high": 3, "log": True, "whole": True},
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
}


def study(training=None, evaluation=None, **search):
    """The preset `search-smoke` with other values inside."""
    content = yaml.safe_load(study_path("search-smoke").read_text())
    content["training"] |= {"steps": 4, "batch_size": 4} | (training or {})
    content["evaluation"] |= evaluation or {}
    content["search"] |= {"space": SPACE, "trials": 4, "pruner": None} | search
    return StudySettings.model_validate(content)


class Judged(Silent):
    """Follows a cell for a search in this process."""

    def __init__(self, searching, identity):
        self.searching, self.identity, self.heard = searching, identity, []

    def judge(self, step, score):
        is_pruned = self.searching.judge(self.identity, step, score)
        self.heard.append((step, is_pruned))
        return is_pruned


@pytest.fixture(scope="module")
def manifest(cells):
    return benchmarks.load("digits").manifest


def drive(settings, manifest, root, cells=99):
    """Runs a search in this process, or so many of its cells; returns it with the verdicts by cell."""
    store = Store(root)
    store.open()
    searching = Searching(settings, manifest, store)
    verdicts = {}
    while cells and (cell := searching.next()) is not None:
        listener = Judged(searching, cell.identity)
        task = Task(cell.canonical, store.cell(cell.identity).path, 1e9, "cpu", 60.0, is_judged=True)
        attempt(task, listener)
        searching.settle(cell.identity)
        verdicts[cell.identity] = listener.heard
        cells -= 1
    return searching, verdicts


def history(searching):
    return [(trial.params, trial.state.name, trial.values) for trial in searching._trials.get_trials()]


@pytest.mark.parametrize(
    "sampler",
    [
        {"name": "random", "seed": 3},
        {"name": "qmc", "seed": 3},
        {"name": "tpe", "seed": 3, "startup_trials": 2},
        {"name": "nsga2", "seed": 3, "population": 2},
    ],
    ids=lambda sampler: sampler["name"],
)
def test_search_that_was_stopped_goes_on_as_if_it_had_not_been(sampler, manifest, tmp_path, monkeypatch):
    # Only the history matters here, so cells give a number of their settings at once.
    monkeypatch.setattr("tests.studies.test_search.attempt", pretend)
    settings = study(trials=6, sampler=sampler)
    whole, _ = drive(settings, manifest, tmp_path / "whole")
    drive(settings, manifest, tmp_path / "parts", cells=2)
    stopped, _ = drive(settings, manifest, tmp_path / "parts", cells=1)
    # Killed with a cell under way: its trial is running, and its folder not.
    begun = stopped.next()
    parts, _ = drive(settings, manifest, tmp_path / "parts")
    assert history(parts) == history(whole)
    assert begun.identity in {trial.user_attrs["cell"] for trial in parts._trials.get_trials()}
    assert len({json.dumps(point) for point, _, _ in history(whole)}) >= 4
    for point, state, values in history(whole):
        assert state == "COMPLETE"
        assert values == [pytest.approx(point["learning_rate"])]
        for name, values in settings.search.space.items():
            assert values.low <= point[name] <= values.high


def pretend(task, line):
    """A finished cell whose ID validation accuracy is its learning rate, without training."""
    cell = CellSettings.from_canonical(task.canonical)
    finished_cell(cell, CellFolder(task.folder), cell.learning_rate, ood=1 - cell.learning_rate)


def test_real_runs_that_learn_too_little_end_early(manifest, tmp_path):
    settings = study(
        training={"steps": 8, "batch_size": 16, "validate_every": 2},
        space={"learning_rate": [10.0, 1e-9]},
        trials=8,
        sampler={"name": "random", "seed": 0},
        pruner={"name": "median", "startup_trials": 1, "warmup_steps": 3},
        method={"name": "linear_probe"},
    )
    searching, verdicts = drive(settings, manifest, tmp_path)
    store = Store(tmp_path)
    states = {cell.learning_rate: store.cell(cell.identity).state() for cell in searched_cells(settings, store, {})}
    # Eight trials are two cells: a point that comes again has its result at once.
    assert sum(searching.counts().values()) == 8
    assert len(verdicts) == len(states) == 2
    first, second = verdicts.values()
    assert first == [(2, False), (4, False), (6, False), (8, False)]
    assert second == [(2, False), (4, True)]
    assert states == {1e-9: State.DONE, 10.0: State.PRUNED}


def test_pruned_run_is_a_result_that_says_so(manifest, tmp_path):
    settings = study(training={"validate_every": 1}, pruner={"name": "hyperband", "min_steps": 1})
    store = Store(tmp_path)
    store.open()
    searching = Searching(settings, manifest, store)
    cell = searching.next()
    folder = store.cell(cell.identity)

    class Ends(Silent):
        def judge(self, step, score):
            return step == 2

    answer = attempt(Task(cell.canonical, folder.path, 1e9, "cpu", 60.0, is_judged=True), Ends())
    assert isinstance(answer, Failed)
    assert (answer.failure.kind, folder.state()) == (PRUNED, State.PRUNED)
    assert "ended after step 2 of 4" in answer.failure.message
    assert not folder.may_run()
    assert folder.may_run([PRUNED])
    searching.settle(cell.identity)
    assert searching.counts() == {"complete": 0, "pruned": 1, "fail": 0, "running": 0}
    assert read(store.root).cells["status"].tolist() == ["pruned"]


def test_pruner_judges_as_optunas_own_does(manifest, tmp_path):
    """Curves of ID validation, told to the search and to a plain Optuna study with the same pruner."""
    pruning = {"name": "median", "startup_trials": 2, "warmup_steps": 1}
    settings = study(training={"validate_every": 1}, trials=12, sampler={"name": "random", "seed": 5}, pruner=pruning)
    store = Store(tmp_path)
    store.open()
    searching = Searching(settings, manifest, store)
    plain = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(2, 1))
    ended = 0
    while (cell := searching.next()) is not None:
        trial = plain.ask()
        rate = cell.learning_rate
        for step in range(1, 5):
            score = rate * step
            is_pruned = searching.judge(cell.identity, step, score)
            # A cell that went on from an older checkpoint asks again and hears the same.
            assert searching.judge(cell.identity, step, score) == is_pruned
            trial.report(score, step)
            assert is_pruned == trial.should_prune()
            if is_pruned:
                break
        folder = store.cell(cell.identity)
        if is_pruned:
            write_failure(cell, folder, Failure(PRUNED, "ended early"))
            plain.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            finished_cell(cell, folder, 4 * rate)
            plain.tell(trial, 4 * rate)
        searching.settle(cell.identity)
        ended += is_pruned
    assert 0 < ended < 10
    assert [trial.state for trial in searching._trials.get_trials()] == [trial.state for trial in plain.get_trials()]


def test_history_that_is_lost_is_made_anew_from_the_folders(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.studies.test_search.attempt", pretend)
    settings = study(trials=3)
    before, _ = drive(settings, manifest, tmp_path)
    (tmp_path / JOURNAL).unlink()
    after, ran = drive(settings, manifest, tmp_path)
    assert not ran
    assert sorted(map(str, history(after))) == sorted(map(str, history(before)))


def test_search_begins_from_another_studys_records(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.studies.test_search.attempt", pretend)
    settings = study(trials=4, sampler={"name": "random", "seed": 7})
    earlier, _ = drive(settings, manifest, tmp_path / "earlier")
    # Another seed of one cell is the same setting; another number of steps is not.
    store = Store(tmp_path / "earlier")
    first = store.cell(store.identities()[0]).settings()
    longer = first.model_copy(update={"training": first.training.model_copy(update={"steps": 5})})
    for other in (first.model_copy(update={"seed": 9}), longer):
        finished_cell(other, store.cell(other.identity), first.learning_rate + 0.5)
    write(read(store.root), tmp_path / "records")
    for folder in (tmp_path / "earlier", tmp_path / "records"):
        warm = study(trials=2, warm_start=[folder], sampler={"name": "tpe", "seed": 0, "startup_trials": 4})
        begun = Searching(warm, manifest, Store(tmp_path / f"from-{folder.name}"))
        assert begun.left == 2
        assert "4 settings, means over seeds; 1 other cells left out" in begun.notes[0]
        known = {json.dumps(point): values for point, _, values in history(begun)}
        assert known.keys() == {json.dumps(point) for point, _, _ in history(earlier)}
        assert any(values == [pytest.approx(first.learning_rate + 0.25)] for values in known.values())
    with pytest.raises(ResultsError, match=r"search\.warm_start"):
        Searching(study(warm_start=[tmp_path / "nowhere"]), manifest, Store(tmp_path / "cold"))


def test_several_objectives_give_the_front(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.studies.test_search.attempt", pretend)
    sought = ["id_val_accuracy_score", "training_flops"]
    space = {"learning_rate": SPACE["learning_rate"], "steps": {"low": 2, "high": 9, "whole": True}}
    settings = study(trials=12, objectives=sought, space=space, sampler={"name": "nsga2", "seed": 2, "population": 4})
    searching, _ = drive(settings, manifest, tmp_path)
    points = [(values[0], -values[1]) for _, _, values in history(searching)]
    front = {a for a in points if not any(b != a and b[0] >= a[0] and b[1] >= a[1] for b in points)}
    found = searching.found()
    assert {(one.values[sought[0]], -one.values[sought[1]]) for one in found} == front
    assert all(one.values["training_flops"] == 1e6 * one.point["steps"] for one in found)


def test_impossible_points_are_trials_that_failed(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.studies.test_search.attempt", pretend)
    space = {"anchor": ["ema", "zero"], "residual": ["reset", "carry"]}
    settings = study(trials=20, space=space, sampler={"name": "random", "seed": 0},
                     method={"name": "gmixout", "levers": {"report": "effective"}})  # fmt: skip
    searching, ran = drive(settings, manifest, tmp_path)
    counts = searching.counts()
    assert counts["fail"] > 0
    assert counts["complete"] + counts["fail"] == 20
    assert {Store(tmp_path).cell(identity).settings().levers["anchor"] for identity in ran} == {"pretrained", "zero"}


def test_no_choice_of_a_search_reads_a_test_split(manifest, tmp_path, monkeypatch):
    """The same search where every number off ID validation is another: the same trials, one by one."""
    histories = []
    for ood in (0.1, 0.9):

        def pretend_otherwise(task, line, ood=ood):
            cell = CellSettings.from_canonical(task.canonical)
            finished_cell(cell, CellFolder(task.folder), cell.learning_rate, ood=ood * cell.learning_rate)

        monkeypatch.setattr("tests.studies.test_search.attempt", pretend_otherwise)
        settings = study(trials=8, sampler={"name": "tpe", "seed": 0, "startup_trials": 3})
        histories.append(history(drive(settings, manifest, tmp_path / str(ood))[0]))
    assert histories[0] == histories[1]


def test_oracle_marks_its_cells_in_records_and_in_every_table(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.studies.test_search.attempt", pretend)
    settings = study(trials=3, objectives=["ood_score"], oracle=True)
    searching, _ = drive(settings, manifest, tmp_path)
    assert [values[0] for _, _, values in history(searching)] == [
        pytest.approx(1 - point["learning_rate"]) for point, _, _ in history(searching)
    ]
    records = read(tmp_path)
    assert set(records.cells["method"]) == {"gmixout/oracle"}
    assert "oracle" in printed_summary(summary(records)).to_string()
    plain = study(trials=3)
    assert {cell.identity for cell in searched_cells(settings, Store(tmp_path), {})} == set(records.cells["cell"])
    assert searched_cells(plain, Store(tmp_path), {}) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objectives": ["ood_score"]}, ["must not read test splits", "ood_score", "oracle: true"]),
        ({"objectives": ["id_test_accuracy_score"]}, ["must not read test splits"]),
        ({"oracle": True}, ["remove it"]),
        ({"objectives": ["beauty"]}, ["unknown: beauty", "id_val_accuracy_score"]),
        ({"objectives": ["training_flops"], "pruner": {"name": "median"}}, ["pruner", "training_flops"]),
        ({"sampler": {"name": "tpe"}}, ["seed"]),
        ({"sampler": {"name": "grid", "seed": 0}}, ["'grid'", "'tpe'"]),
        ({"space": {"sparsity": {"low": 0.5, "high": 1.0}}}, ["space.sparsity", "less than 1", "1.0"]),
        ({"space": {"sparsity": {"low": 0.5, "high": 0.4}}}, ["low must be below high"]),
        ({"space": {"learning_rate": {"low": 0.0, "high": 0.4, "log": True}}}, ["begins above 0"]),
        ({"space": {"anchor": ["emu"]}}, ["space.anchor", "emu"]),
        ({"space": {"beauty": [1, 2]}}, ["space.beauty", "unknown setting"]),
        ({"method": {"name": "zero_shot"}}, ["methods that train"]),
        ({"method": {"name": "gmixout", "sweep": {"sparsity": [0.5]}}}, ["no sweep"]),
        ({"trials": 0}, ["trials", "0"]),
    ],
    ids=str,
)
def test_impossible_search_is_one_line(change, words, tmp_path):
    content = yaml.safe_load(study_path("search-smoke").read_text())
    content["search"] |= {"pruner": None} | change
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(StudyError) as error:
        load_study(str(path))
    assert len(str(error.value).splitlines()) == 1
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": [0, 1]}, "seeds has one value, got 2"),
        ({"search": None}, "at least 1 method is needed, or a search"),
        ({"training": {"steps": 4}}, "set training.validate_every"),
    ],
    ids=str,
)
def test_study_that_cannot_be_searched_is_told(change, words, tmp_path):
    content = yaml.safe_load(study_path("search-smoke").read_text()) | change
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(StudyError, match=words):
        load_study(str(path))


def test_whole_search_by_the_command_line(cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("studies.commands.run.write_results", lambda *arguments: None)
    command = ("study", "run", "search-smoke", "--workers", "1", "--no-figures")
    ended = here(*command)
    assert ended.exit_code == 0, ended.output
    assert "search: 6 trials" in ended.output
    assert "best: id_val_accuracy_score" in ended.output
    assert "nothing to run" in here(*command).output
    status = json.loads(here("study", "status", "search-smoke", "--json").stdout)
    assert status["done"] + status["pruned"] == status["cells"] == 6
    assert status["search"] == {"trials": 6, "oracle": False}
    assert len(status["levers"]["learning_rate"]) == 6
    said = " ".join(here("study", "plan", "search-smoke", "--no-forecast").stdout.split())
    assert "search: 6 trials of gmixout over ema_decay, resample_every, sparsity, learning_rate by tpe (seed 0)" in said
