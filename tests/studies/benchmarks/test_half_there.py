"""Data that is there in part only is refused before any work, by a study's run as by its dry run."""

import json
import shutil

import pytest
import yaml
from typer.testing import CliRunner

from studies import benchmarks
from studies.benchmarks import Folder
from studies.commands import data, study
from studies.readiness import WHOLE, half_there, look_at_data
from tests.studies.benchmarks.test_end_to_end import BACKBONE, write_weights
from tests.studies.benchmarks.test_folder import write_tree
from tests.studies.benchmarks.trees import write_cifar


def thinned(minis, tmp_path, tree, keep):
    """A copy of ImageNet's miniature in which one class folder has lost most of its files."""
    shutil.copytree(minis.data / "imagenet", tmp_path / "imagenet")
    for files in sorted((tmp_path / "imagenet" / tree).iterdir()):
        for file in sorted(files.iterdir())[keep:]:
            file.unlink()
    return minis.benchmark("imagenet", tmp_path)


def test_whole_data_is_no_problem(minis):
    for name in minis.facts:
        assert half_there(minis.benchmark(name)) == [], name
    assert half_there(benchmarks.load("digits")) == []


def test_half_extracted_training_is_counted(minis, tmp_path):
    benchmark = thinned(minis, tmp_path, "train", 4)
    (problem,) = half_there(benchmark)
    assert problem.startswith("train of imagenet has 36 of 60 images, it looks half extracted")
    assert "`gmixout data check imagenet`" in problem


def test_a_few_missing_files_are_for_the_check_alone(minis, tmp_path):
    shutil.copytree(minis.data / "imagenet", tmp_path / "imagenet")
    first = sorted((tmp_path / "imagenet" / "train").rglob("*.JPEG"))[0]
    first.unlink()
    benchmark = minis.benchmark("imagenet", tmp_path)
    assert len(benchmark.load("train")) >= WHOLE * 60
    assert half_there(benchmark) == []
    assert any("train has 59 of 60 files" in problem for problem in benchmark.check())


def test_cifar_of_another_size_is_refused(minis, tmp_path):
    write_cifar(tmp_path, train_each=20)
    problems = half_there(minis.benchmark("cifar100", tmp_path))
    assert problems[0].startswith("train of cifar100 has 150 of 250 images")


def test_empty_class_of_own_pictures_is_refused(tmp_path):
    forest = write_tree(tmp_path / "forest")
    (forest / "yew").mkdir()
    (problem,) = half_there(Folder("leaves", forest, {}))
    assert problem.startswith("1 of 4 classes of leaves have no training image, the first is 'yew'")


def test_iwildcam_need_not_have_every_species_everywhere(minis, tmp_path):
    shutil.copytree(minis.data / "iwildcam_v2.0", tmp_path / "iwildcam_v2.0")
    table = tmp_path / "iwildcam_v2.0" / "metadata.csv"
    header, *rows = table.read_text().splitlines()
    # Every image that is not for testing shows the first species.
    fields = [row.split(",") for row in rows]
    rare = [[*one[:5], "0" if one[0] in ("train", "id_val") else one[5], *one[6:]] for one in fields]
    table.write_text("\n".join([header, *map(",".join, rare)]) + "\n")
    benchmark = minis.benchmark("iwildcam", tmp_path)
    assert benchmark.train_counts.tolist() == [16, 0, 0, 0]
    assert benchmark.check() == []
    assert half_there(benchmark) == []


class TestCommands:
    """The command line, on a study of own pictures with a class that has none."""

    @pytest.fixture
    def path(self, tmp_path, monkeypatch):
        forest = write_tree(tmp_path / "forest")
        (forest / "yew").mkdir()
        write_weights(tmp_path / "weights")
        monkeypatch.setenv("GMIXOUT_WEIGHTS", str(tmp_path / "weights"))
        monkeypatch.setenv("GMIXOUT_CACHE", str(tmp_path / "cache"))
        content = {
            "name": "half",
            "folders": {"half": {"id_root": "forest"}},
            "benchmark": "half",
            "backbones": [BACKBONE],
            "seeds": [0],
            "methods": [{"name": "zero_shot"}],
        }
        path = tmp_path / "half.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    def test_run_refuses_before_any_work(self, path, tmp_path):
        ended = CliRunner().invoke(study.app, ["run", str(path), "--results", str(tmp_path / "results")])
        assert isinstance(ended.exception, benchmarks.DataError)
        assert "'yew'" in str(ended.exception)
        assert not list((tmp_path / "results").glob("cells/*/*"))

    def test_dry_run_tells_it_with_all_else(self, path, tmp_path):
        arguments = ["run", str(path), "--dry-run", "--results", str(tmp_path / "results"), "--workers", "1"]
        ended = CliRunner().invoke(study.app, arguments)
        assert ended.exit_code == 1, ended.output
        assert "train has no image of class 3 (yew)" in ended.output

    def test_check_takes_a_study(self, path):
        ended = CliRunner().invoke(data.app, ["check", str(path), "--json"])
        assert ended.exit_code == 1
        (report,) = json.loads(ended.output)
        assert report["benchmark"] == "half"
        assert report["images_per_class"]["train"] == [7, 7, 7, 0]
        (path.parent / "forest" / "yew").rmdir()
        benchmarks._users.cache_clear()
        assert CliRunner().invoke(data.app, ["check", str(path), "--images"]).exit_code == 0

    def test_absent_gpu_is_one_line_before_any_work(self, path, tmp_path, monkeypatch):
        (path.parent / "forest" / "yew").rmdir()
        content = yaml.safe_load(path.read_text()) | {"execution": {"device": "cuda"}}
        path.write_text(yaml.safe_dump(content))
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        benchmarks._users.cache_clear()
        ended = CliRunner().invoke(study.app, ["run", str(path), "--results", str(tmp_path / "results")])
        assert "torch sees no GPU on this machine" in str(ended.exception)


def test_sizes_of_what_is_half_there_are_the_publishers(tmp_path, monkeypatch):
    monkeypatch.setenv("GMIXOUT_DATA", str(tmp_path))
    (tmp_path / "imagenet").mkdir()
    sizes, problems = look_at_data("imagenet")
    assert not sizes.is_here
    assert "ImageNet's classes need names" in problems[0]
