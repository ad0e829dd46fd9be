"""`gmixout figures --check`: what was drawn from these records passes, and whatever differs is named with its rows."""

import gc
import shutil
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from analysis.figures.check import MOST_ROWS, check_all, differences
from analysis.figures.render import draw_all
from analysis.records import Records, remembered, write
from studies.commands import figures as command

NAMES = ["corruption_severity", "heatmaps"]


@pytest.fixture(scope="module")
def drawn(small, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    assert all(one.files for one in draw_all(small, folder, NAMES))
    return folder


@pytest.fixture
def folder(drawn, tmp_path) -> Path:
    return shutil.copytree(drawn, tmp_path / "figures")


def problems(records, folder, names=NAMES) -> dict[str, tuple[str, ...]]:
    return {one.name: one.problems for one in check_all(records, folder, names)}


def edited(path: Path, change) -> None:
    frame = pd.read_csv(path, comment="#")
    head = path.read_text().splitlines()[0]
    path.write_text(f"{head}\n{change(frame).to_csv(index=False)}")


def test_what_was_drawn_from_the_records_passes(small, folder) -> None:
    assert problems(small, folder) == {"corruption_severity": (), "heatmaps": ()}


def test_a_changed_number_is_named_with_figure_and_row(small, folder) -> None:
    def change(frame):
        frame.loc[4, "score"] += 0.001
        return frame

    edited(folder / "corruption_severity.csv", change)
    found = problems(small, folder)
    assert found["heatmaps"] == ()
    (line,) = found["corruption_severity"]
    frame = pd.read_csv(folder / "corruption_severity.csv", comment="#")
    assert line.startswith(f"row 5 ({frame['method'][4]}): score is {frame['score'][4]}"[:40])
    assert "the records give" in line


def test_rows_too_many_and_too_few_do_not_make_the_others_differ(small, folder) -> None:
    edited(folder / "corruption_severity.csv", lambda frame: frame[frame["method"].ne("full")])
    lines = problems(small, folder)["corruption_severity"]
    assert len(lines) == MOST_ROWS + 1
    assert all("(full) is not stored" in line for line in lines[:MOST_ROWS])
    assert lines[-1].startswith("and 1 more rows")


def test_a_lost_cell_changes_the_records_and_is_seen_in_every_file(small, folder) -> None:
    fewer = small.keep(small.cells["cell"].iloc[1:])
    found = problems(fewer, folder)
    assert all(any("it names records sha256:" in line for line in lines) for lines in found.values())
    assert sum(line.endswith("was drawn from other records") for line in found["heatmaps"]) == 2
    assert any("is not the caption" in line for line in found["heatmaps"])


def test_missing_files_and_figures_that_cannot_be_drawn(small, folder) -> None:
    (folder / "heatmaps.svg").unlink()
    assert problems(small, folder)["heatmaps"] == (f"{folder / 'heatmaps.svg'} is missing",)
    metrics = small.metrics[~small.metrics["split"].str.startswith("corruption")]
    bare = Records(small.cells, metrics, small.examples, small.curves)
    assert "can no longer be drawn" in problems(bare, folder)["corruption_severity"][0]


def test_a_folder_without_figures_is_an_error(small, tmp_path) -> None:
    with pytest.raises(ValueError, match="draw them first"):
        check_all(small, tmp_path, NAMES)


@pytest.mark.parametrize(
    ("old", "new", "is_same"),
    [("0.1", "0.10000000000000003", True), ("0.1", "0.100001", False), ("", "0.1", False), ("yes", "no", False),
     ("inf", "inf", True), ("0.0", "1e-17", True)],
)  # fmt: skip
def test_only_rounding_is_forgiven(old, new, is_same) -> None:
    assert (differences(f"# r\na,b\nx,{old}\n", f"# r\na,b\nx,{new}\n") == []) is is_same


def test_other_columns_are_told() -> None:
    assert differences("# r\na\n1\n", "# r\nb\n1\n") == ["its columns are a; the records give b"]


def test_the_command_fails_where_something_differs(small, folder, tmp_path, monkeypatch) -> None:
    write(small, tmp_path / "records")
    monkeypatch.setattr(command, "check_all", lambda records, out: check_all(records, out, NAMES))
    console = Console(record=True, width=200)
    assert command.check(tmp_path / "records", folder, console) == 0
    edited(folder / "heatmaps.csv", lambda frame: frame.assign(id_score=0.5))
    assert command.check(tmp_path / "records", folder, console) == 1
    said = console.export_text()
    assert "2 figures in" in said
    assert "1 of 2 figures differ (heatmaps); redraw: gmixout figures" in said


def test_remembered_results_go_with_their_records(small) -> None:
    calls = []

    @remembered
    def cells(records, first=0):
        calls.append(first)
        return records.cells.iloc[first:]

    def use() -> None:
        mine = small.keep(small.cells["cell"])
        changed = cells(mine)
        changed["cell"] = "changed by the caller"
        assert len(cells(mine)) == len(mine.cells)
        assert (cells(mine)["cell"] != "changed by the caller").all()
        assert len(cells(mine, first=1)) == len(mine.cells) - 1

    use()
    assert calls == [0, 1]
    gc.collect()
    use()
    assert calls == [0, 1, 0, 1]
