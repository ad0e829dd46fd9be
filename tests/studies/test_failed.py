"""What failed is shown with its log's last lines, and is tried again when asked for."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

from studies.commands.failed import DAMAGED, retry
from studies.commands.state import status
from studies.failures import CODE_ERROR, DIVERGED, OUT_OF_MEMORY, Failure
from studies.opened import Opened
from studies.settings import load_study
from studies.store import CHECKPOINT, DONE, State, Store
from tests.studies.running import write_study

LOG = "\n".join(f"line {number}" for number in range(9))


@pytest.fixture
def opened(tmp_path):
    """Four cells: one of memory, one of code, one diverged, one done and then damaged."""
    path = write_study(tmp_path, methods=[{"name": "full", "learning_rates": [1, 2, 3, 4]}])
    study = load_study(str(path))
    found = Opened(study, Store(tmp_path / "results"), "smoke", path)
    vars(found)["planned"] = vars(found)["_stored_planned"] = study.cells("00")
    for cell, kind in zip(found.cells, (OUT_OF_MEMORY, CODE_ERROR, DIVERGED)):
        folder = found.folder(cell)
        folder.fail(replace(Failure(kind, f"why {kind}", attempts=2), log=LOG))
        (folder.path / CHECKPOINT).write_text("saved")
    done = found.folder(found.cells[3])
    with done.lease():
        done.prepare("{}")
        (done.path / "metrics.parquet").write_text("numbers")
        done.finish(["metrics.parquet"])
    (done.path / "metrics.parquet").write_text("torn")
    return found


def states(opened):
    return list(opened.states().values())


def test_status_shows_each_failure_with_the_last_lines_of_its_log(opened, capsys):
    status(opened, Console(width=200), is_json=False)
    told = capsys.readouterr().out
    for kind in (OUT_OF_MEMORY, CODE_ERROR, DIVERGED):
        assert f"failed, {kind}: 1" in told
        assert f"why {kind}, 2 times" in told
        assert f"gmixout study retry smoke --kind {kind}" in told
    assert told.count("| line 8") == 3
    assert "line 3" not in told
    status(opened, Console(), is_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["failures"] == {OUT_OF_MEMORY: 1, CODE_ERROR: 1, DIVERGED: 1}
    assert {cell["log"] for cell in facts["failed_cells"].values()} == {LOG}


def test_retry_frees_the_kinds_that_are_asked_for_and_keeps_what_was_saved(opened):
    assert retry(opened, [CODE_ERROR], Console()) == 1
    assert states(opened) == [State.FAILED, State.MISSING, State.FAILED, State.DONE]
    assert (opened.folder(opened.cells[1]).path / CHECKPOINT).exists()
    assert opened.folder(opened.cells[1]).may_run()


def test_damaged_cell_is_set_aside_and_not_deleted(opened):
    assert retry(opened, [DAMAGED], Console()) == 1
    identity = opened.cells[3].identity
    assert states(opened)[3] is State.MISSING
    aside = opened.store.root / DAMAGED / f"{identity}-1"
    assert (aside / DONE).exists()
    assert (aside / "metrics.parquet").read_text() == "torn"


def test_cell_that_is_worked_on_is_left_alone(opened, capsys):
    with opened.folder(opened.cells[1]).lease():
        assert retry(opened, [CODE_ERROR], Console(width=200)) == 0
    assert "left alone" in capsys.readouterr().out
    assert states(opened)[1] is State.FAILED
