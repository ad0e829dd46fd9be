"""Foreign tables: a round trip of our own numbers, what maps and tables may get wrong, published results drawn."""

import csv
import json
import math

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis.comparisons import compare
from analysis.figures import FIGURES
from analysis.outcomes import outcomes
from analysis.records import Records, read_foreign, read_given, read_map, write
from analysis.selection import select
from analysis.shifts import shift_scores
from analysis.tables import summary

WIDE = {
    "source": "Smith et al. 2024, table 3", "unit": "percent", "constants": {"benchmark": "digits", "backbone": "vit"},
    "columns": {"method": "Method", "seed": "Run"}, "names": {"method": {"FT": "full", "Ours": "gmixout"}},
    "scores": {"id_test": "ID", "ood/real": "Real", "ood/sketchy": "Sketchy"},
}  # fmt: skip
TABLE = """Method,Run,ID,Real,Sketchy,note
FT,0,60.5,70.0,50.5,a
FT,1,61.5,72.0,51.5,b
Ours,0,62.0,75.0,55.5,c
Ours,1,62.5,76.0,,d
"""


@pytest.fixture
def given(tmp_path):
    """Writes a table and a map, and reads them."""

    def read(table=TABLE, name="table.csv", as_json=False, **changes):
        content = {key: value for key, value in {**WIDE, **changes}.items() if value is not None}
        (tmp_path / name).write_text(table)
        written = tmp_path / ("map.json" if as_json else "map.yaml")
        written.write_text(json.dumps(content) if as_json else yaml.safe_dump(content))
        return read_foreign(tmp_path / name, read_map(written))

    return read


def test_a_row_a_run(given) -> None:
    found = given()
    assert len(found.cells) == 4
    assert found.cells["method"].tolist() == ["full", "full", "gmixout", "gmixout"]
    assert json.loads(found.cells["settings"].iloc[0])["source"] == WIDE["source"]
    # An empty number is one that is not there.
    assert len(found.metrics) == 11
    assert found.metrics["value"].max() == 0.76
    scores = shift_scores(found.metrics, weights=("reported",)).set_index("cell")
    assert scores.loc[found.cells["cell"].iloc[0], "ood_score"] == pytest.approx((0.7 + 0.505) / 2)
    assert np.isnan(scores.loc[found.cells["cell"].iloc[3], "ood_score"])
    assert found.fingerprint() == given(as_json=True).fingerprint()
    assert given(source="another").cells["cell"].tolist() != found.cells["cell"].tolist()


def test_a_row_a_number_gives_the_same_records(given) -> None:
    rows = []
    for line in csv.DictReader(TABLE.splitlines()):
        rows += [{"m": line["Method"], "r": int(line["Run"]), "set": name, "acc": line[name] and float(line[name])}
                 for name in ("ID", "Real", "Sketchy")]  # fmt: skip
    long = {
        "columns": {"method": "m", "seed": "r", "split": "set", "value": "acc"}, "scores": None,
        "names": {**WIDE["names"], "split": {"ID": "id_test", "Real": "ood/real", "Sketchy": "ood/sketchy"}},
    }  # fmt: skip
    found = given("".join(json.dumps(row) + "\n" for row in rows), "table.jsonl", **long)
    assert found.fingerprint() == given().fingerprint()


