"""Notebooks are stored without outputs and run from top to bottom."""

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# It runs a study, or reads one that was run: see tests/studies/test_own_study_notebook.py.
OF_STORED_RECORDS = [path for path in NOTEBOOKS if path.stem != "05_your_own_study"]


def test_notebooks_are_found():
    assert [path.stem for path in NOTEBOOKS] == [
        "01_method", "02_explore", "03_diversity", "04_rivals", "05_your_own_study"
    ]  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert not nbformat.read(path, as_version=4).metadata.get("widgets")


@pytest.mark.parametrize("path", OF_STORED_RECORDS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # Of the Jupyter kernel's own start, which no code of ours can change.
def test_runs_from_top_to_bottom(path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
