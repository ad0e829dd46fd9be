"""Published results on the command line: figures, tables and a report from a CSV and its column map."""

import pytest
from typer.testing import CliRunner

from studies.__main__ import app

TABLE = """Method,Run,ID,Real,Clipart,ops
zero-shot,0,40.0,85.0,80.0,0
FT,0,60.5,70.0,50.5,1
FT,1,61.5,72.0,51.5,1
FT,2,60.0,71.0,51.0,1
Ours,0,62.0,75.0,55.5,1
Ours,1,62.5,76.0,56.0,1
Ours,2,,,,1
Soup,0,64.0,75.5,57.5,3
Soup,1,64.5,76.5,57.0,3
Soup,2,63.5,76.0,58.0,3
"""
MAP = """source: nobody, a table for tests
unit: percent
constants: {benchmark: digits, backbone: vit}
columns: {method: Method, seed: Run, training_flops: ops}
scores: {id_test: ID, ood/real: Real, ood/clipart: Clipart}
names: {method: {FT: full, Ours: gmixout, Soup: uniform_soup, zero-shot: zero_shot}}
"""


@pytest.fixture
def published(tmp_path):
    (tmp_path / "published.csv").write_text(TABLE)
    (tmp_path / "columns.yaml").write_text(MAP)
    return [str(tmp_path / "published.csv"), "--map", str(tmp_path / "columns.yaml"), "--out"]


def run(*arguments: str):
    ended = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_tables_of_published_results(published, tmp_path) -> None:
    run("tables", *published, str(tmp_path / "out"))
    text = (tmp_path / "out" / "methods.md").read_text()
    assert "| GMixout | 2 (1 missing) |" in text
    assert "60.7 [58.8, 62.6]" in text
    compared = (tmp_path / "out" / "comparisons.md").read_text()
    assert "+3.3 [" in compared
    assert not (tmp_path / "out" / "granularities.md").exists()


def test_figures_of_published_results_and_their_check(published, tmp_path) -> None:
    out = str(tmp_path / "out")
    said = run("figures", *published, out)
    assert (tmp_path / "out" / "rivals_plane.png").stat().st_size > 10_000
    assert "heatmaps: skipped" in said
    table = tmp_path / "published.csv"
    table.write_text(table.read_text().replace("60.5", "61.5"))
    changed = CliRunner().invoke(app, ["figures", *published, out, "--check"])
    assert changed.exit_code == 1
    assert "id_score" in changed.output


def test_a_table_without_its_map_is_told(published) -> None:
    with pytest.raises(ValueError, match="say with --map"):
        run("tables", published[0])