def test_our_own_records_come_back(small, tmp_path) -> None:
    """Reported and WiSE-FT numbers of every cell, written as a stranger would, give the same scores and tests."""
    ours, kinds = small, ["reported", "wise"]
    kept = ours.metrics[ours.metrics["weights"].isin(kinds) & ours.metrics["metric"].eq("accuracy_score")]
    facts = ours.cells[["cell", "method", "seed", "anchor", "resample_every", "sparsity"]]
    table = kept.merge(facts, on="cell").drop(columns=["cell", "weights", "member", "examples"])
    table["value"] *= 100
    table.to_csv(tmp_path / "t.csv", index=False)
    names = ["method", "seed", "anchor", "resample_every", "sparsity", "alpha", "split", "metric", "value"]
    content = {"source": "ours", "unit": "percent", "columns": {name: name for name in names},
               "constants": {"benchmark": "digits", "backbone": "digits-vit"}}  # fmt: skip
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(content))
    found = read_foreign(tmp_path / "t.csv", read_map(tmp_path / "m.yaml"))
    assert len(found.cells) == len(ours.cells)
    plain = Records(ours.cells, ours.metrics, ours.examples.iloc[:0], ours.curves)
    theirs, mine = (compare(part, weights=("reported", "wise")) for part in (found, plain))
    numbers = ["difference", "difference_low", "difference_high", "p_value", "holm_p_value", "alpha"]
    assert theirs[["method", "weights", "score"]].equals(mine[["method", "weights", "score"]])
    assert theirs[numbers].to_numpy() == pytest.approx(mine[numbers].to_numpy(), nan_ok=True, rel=1e-6)
    for name in ("id_ood_plane", "heatmaps"):
        drawn, expected = FIGURES[name].table(found), FIGURES[name].table(plain)
        assert drawn["ood_score"].to_numpy() == pytest.approx(expected["ood_score"].to_numpy(), nan_ok=True)


def test_infinite_periods_and_truths_are_read(given) -> None:
    table = TABLE.replace("note", "k").replace(",a\n", ",inf\n").replace(",b\n", ",inf\n")
    found = given(table.replace(",c\n", ",10\n").replace(",d\n", ",\n"),
                  columns={**WIDE["columns"], "resample_every": "k"},
                  constants={**WIDE["constants"], "rescale": True})  # fmt: skip
    assert found.cells["resample_every"].fillna(-1).tolist() == [math.inf, math.inf, 10.0, -1]
    assert found.cells["rescale"].all()


def test_published_results_need_no_id_validation(given) -> None:
    found = given()
    chosen = select(found).set_index("method")
    assert chosen["seeds"].tolist() == [2, 2]
    assert chosen["id_val_score"].isna().all()
    rows = summary(found, draws=20).set_index("method")
    assert rows.loc["full", "id_score"] == pytest.approx(0.61)
    assert rows.loc["gmixout", "id_difference"] == pytest.approx(0.0125)
    results = outcomes(found, select(found))
    assert results["ood_score"].notna().tolist() == [True, True, True, False]
    # Where there is a choice, ID validation makes it or nothing does.
    many = TABLE.replace("note", "lr").replace(",a\n", ",0.1\n").replace(",b\n", ",0.2\n").replace(",c\n", ",0.1\n")
    two = given(many.replace(",d\n", ",0.1\n"), columns={**WIDE["columns"], "learning_rate": "lr"})
    assert select(two).set_index("method")["seeds"].to_dict() == {"full": 0, "gmixout": 2}


