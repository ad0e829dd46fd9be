"""Whole studies through the command line: done once, stopped, killed, diverged, shared, and never run twice."""

import json
import os
import signal
from pathlib import Path

import pytest

from analysis.records import read
from studies import benchmarks
from studies.lease import holder
from studies.plan import JOURNAL
from studies.settings import load_study
from studies.store import CHECKPOINT, CellFolder, State, Store
from tests.studies.running import gmixout, killed_at_last, start, wait_for, write_study


def study_cells(path):
    return load_study(str(path)).cells(benchmarks.load("digits").manifest)


def test_smoke_ends_with_records_figures_and_summary(finished):
    folder, ended = finished
    results = folder / "results" / "smoke"
    assert "this run: 7 cells done" in ended.stdout
    for word in ("Zero-shot", "+ WiSE-FT", "GMixout", "ID", "OOD", "corruption", "diversity", "next: "):
        assert word in ended.stdout
    assert ended.stderr == ""
    records = read(results / "records")
    assert set(records.cells["status"]) == {"done"}
    assert len(records.cells) == 7
    assert records.fingerprint() == read(results).fingerprint()
    assert {path.suffix for path in (results / "figures").iterdir()} == {".png", ".svg", ".csv", ".md"}


def test_finished_cells_are_never_run_again_even_without_the_journal(finished):
    folder, _ = finished
    store = Store(folder / "results" / "smoke")
    before = {name: (store.cell(name).path / "DONE").stat().st_mtime_ns for name in store.identities()}
    (store.root / JOURNAL).unlink()
    again = gmixout("study", "run", "smoke", "--no-figures", cwd=folder)
    assert again.returncode == 0
    assert "nothing to run" in again.stdout
    assert before == {name: (store.cell(name).path / "DONE").stat().st_mtime_ns for name in store.identities()}


def test_status_plan_and_show_tell_the_same(finished):
    folder, _ = finished
    status = json.loads(gmixout("study", "status", "smoke", "--json", cwd=folder).stdout)
    assert (status["cells"], status["done"], status["failed"]) == (7, 7, 0)
    plan = json.loads(gmixout("study", "plan", "smoke", "--json", "--no-forecast", cwd=folder).stdout)
    assert (plan["cells"], plan["to_run"]) == (7, 0)
    assert sum(method["done"] for method in plan["methods"]) == 7
    cell = Store(folder / "results" / "smoke").identities()[0]
    shown = json.loads(gmixout("study", "show", cell[:6], "--json", cwd=folder).stdout)
    assert (shown["cell"], shown["state"]) == (cell, "done")
    assert any(row["split"] == "id_test" for row in shown["metrics"])


def test_damaged_result_is_one_error_before_any_work(finished):
    folder, _ = finished
    damaged = next((folder / "results" / "smoke" / "cells").glob("*/logits.safetensors"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        ended = gmixout("study", "run", "smoke", cwd=folder)
    finally:
        damaged.write_bytes(whole)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert str(damaged.parent.name) in ended.stderr
    assert "cells to run" not in ended.stdout


@pytest.mark.slow
def test_two_runs_share_the_cells_and_one_goes_on_where_the_other_was_stopped(cells, tmp_path, run_cell):
    methods = [{"name": "full", "learning_rates": [1e-3, 2e-3, 3e-3]}, {"name": "random_mask"}]
    long = {"steps": 400, "validate_every": None}
    path = write_study(tmp_path, name="long", methods=methods, training=long, execution={"checkpoint_every_s": 0.5})
    store = Store(tmp_path / "results" / "long")
    command = ("study", "run", str(path), "--workers", "1", "--no-figures")
    with (
        start(*command, cwd=tmp_path) as stopped,
        start(*command, cwd=tmp_path) as other,
        killed_at_last(stopped, other),
    ):
        begun = wait_for(lambda: _checkpointed_by(stopped, store))
        os.killpg(stopped.pid, signal.SIGINT)
        output, _ = stopped.communicate(timeout=60)
        assert stopped.returncode == 130, output
        assert "go on with the same command" in output
        assert _done_by(output) < 4
        rest, _ = other.communicate(timeout=120)
        assert other.returncode == 0, rest
    assert _done_by(output) + _done_by(rest) == 4, "every cell is done by exactly one of them"
    assert {store.cell(cell.identity).state() for cell in study_cells(path)} == {State.DONE}
    alone = CellFolder(tmp_path / "alone")
    run_cell(alone, next(cell for cell in study_cells(path) if cell.identity == begun))
    assert (alone.path / "weights.sha256").read_text() == (store.cell(begun).path / "weights.sha256").read_text()


def _checkpointed_by(process, store):
    for identity in store.identities():
        claim = holder(store.cell(identity).path)
        # A worker is forked by the server that the run has started.
        if (
            claim
            and _parent_of(_parent_of(claim["pid"])) == process.pid
            and (store.cell(identity).path / CHECKPOINT).exists()
        ):
            return identity
    return None


def _parent_of(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _done_by(output):
    return int(output.split("this run: ")[1].split()[0])


def test_killed_worker_and_diverged_cell_do_not_stop_the_others(cells, tmp_path):
    methods = [{"name": "full", "learning_rates": [1e-3, 1e20]}, {"name": "linear_probe"}, {"name": "zero_shot"}]
    path = write_study(tmp_path, name="wild", methods=methods, training={"steps": 300})
    store = Store(tmp_path / "results" / "wild")
    command = ("study", "run", str(path), "--workers", "1", "--no-figures")
    with start(*command, cwd=tmp_path) as process, killed_at_last(process):
        lease = wait_for(lambda: next(store.cells.glob("*/lease"), None) if store.cells.exists() else None)
        os.kill(int(holder(lease.parent)["pid"]), signal.SIGKILL)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "preempted (its process was ended by SIGKILL" in output
    states = {cell.label: store.cell(cell.identity).state() for cell in study_cells(path)}
    wild = next(cell for cell in study_cells(path) if cell.learning_rate == 1e20)
    assert [label for label, state in states.items() if state is not State.DONE] == [wild.label]
    assert store.cell(wild.identity).failure().kind == "diverged"
    row = read(store.root).cells.set_index("cell").loc[wild.identity]
    assert (row["status"], row["failure"]) == ("diverged", "diverged")
    assert "diverged" in output
