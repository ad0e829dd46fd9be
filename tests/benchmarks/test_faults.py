"""The scenarios of faults in small: real processes, real kills, a real database."""

import pytest

from benchmarks.faults import scenarios
from benchmarks.faults.postgres import MissingPostgres, postgres
from benchmarks.faults.standin import RESULT
from benchmarks.faults.study import study_cells, wrong
from studies.store import Store


def test_killed_workers_and_runs(tmp_path):
    found = scenarios.killed_workers(tmp_path, kills=3, cells=3, steps=20)
    assert (found.faults, found.wrong) == (3, [])


@pytest.mark.slow
def test_machines_that_share_only_a_database_that_crashes(tmp_path):
    try:
        with postgres() as server:
            found = scenarios.restarted_database(tmp_path, server, times=1, cells=3)
    except MissingPostgres as missing:
        pytest.skip(str(missing))
    assert found.wrong == []


def test_what_is_wrong_is_found(tmp_path):
    """Of the tests' own measure: each way of going wrong is told."""
    cells = study_cells(3, 2, 0.0)
    twice, torn, _ = cells
    for cell, content in ((twice, "x"), (torn, "y")):
        folder = Store(tmp_path).cell(cell.identity)
        with folder.lease():
            folder.prepare(cell.canonical)
            (folder.path / RESULT).write_text(content)
            folder.finish([RESULT])
    (Store(tmp_path).cell(torn.identity).path / RESULT).write_text("z")
    (Store(tmp_path).cell(twice.identity).path / "lease").write_text("{}")
    (tmp_path / "finished.log").write_text(f"{twice.identity}\n{twice.identity}\n")
    told = "\n".join(wrong(tmp_path, cells))
    for words in ("another end", "finished 2 times", "finished 0 times", "left lease", "is missing", "is not what its"):
        assert words in told