def test_a_run_without_a_number_is_missing(given) -> None:
    found = given(TABLE + "Ours,2,,,,e\n")
    assert select(found).set_index("method").loc["gmixout", ["seeds", "missing"]].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": "permille"}, ["unit must be percent or fraction", "permille"]),
        ({"unit": None}, ["missing: unit"]),
        ({"units": "percent"}, ["unknown: units"]),
        ({"source": ""}, ["source must say"]),
        ({"columns": {"method": "Method", "sed": "Run"}}, ["columns may name", "got sed"]),
        ({"columns": {"method": "Method", "settings": "note"}}, ["got settings"]),
        ({"columns": {"seed": "Run"}}, ["method must be among columns or constants"]),
        ({"constants": {"benchmark": "b", "seed": 3}}, ["both give seed"]),
        ({"scores": None}, ["got neither"]),
        ({"columns": {"method": "Method", "value": "ID"}}, ["got both"]),
        ({"scores": {"ID": "ID"}}, ["ood/<domain>", "got 'ID'"]),
        ({"scores": {"id_test": "ID", "ood/x": "X", "ood/y": "Y"}}, ["lacks the columns 'X', 'Y'", "'Sketchy'"]),
        ({"scores": ["ID"]}, ["scores must map names to names"]),
        ({"unit": "fraction"}, ["line 2", "as fraction a score lies in [0, 1], got 60.5", "say unit: percent"]),
        ({"columns": {"method": "Method"}}, ["lines 2 and 3 give the same number twice", "full, seed 0, id_test"]),
        ({"columns": {"method": "Method", "seed": "note"}}, ["line 2", "'seed' must be a number", "'a'"]),
        ({"metric": "accuracy"}, ["metric must end in _score"]),
    ],
)  # fmt: skip
def test_a_wrong_map_is_told_in_one_line(given, changes, words) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 -- the words are checked below
        given(**changes)
    message = str(error.value)
    assert all(word in message for word in words), message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("table", "name", "words"),
    [
        ("", "table.csv", ["holds no row"]),
        (TABLE.replace("60.5", "n/a"), "table.csv", ["line 2", "'ID' must be a number, or empty", "'n/a'"]),
        (TABLE.replace("60.5", "605"), "table.csv", ["line 2", "lies in [0, 100], got 605"]),
        (TABLE.replace("FT,0,60.5", "FT,0,-1"), "table.csv", ["got -1"]),
        (TABLE.replace("FT,1,", ",1,"), "table.csv", ["line 3", "every row needs a method", "'Method' is empty"]),
        (TABLE.replace("Ours,1,", "Ours,0,"), "table.csv", ["lines 4 and 5", "same number twice"]),
        (TABLE.replace(",a\n", "\n"), "table.csv", ["line 2", "as many fields"]),
        (TABLE.replace("FT,1,", "FT,1.5,"), "table.csv", ["seed must be a whole number", "'1.5'"]),
        ("Method,Run,ID,Real,Sketchy\nFT,0,.605,.7,.5\n", "table.csv", ["no score exceeds 1; say unit: fraction"]),
        ('{"Method": 1\n', "table.jsonl", ["line 1 is not JSON"]),
        ("[1]\n", "table.jsonl", ["line 1 must be a JSON object"]),
        (TABLE, "table.xlsx", [".csv, .tsv or .jsonl", "table.xlsx"]),
    ],
)  # fmt: skip
def test_a_wrong_table_is_told_in_one_line(given, table, name, words) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 -- the words are checked below
        given(table, name)
    message = str(error.value)
    assert all(word in message for word in words), message
    assert len(message.splitlines()) == 1


def test_other_ways_to_write_a_table(given, tmp_path) -> None:
    plain = given().fingerprint()
    assert given("﻿" + TABLE).fingerprint() == plain
    assert given(TABLE.replace(",", "\t"), "table.tsv").fingerprint() == plain
    assert given("# from the appendix\n" + TABLE).fingerprint() == plain
    fractions = pd.read_csv(tmp_path / "table.csv", comment="#").set_index(["Method", "Run", "note"]) / 100
    assert given(fractions.reset_index().to_csv(index=False), unit="fraction").fingerprint() == plain
    with pytest.raises(ValueError, match="cannot be read"):
        read_map(tmp_path / "nowhere.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ValueError, match="neither YAML nor JSON"):
        read_map(tmp_path / "bad.yaml")


def test_a_folder_or_a_table_with_its_map(given, small, tmp_path) -> None:
    given()
    table, columns = tmp_path / "table.csv", tmp_path / "map.yaml"
    write(small, tmp_path / "records")
    assert read_given(tmp_path / "records").fingerprint() == small.fingerprint()
    assert read_given(table, columns).fingerprint() == given().fingerprint()
    for wrong, words in (((table,), "is a table, not a folder of records: say with --map"),
                         ((tmp_path / "records", columns), "--map is for tables"),
                         ((tmp_path / "nowhere.csv", columns), "cannot be read")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            read_given(*wrong)
