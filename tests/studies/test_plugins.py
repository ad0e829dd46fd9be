"""A user's own method: the README's file in a study of its own, and what a wrong file is answered with."""

import re
from pathlib import Path

import pytest
import yaml

from analysis.records import read
from studies.settings import StudyError, load_study
from tests.studies.running import gmixout, write_study

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def plugin(tmp_path):
    """The README's plugin, in a folder with a small study that names it."""
    (text,) = [block for block in blocks("python") if "METHODS" in block]
    (tmp_path / "nudge.py").write_text(text)
    return tmp_path / "nudge.py"


def study(folder, **changes):
    methods = [{"name": "full"}, {"name": "nudge", "sweep": {"strength": [0.01, 0.1]}}]
    return write_study(folder, **({"plugins": ["nudge.py"], "methods": methods} | changes))


def test_readme_s_study_names_it(plugin):
    (text,) = [block for block in blocks("yaml") if "plugins" in block]
    (plugin.parent / "my-study.yaml").write_text(text)
    cells = load_study(str(plugin.parent / "my-study.yaml")).cells("00")
    assert sorted(cell.options.get("strength", 0.0) for cell in cells if cell.seed == 0) == [0.0, 0.01, 0.1]
    assert yaml.safe_load(text)["plugins"] == ["nudge.py"]


def test_runs_like_any_other_from_any_folder(plugin, cache, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ended = gmixout("study", "run", str(study(tmp_path)), "--workers", "1", "--no-figures", cwd=elsewhere)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    cells = read(elsewhere / "results" / "smoke" / "records").cells
    assert sorted(cells["method"]) == ["full", "nudge", "nudge"]
    assert set(cells.loc[cells["method"].eq("nudge"), "options"]) == {'{"strength":0.01}', '{"strength":0.1}'}
    assert (cells["training_flops"] > 0).all()


def test_its_content_is_part_of_its_cells_and_of_no_others(plugin, tmp_path):
    before = {cell.label: cell.identity for cell in load_study(str(study(tmp_path))).cells("00")}
    plugin.write_text(plugin.read_text() + "\n# Another thought.\n")
    after = {cell.label: cell.identity for cell in load_study(str(study(tmp_path))).cells("00")}
    assert {label for label in before if before[label] == after[label]} == {
        label for label in before if label.startswith("full")
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 +", ["cannot be run", "SyntaxError"]),
        ("x = 1", ["must hold METHODS"]),
        ("METHODS = {'full': object}", ["'full' is a method of the suite"]),
        ("METHODS = {'a b': object}", ["letters, digits and _", "'a b'"]),
        (None, ["nudge.py cannot be read"]),
    ],
)
def test_wrong_file_is_one_line(text, words, plugin, tmp_path):
    plugin.unlink() if text is None else plugin.write_text(text)
    with pytest.raises(StudyError) as error:
        load_study(str(study(tmp_path)))
    assert all(word in str(error.value) for word in words), str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"name": "nudge", "options": {"strength": 2}}, ["options", "strength", "less than or equal to 1", "got 2"]),
        ({"name": "nudge", "options": {"strenght": 1}}, ["unknown setting strenght", "allowed: strength"]),
        ({"name": "nudge", "sweep": {"strength": [0.1, -1]}}, ["methods.0.sweep", "strength", "-1"]),
    ],
)
def test_its_settings_are_checked(method, words, plugin, tmp_path):
    with pytest.raises(StudyError) as error:
        load_study(str(study(tmp_path, methods=[method])))
    assert all(word in str(error.value) for word in words), str(error.value)
