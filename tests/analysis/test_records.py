"""Records: built, checked, written, read, joined, and refused with a reason where they are not whole."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import records as schema
from analysis.records import (
    Records,
    among,
    cells_frame,
    concatenate,
    curves_frame,
    examples_frame,
    metrics_frame,
    read,
    storage,
    write,
)


def shuffled(whole: Records, seed: int = 0) -> Records:
    rng = np.random.default_rng(seed)
    frames = (whole.cells, whole.metrics, whole.examples, whole.curves)
    return Records(*(frame.iloc[rng.permutation(len(frame))].reset_index(drop=True) for frame in frames))


def test_round_trip_keeps_everything(small, tmp_path: Path) -> None:
    fingerprint = write(small, tmp_path / "r")
    back = read(tmp_path / "r")
    assert back.fingerprint() == fingerprint == small.fingerprint()
    for name in schema.TABLES:
        pd.testing.assert_frame_equal(getattr(back, name), getattr(small.canonical(), name))
    assert {path.name for path in (tmp_path / "r").iterdir()} == {f"{name}.parquet" for name in schema.TABLES}


def test_row_order_changes_neither_fingerprint_nor_bytes(small, tmp_path: Path) -> None:
    write(small, tmp_path / "a")
    write(shuffled(small), tmp_path / "b")
    for name in schema.TABLES:
        assert (tmp_path / "a" / f"{name}.parquet").read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()


def test_any_changed_value_changes_the_fingerprint(small) -> None:
    before = small.fingerprint()
    for name, column in (("cells", "device"), ("metrics", "value"), ("examples", "correct"), ("curves", "step")):
        frames = {table: getattr(small, table).copy() for table in schema.TABLES}
        old = frames[name][column].iloc[0]
        new = {"device": "other", "value": float(old) + 1e-12 if column == "value" else 0.0,
               "correct": bytes(old)[::-1] + b"\0" if column == "correct" else b"", "step": -7}[column]  # fmt: skip
        frames[name][column] = [new, *frames[name][column].iloc[1:]]
        frames[name] = getattr(schema, f"{name}_frame")(frames[name])
        assert Records(**frames).fingerprint() != before, column


def test_fingerprint_is_stable_across_versions() -> None:
    row = {"cell": "a", "benchmark": "b", "backbone": "v", "pretrain_seed": 0, "method": "full", "seed": 1, "steps": 2}
    row |= {"batch_size": 3, "settings": "{}", "status": "done", "rescale": True, "resample_every": float("inf")}
    one = Records(schema.cells_frame([row]), schema.metrics_frame(), schema.examples_frame(), schema.curves_frame())
    # Written down from pandas 3.1 and numpy 2.4: records of old must keep their name.
    assert one.fingerprint() == "855b36e4befbd990ea65bfd27aa95bf9f7c9f0b081614bde05b25dbe4b3f8f46"


def test_empty_records_are_possible(tmp_path: Path) -> None:
    write(Records.empty(), tmp_path)
    assert len(read(tmp_path).cells) == 0
    assert concatenate([]).fingerprint() == Records.empty().fingerprint()


def shards(whole: Records, folder: Path) -> list[Path]:
    paths = []
    for cell in whole.cells["cell"]:
        shard = folder / "cells" / cell
        write(whole.keep([cell]), shard)
        mark(shard)
        paths.append(shard)
    return paths


def mark(shard: Path) -> None:
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shard.glob("*.parquet")}
    (shard / "DONE").write_text(json.dumps({"files": sums}))


def test_shards_read_as_one(small, tmp_path: Path) -> None:
    paths = shards(small, tmp_path)
    assert read(tmp_path).fingerprint() == small.fingerprint()
    (paths[0] / "DONE").unlink()
    assert len(read(tmp_path).cells) == len(small.cells) - 1


def test_shards_of_earlier_code_are_read_with_new_ones(small, tmp_path: Path) -> None:
    """A study that was begun before a column was added goes on."""
    first = shards(small, tmp_path)[0]
    path = first / "cells.parquet"
    pq.write_table(pq.read_table(path).drop_columns("engine"), path)
    mark(first)
    assert read(tmp_path).fingerprint() == small.fingerprint()


def test_a_failed_shard_brings_its_row(small, tmp_path: Path) -> None:
    paths = shards(small, tmp_path)
    for path in paths[:2]:
        (path / "DONE").unlink()
        (path / "FAILED.json").write_text(json.dumps({"kind": "out of memory"}))
    (paths[1] / "cells.parquet").unlink()
    settings = {"benchmark": "digits", "backbone": "v", "pretrain_seed": 0, "method": "full", "seed": 0, "steps": 2,
                "training": {"batch_size": 3}, "learning_rate": 0.1,
                "options": {"rank": 4, "backbone": "x"}}  # fmt: skip
    (paths[1] / "settings.json").write_text(json.dumps(settings))
    back = read(tmp_path)
    assert len(back.cells) == len(small.cells)
    row = back.cells.set_index("cell").loc[paths[1].name]
    assert row["status"] == "failed"
    assert row["failure"] == "out of memory"
    assert row["batch_size"] == 3
    assert row["backbone"] == "v"
    assert row["options"] == '{"backbone":"x","rank":4}'
    assert not back.metrics["cell"].isin([path.name for path in paths[:2]]).any()


def test_a_corrupt_shard_is_refused(small, tmp_path: Path) -> None:
    path = shards(small, tmp_path)[3] / "metrics.parquet"
    path.write_bytes(path.read_bytes()[:-3] + b"xyz")
    with pytest.raises(ValueError, match="corrupt; delete"):
        read(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "cut", "noise", "mixed", "folder", "version", "column", "type"])
def test_a_damaged_set_is_refused(small, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "r"
    write(small, folder)
    metrics = folder / "metrics.parquet"
    table = pq.read_table(metrics)
    if damage == "missing":
        metrics.unlink()
    elif damage == "cut":
        metrics.write_bytes(metrics.read_bytes()[:200])
    elif damage == "noise":
        metrics.write_bytes(os.urandom(500))
    elif damage == "mixed":
        write(small.keep(small.cells["cell"].iloc[:3]), tmp_path / "other")
        shutil.copy(tmp_path / "other" / "metrics.parquet", metrics)
    elif damage == "folder":
        shutil.rmtree(folder)
    elif damage == "version":
        pq.write_table(table.replace_schema_metadata({b"gmixout_schema_version": b"0"}), metrics)
    elif damage == "column":
        pq.write_table(table.drop(["value"]), metrics)
    elif damage == "type":
        pq.write_table(table.set_column(6, "value", table["value"].cast("float32")), metrics)
    expected = {"missing": "is missing", "cut": "not a readable Parquet", "noise": "not a readable Parquet",
                "mixed": "one write", "folder": "not one; run a study", "version": "schema version 2",
                "column": "missing: value", "type": "another type: value is float"}[damage]  # fmt: skip
    with pytest.raises(ValueError, match=expected):
        read(folder)


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has neither"):
        read(tmp_path)


def test_a_full_disk_leaves_the_old_records(small, tmp_path: Path, monkeypatch) -> None:
    write(small, tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(small.keep(small.cells["cell"].iloc[:2]), tmp_path)
    monkeypatch.undo()
    assert read(tmp_path).fingerprint() == small.fingerprint()
    assert not list(tmp_path.glob(".*"))


def test_validation_names_rule_and_remedy(small) -> None:
    metrics = small.metrics
    cases = {
        "missing: value": metrics.drop(columns="value"),
        "unknown: extra": metrics.assign(extra=1),
        "metrics.value must have dtype float64, got float32": metrics.astype({"value": "float32"}),
        "metrics must hold each": pd.concat([metrics, metrics.iloc[:1]], ignore_index=True),
        "must be one of reported": metrics.assign(weights=pd.array(["best"] * len(metrics), dtype="string")),
        "corruption/<kind>": metrics.assign(split=pd.array(["corruption/fog/6"] * len(metrics), dtype="string")),
        "never be null": metrics.assign(metric=pd.array([None] * len(metrics), dtype="string")),
    }
    for message, frame in cases.items():
        with pytest.raises(ValueError, match=message):
            Records(small.cells, frame, small.examples, small.curves)
    with pytest.raises(ValueError, match="schema_version must be 2, got"):
        schema.validate("cells", small.cells.assign(schema_version=1))
    with pytest.raises(ValueError, match="may only name cells"):
        Records(small.cells.iloc[1:], metrics, small.examples, small.curves)
    with pytest.raises(ValueError, match="table must be one of"):
        schema.validate("rows", metrics)


def test_builders_refuse_what_does_not_fit() -> None:
    good = {"cell": "a", "weights": "reported", "metric": "accuracy_score", "value": 1.0}
    assert schema.metrics_frame([good])["examples"].item() == 0
    for name, value in (("value", "high"), ("member", 0.5), ("cell", 3), ("examples", None)):
        with pytest.raises(ValueError, match=f"metrics.{name}"):
            schema.metrics_frame([good | {name: value}])
    with pytest.raises(ValueError, match="missing: value"):
        schema.metrics_frame([{"cell": "a", "weights": "reported", "metric": "m"}])
    with pytest.raises(ValueError, match="unknown: splits"):
        schema.metrics_frame([good | {"splits": "id_val"}])


def test_options_and_recipe_have_one_spelling(small) -> None:
    row = small.cells.iloc[[0]]
    assert row["options"].item() == row["recipe"].item() == ""
    for name in ("options", "recipe"):
        given = schema.canonical_json({"rank": 4, "alpha": [1.0, None]})
        assert schema.cells_frame(row.assign(**{name: given}))[name].item() == '{"alpha":[1.0,null],"rank":4}'
        for wrong in ('{"rank": 4}', '{"b":1,"a":2}', "{}", "[1]", "rank", '{"a":NaN}'):
            with pytest.raises(ValueError, match=f"cells.{name} must be empty or a JSON object"):
                schema.cells_frame(row.assign(**{name: wrong}))
    with pytest.raises(ValueError, match="JSON"):
        schema.canonical_json({"alpha": float("inf")})


def test_costs_are_nulls_where_nobody_counted(small, tmp_path: Path) -> None:
    cells = small.cells.drop(columns=["stored_floats", "training_flops", "training_steps", "inference_passes"])
    bare = Records(schema.cells_frame(cells), small.metrics, small.examples, small.curves)
    write(bare, tmp_path)
    back = read(tmp_path).cells
    assert back[["stored_floats", "training_flops", "training_steps", "inference_passes"]].isna().all(axis=None)
    assert str(back["stored_floats"].dtype) == "Int64"
    assert str(back["training_flops"].dtype) == "float64"


def test_joining_the_same_cell_twice_is_refused(small) -> None:
    with pytest.raises(ValueError, match="one part only"):
        concatenate([small, small])


@given(
    st.lists(st.one_of(st.none(), st.sampled_from("abcde")), max_size=8),
    st.lists(st.one_of(st.none(), st.sampled_from("abcdef")), max_size=5),
    st.sampled_from(["string", "object", "category"]),
)
def test_among_tells_what_isin_tells(names, wanted, dtype) -> None:
    column = pd.Series(names, dtype=dtype)
    known = [name for name in wanted if name is not None]
    assert among(column, wanted).tolist() == column.isin(known).tolist()


def test_where_and_keep(small) -> None:
    full = small.where(method="full", seed=1)
    assert len(full.cells) == 1
    assert set(full.metrics["cell"]) == set(full.cells["cell"])
    assert len(small.where(sparsity=0.9).cells) == 8
    with pytest.raises(ValueError, match="columns of cells"):
        small.where(colour="red")


def test_correct_returns_what_was_packed(small) -> None:
    cell = small.cells["cell"].iloc[0]
    accuracy = small.metrics.query("cell == @cell and weights == 'reported' and split == 'id_test'")
    value = accuracy.loc[accuracy["metric"].eq("accuracy_score"), "value"].item()
    right = small.correct(cell, "id_test")
    assert right is not None
    assert right.mean() == pytest.approx(value)
    assert small.correct(cell, "train") is None


@given(st.lists(st.booleans(), max_size=40))
def test_packing_is_exact(bits: list[bool]) -> None:
    assert schema.unpack(schema.pack(np.array(bits, dtype=bool)), len(bits)).tolist() == bits


def test_packing_refuses_other_things() -> None:
    with pytest.raises(ValueError, match="booleans"):
        schema.pack([0, 1])
    with pytest.raises(ValueError, match="corrupt"):
        schema.unpack(b"\0\0", 3)


def test_records_without_a_later_column_are_read_and_keep_their_name(small, tmp_path: Path) -> None:
    """Files of earlier code lack the column `engine`; they pool with new ones, which say it."""
    old, new = small.keep(small.cells["cell"][:1]), small.keep(small.cells["cell"][1:])
    name = old.fingerprint()
    write(old, tmp_path / "old")
    path = tmp_path / "old" / "cells.parquet"
    pq.write_table(pq.read_table(path).drop_columns("engine"), path)
    back = read(tmp_path / "old")
    assert back.cells["engine"].tolist() == [""]
    assert back.fingerprint() == name
    engines = new.cells.assign(engine='{"micro_batch":4}').astype({"engine": "string"})
    told = Records(engines, new.metrics, new.examples, new.curves)
    assert told.fingerprint() != new.fingerprint()
    pooled = concatenate([back, told])
    assert set(pooled.cells["engine"]) == {"", '{"micro_batch":4}'}


@pytest.fixture
def many(tmp_path: Path, monkeypatch) -> tuple[Path, list[Path]]:
    """A results folder with so many cheap shards that they are joined; and the shards that were read one by one."""
    cells = []
    for seed in range(3):
        about = {"cell": f"{seed:016x}", "benchmark": "digits", "backbone": "v", "pretrain_seed": 0, "method": "full",
                 "seed": seed, "steps": 2, "batch_size": 3, "learning_rate": 0.1, "settings": "{}",
                 "status": "done"}  # fmt: skip
        cells.append(about)
    numbers = [{"cell": about["cell"], "weights": "reported", "split": "id_val", "metric": "accuracy_score",
                "value": 0.5} for about in cells]  # fmt: skip
    shards(Records(cells_frame(cells), metrics_frame(numbers), examples_frame(), curves_frame()), tmp_path)
    monkeypatch.setattr(storage, "FEWEST", 2)
    read_alone: list[Path] = []
    reading = storage._read_shards
    monkeypatch.setattr(storage, "_read_shards", lambda paths: read_alone.extend(paths) or reading(paths))
    return tmp_path, read_alone


def test_many_shards_are_joined_and_what_changes_is_read_anew(many) -> None:
    folder, read_alone = many
    first, second, third = sorted((folder / "cells").iterdir())
    whole = read(folder)
    assert read_alone == [first, second, third]
    read_alone.clear()
    joined = read(folder)
    assert read_alone == []
    for name in schema.TABLES:
        schema.validate(name, getattr(joined, name))
        pd.testing.assert_frame_equal(getattr(joined, name), getattr(whole, name))
    # One is computed again, with another number; one is gone.
    other = whole.keep([second.name])
    write(Records(other.cells, other.metrics.assign(value=0.75), other.examples, other.curves), second)
    (second / "DONE").write_text("{}")
    shutil.rmtree(first)
    found = read(folder)
    assert read_alone == [second]
    assert found.cells["cell"].tolist() == [second.name, third.name]
    assert found.metrics["value"].tolist() == [0.75, 0.5]
    assert read(folder).fingerprint() == found.fingerprint()
    assert read_alone == [second]
    # One is no longer done, one is done for others only.
    (third / "DONE").unlink()
    (second / "settings.json").write_text(json.dumps({"is_ingredient": True}))
    os.utime(second / "DONE", ns=(0, 0))
    assert len(read(folder).cells) == 0


def test_a_link_in_place_of_the_joined_folder_is_not_followed(many) -> None:
    folder, _ = many
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "cells-mine.parquet").write_text("mine")
    (folder / ".joined").symlink_to(elsewhere)
    assert len(read(folder).cells) == 3
    assert [path.name for path in elsewhere.iterdir()] == ["cells-mine.parquet"]


@pytest.mark.parametrize("damage", ["noise", "missing", "index", "version"])
def test_a_damaged_joined_file_is_left_aside(many, damage: str) -> None:
    folder, read_alone = many
    whole = read(folder)
    (metrics,) = (folder / ".joined").glob("metrics-*")
    index = folder / ".joined" / "index.json"
    if damage == "noise":
        metrics.write_bytes(metrics.read_bytes()[:-9] + b"123456789")
    elif damage == "missing":
        metrics.unlink()
    elif damage == "index":
        index.write_text("{")
    elif damage == "version":
        index.write_text(json.dumps(json.loads(index.read_text()) | {"schema_version": 0}))
    read_alone.clear()
    assert read(folder).fingerprint() == whole.fingerprint()
    assert len(read_alone) == 3
    # And it is mended.
    assert read(folder).fingerprint() == whole.fingerprint()
    assert len(read_alone) == 3
    assert len(list((folder / ".joined").iterdir())) == 5


def test_results_that_cannot_be_written_are_read_all_the_same(many) -> None:
    folder, read_alone = many
    (folder / ".joined").touch()
    assert len(read(folder).cells) == len(read(folder).cells) == 3
    assert len(read_alone) == 6
