"""Results given away as one file, brought together from several machines, and run again from a record."""

import hashlib
import json
import os
import shutil
import zipfile

import pytest
import safetensors.numpy

from analysis.records import Records, read, write
from studies.failures import DIVERGED, Failure
from studies.merge import Fate, merge
from studies.store import DONE, FAILED, SETTINGS, TABLES, ResultsError, Store
from tests.studies.running import here


@pytest.fixture
def stores(finished, tmp_path):
    """The finished preset `smoke`, copied twice, so that a test may damage and divide it."""
    folder, _ = finished
    both = []
    for name in ("ours", "theirs"):
        shutil.copytree(folder / "results" / "smoke", tmp_path / name)
        both.append(Store(tmp_path / name))
    return both


def divide(store, identities):
    for identity in store.identities():
        if identity not in identities:
            shutil.rmtree(store.cell(identity).path)


def answer_otherwise(folder):
    """Another machine's result: one logit otherwise, and a marker that is true of it."""
    path = folder.path / "logits.safetensors"
    arrays = safetensors.numpy.load_file(path)
    arrays["logits/id_test"] = arrays["logits/id_test"] + 1
    safetensors.numpy.save_file(arrays, path)
    marker = json.loads((folder.path / DONE).read_text())
    marker["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder.path / DONE).write_text(json.dumps(marker))


def test_export_is_one_file_that_holds_what_was_found_and_is_the_same_again(finished, tmp_path):
    folder, _ = finished
    arguments = ("study", "export", "smoke", "--results", str(folder / "results" / "smoke"), "--logits")
    for name in ("one.zip", "two.zip"):
        ended = here(*arguments, "--out", str(tmp_path / name))
        assert ended.exit_code == 0, ended.output
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as whole:
        assert whole.testzip() is None
        whole.extractall(tmp_path / "opened")
    opened = tmp_path / "opened"
    contents = json.loads((opened / "contents.json").read_text())
    found = {str(path.relative_to(opened)) for path in opened.rglob("*") if path.is_file()} - {"contents.json"}
    assert found == set(contents["files"])
    for name, expected in contents["files"].items():
        assert hashlib.sha256((opened / name).read_bytes()).hexdigest() == expected
    stored = read(folder / "results" / "smoke")
    assert read(opened / "records").fingerprint() == contents["records_sha256"] == stored.fingerprint()
    assert contents["cells"] == {"done": 7}
    assert contents["library_versions"]["torch"]
    assert {path.suffix for path in (opened / "figures").iterdir()} >= {".png", ".svg", ".csv"}
    for cell in stored.cells["cell"]:
        inside = opened / "cells" / cell / "logits.safetensors"
        assert inside.read_bytes() == (folder / "results/smoke/cells" / cell / "logits.safetensors").read_bytes()
    assert str(tmp_path) not in " ".join(path.read_text() for path in opened.glob("*.*"))


def test_export_without_results_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = here("study", "export", "smoke")
    assert isinstance(ended.exception, ResultsError)
    assert "run it first: gmixout study run smoke" in str(ended.exception)
    assert not list(tmp_path.iterdir())


def test_halves_of_two_machines_make_the_whole(stores):
    ours, theirs = stores
    whole = read(ours.root).fingerprint()
    identities = ours.identities()
    divide(ours, identities[:4])
    divide(theirs, identities[3:])
    fates = {one.cell: one.fate for one in merge(ours, [theirs])}
    assert fates == {identities[3]: Fate.KNOWN} | dict.fromkeys(identities[4:], Fate.TAKEN)
    ours.check(identities)
    assert read(ours.root).fingerprint() == whole
    assert {one.fate for one in merge(ours, [theirs])} == {Fate.KNOWN}


@pytest.mark.parametrize(("keep", "fate", "code"), [(None, "conflict", 1), ("ours", "ours kept", 0),
                                                    ("theirs", "theirs taken", 0)])  # fmt: skip
def test_different_results_of_a_cell_are_told_and_decided(keep, fate, code, stores):
    ours, theirs = stores
    identity = ours.identities()[0]
    answer_otherwise(theirs.cell(identity))
    chosen = ["--keep", keep] if keep else []
    ended = here("study", "merge", str(ours.root), str(theirs.root), *chosen, "--json")
    assert ended.exit_code == code, ended.output
    told = {one["cell"]: one for one in json.loads(ended.stdout)["cells"]}
    assert told.pop(identity) == {
        "cell": identity,
        "from": str(theirs.root),
        "fate": fate,
        "why": "logits.safetensors differ; no number differs",
    }
    assert {one["fate"] for one in told.values()} == {"known"}
    winner = theirs if keep == "theirs" else ours
    assert ours.cell(identity).problem() is None
    left = (ours.cell(identity).path / "logits.safetensors").read_bytes()
    assert left == (winner.cell(identity).path / "logits.safetensors").read_bytes()


def test_nothing_of_a_stranger_is_taken_but_whole_cells(stores, tmp_path):
    ours, theirs = stores
    identities = ours.identities()
    divide(ours, [])
    (tmp_path / "secret").write_text("kept")
    damaged, renamed, escaping, linked, busy = (theirs.cell(identity) for identity in identities[:5])
    (damaged.path / "metrics.parquet").write_bytes(b"half")
    shutil.move(renamed.path, theirs.cells / ("0" * 16))
    marker = json.loads((escaping.path / DONE).read_text())
    marker["files"]["../../../secret"] = hashlib.sha256(b"stolen").hexdigest()
    (escaping.path / DONE).write_text(json.dumps(marker))
    (linked.path / "logits.safetensors").unlink()
    os.symlink(tmp_path / "secret", linked.path / "logits.safetensors")
    (theirs.cell(identities[5]).path / "surprise.py").write_text("import os")
    with ours.cell(busy.identity).lease():
        fates = {one.cell: one.fate for one in merge(ours, [theirs])}
    refused = {damaged.identity, "0" * 16, escaping.identity, linked.identity}
    assert {cell for cell, fate in fates.items() if fate is Fate.REFUSED} == refused
    assert fates[busy.identity] is Fate.BUSY
    assert [fates[identity] for identity in identities[5:]] == [Fate.TAKEN, Fate.TAKEN]
    assert not list(ours.root.rglob("surprise.py"))
    assert (tmp_path / "secret").read_text() == "kept"


def test_failures_are_taken_where_nothing_is_known(stores):
    ours, theirs = stores
    first, second = ours.identities()[:2]
    shutil.rmtree(ours.cell(first).path)
    for identity in (first, second):
        folder = theirs.cell(identity)
        (folder.path / DONE).unlink()
        folder.fail(Failure(DIVERGED, "the loss is nan at step 3"))
    fates = {one.cell: one.fate for one in merge(ours, [theirs])}
    assert (fates[first], fates[second]) == (Fate.FAILURE_TAKEN, Fate.KNOWN)
    assert ours.cell(first).failure().kind == DIVERGED
    assert ours.cell(second).is_done
    assert sorted(path.name for path in ours.cell(first).path.glob("[!.]*")) == [FAILED, "cells.parquet", SETTINGS]


def test_merging_needs_two_stores(stores, tmp_path):
    ours, _ = stores
    with pytest.raises(ResultsError, match="into itself"):
        merge(ours, [Store(ours.root)])
    with pytest.raises(ResultsError, match="a store has a folder named cells"):
        merge(ours, [Store(tmp_path / "nowhere")])


def test_a_cell_runs_again_bit_for_bit_from_its_folder_and_from_records_alone(finished, cells):
    folder, _ = finished
    results = folder / "results" / "smoke"
    ended = here("study", "reproduce", cells["gmixout-latest"].identity[:6], "--results", str(results))
    assert ended.exit_code == 0, ended.output
    assert "weights, logits and numbers are equal bit for bit" in ended.output
    again = ("study", "reproduce", cells["zero_shot"].identity, "--results", str(results / "records"), "--json")
    told = json.loads(here(*again).stdout)
    assert (told["is_equal"], told["differing_files"], told["numbers"]) == (True, None, [])


def test_a_record_that_is_not_true_is_found_out(cells, stores):
    ours, _ = stores
    folder = ours.cell(cells["zero_shot"].identity)
    records = read(folder.path)
    untrue = records.metrics.assign(value=records.metrics["value"].where(records.metrics["split"].ne("id_test"), 0.25))
    write(Records(records.cells, untrue, records.examples, records.curves), folder.path)
    folder.finish(TABLES)
    ended = here("study", "reproduce", folder.identity, "--results", str(ours.root))
    assert ended.exit_code == 1
    assert "numbers differ; the largest differences:\n  reported id_test" in ended.output
