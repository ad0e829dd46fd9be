"""The notebook that defines, runs and analyses a study, on the results of a study that the command line ran.

Its own study takes the same command; running it here, too, would cost half a minute for nothing new.
"""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "05_your_own_study.ipynb"


@pytest.mark.filterwarnings("ignore")  # Of the Jupyter kernel's own start, which no code of ours can change.
def test_analyses_a_finished_study(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.setenv("GMIXOUT_NOTEBOOK_RESULTS", str(folder / "results" / "smoke"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    told = {cell["id"]: json.dumps(cell.outputs) for cell in notebook.cells if cell.get("outputs")}
    # The file's plan is told although none of it ran: two seeds of full and of two anchors.
    assert "5  gmixout     1  latest" in told["own-03"]
    assert "not run" in told["own-05"]
    assert "7 cells, " in told["own-07"]
    assert "Full fine-tuning" in told["own-09"]
    assert "image/png" in told["own-12"]
