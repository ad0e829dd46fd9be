"""`gmixout study show` finds a drawn point's cell in stored records, and tells the command that makes it."""

import io
import json
import pathlib

import pytest
from rich.console import Console

from analysis.records import read
from studies.commands.show import NO_PRESET, made_by, show, show_cell
from studies.settings import StudyError
from studies.store import ResultsError

FIGURES = pathlib.Path(__file__).parents[2] / "figures"


def test_numbers_of_a_cell_are_whole_in_a_narrow_window():
    folder = FIGURES / "levers-full" / "records"
    records = read(folder)
    cell = records.cells.loc[records.cells["method"].eq("gmixout"), "cell"].iloc[0]
    console = Console(record=True, width=80, file=io.StringIO())
    show(cell, folder, console, is_json=False)
    (line,) = [line for line in console.export_text().splitlines() if line.startswith(" accuracy_score")]
    ours = records.metrics.query("cell == @cell and metric == 'accuracy_score' and weights == 'reported'")
    ours = ours[~ours["split"].str.startswith("corruption")]
    assert sorted(line.split()[1:]) == sorted(f"{value:.3f}" for value in ours["value"])


@pytest.mark.parametrize("study", ["levers-full", "levers-quick", "rivals"])
def test_every_stored_cell_is_found_with_its_command(study, capsys):
    folder = FIGURES / study / "records"
    cell = read(folder).cells.iloc[7]
    console = Console(record=True, width=200, file=io.StringIO())
    show(cell["cell"][:10], folder, console, is_json=False)
    said = console.export_text()
    assert f"cell {cell['cell']}: done" in said
    assert f"made by: gmixout study run {study}" in said
    assert "id_test" in said
    show(cell["cell"], folder, console, is_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["command"] == f"gmixout study run {study}"
    assert facts["settings"] == json.loads(cell["settings"])


def test_a_cell_of_no_preset_says_so():
    settings = json.loads(read(FIGURES / "levers-quick/records").cells["settings"].iloc[0])
    assert made_by(settings | {"seed": 77}) == ""
    assert made_by({"of": "another version"}) == ""
    assert "no preset" in NO_PRESET


def test_names_that_fit_none_or_several_cells():
    folder = FIGURES / "levers-quick/records"
    with pytest.raises(StudyError, match="no cell begins with ffffffffffff"):
        show("ffffffffffff", folder, Console(), is_json=False)
    with pytest.raises(ResultsError, match="fits"):
        show_cell("", folder, Console(), is_json=False)
