"""`gmixout data`: everything is listed without any data and without torch; checks say what is wrong and exit so."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from studies import benchmarks
from studies.benchmarks import BENCHMARKS, FACTS
from studies.benchmarks.census import Count, census
from studies.commands.data import app
from tests.studies.benchmarks.trees import OPTIONS


@pytest.fixture
def run(minis, monkeypatch):
    """Runs the command on miniatures, with what is known of them."""

    def small(name):
        def make(data=None, **options):
            return BENCHMARKS[name](data=data, facts=minis.facts[name], **OPTIONS.get(name, {}) | options)

        return make

    tables = {name: small(name) if name in minis.facts else BENCHMARKS[name] for name in BENCHMARKS}
    monkeypatch.setattr(benchmarks, "BENCHMARKS", tables)
    monkeypatch.setattr(benchmarks, "FACTS", {**FACTS, **minis.facts})
    benchmarks._load.cache_clear()
    yield lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])
    benchmarks._load.cache_clear()


def test_list_needs_no_data_and_no_torch():
    script = """
import sys
from typer.testing import CliRunner
from studies.commands.data import app
shown = CliRunner().invoke(app, ["list", "--json"])
print(shown.stdout)
sys.exit(shown.exit_code or "torch" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    facts = {fact["benchmark"]: fact for fact in json.loads(ended.stdout)}
    assert list(facts) == list(BENCHMARKS)
    assert facts["digits"]["state"] == "embedded"
    for name, fact in facts.items():
        assert fact["selection"] == "id_val"
        if fact["state"] != "embedded":
            assert fact["state"] == "no"
            assert fact["home"].startswith("http")
            assert fact["licence"]
            assert fact["gigabytes"] > 0
            assert fact["layout"], name
            assert any("://" in address for address in fact["get"]), name
    assert facts["iwildcam"]["from_memory"] == []
    assert "the numbers of images" in facts["imagenet"]["from_memory"]


def test_list_says_what_is_here(run, minis, tmp_path):
    shown = run("list", "--data", minis.data).stdout
    assert shown.count("here: yes, unchecked") == len(minis.facts)
    shown = run("list", "iwildcam", "--data", tmp_path).stdout
    assert f"here: no ({tmp_path / 'iwildcam_v2.0'})" in shown
    assert "ood_val enters no result: WILDS' val" in shown
    assert "score: macro_f1; choices see id_val only" in shown
    assert "get https://worksheets.codalab.org/rest/bundles/0x6313da2b204647e79a14b468131fcd64" in shown
    assert "stated from memory, not read from a source: the sizes" in run("list", "imagenet").stdout
    assert "GMIXOUT_DATA" in run("list").stdout
    assert isinstance(run("list", "mnist").exception, ValueError)


@pytest.mark.parametrize("name", ["iwildcam", "domainnet-sentry", "imagenet", "imagenet-lt", "cifar100c"])
def test_check_of_what_is_whole(name, run, minis):
    ended = run("check", name, "--data", minis.data, "--images", "--workers", 1)
    assert ended.exit_code == 0, ended.output
    manifest = minis.benchmark(name).manifest
    assert f"{name}: all well, manifest {manifest[:16]}" in ended.stdout


def test_check_as_json_has_every_count(run, minis):
    ended = run("check", "imagenet", "--data", minis.data, "--json")
    (report,) = json.loads(ended.stdout)
    assert report["problems"] == []
    assert report["images_per_class"]["ood/r"] == [2, 2, 2]
    assert report["images_per_class"]["id_val"] == [1] * 12
    assert report["manifest"] == minis.benchmark("imagenet").manifest


def test_check_names_the_damage_and_fails(run, minis, tmp_path):
    shutil.copytree(minis.data / "domainnet", tmp_path / "domainnet")
    table = tmp_path / "domainnet" / "real_test.txt"
    names = [line.split()[0] for line in table.read_text().splitlines()]
    (tmp_path / "domainnet" / names[0]).unlink()
    (tmp_path / "domainnet" / names[1]).write_bytes(b"no image")
    plain = run("check", "domainnet", "--data", tmp_path)
    assert plain.exit_code == 1
    assert f"{table} line 1 names a missing file" in plain.stdout
    assert "no image" not in plain.stdout
    thorough = run("check", "domainnet", "--data", tmp_path, "--images", "--workers", 1)
    assert f"ood/real: cannot read the image {tmp_path / 'domainnet' / names[1]}" in thorough.stdout
    assert "all well" not in thorough.stdout


def test_check_without_classes_is_one_sentence(run, minis, tmp_path):
    shutil.copytree(minis.data / "imagenet", tmp_path / "imagenet")
    (tmp_path / "imagenet" / "LOC_synset_mapping.txt").unlink()
    ended = run("check", "imagenet", "--data", tmp_path)
    assert ended.exit_code == 1
    assert ended.stdout.startswith("imagenet: ImageNet's classes need names")


def test_check_of_absent_data_is_the_error_that_says_where_to_get_it(run, tmp_path):
    ended = run("check", "iwildcam", "--data", tmp_path)
    assert isinstance(ended.exception, benchmarks.DataError)
    assert "wilds.stanford.edu" in str(ended.exception)
    assert "0x6313da2b204647e79a14b468131fcd64" in str(ended.exception)


def test_check_of_all_looks_at_what_is_here(run, minis, tmp_path):
    shutil.copytree(minis.data / "iwildcam_v2.0", tmp_path / "iwildcam_v2.0")
    shown = run("check", "--data", tmp_path).stdout
    well = [line.split(":")[0] for line in shown.splitlines() if "all well" in line]
    assert well == ["digits", "digits-longtail", "iwildcam"]


def test_only_the_embedded_ones_can_be_drawn(run, minis):
    assert "can be drawn" in str(run("draw", "iwildcam", "--out", minis.data / "x.png").exception)


def test_census_counts_roles_and_classes(minis):
    counted = {count.split: count for count in census(minis.benchmark("iwildcam"), ["ood_val"])}
    assert [count.role for count in counted.values()] == ["ID", "ID", "ID", "OOD", "unused"]
    assert counted["train"].counts.tolist() == [4, 4, 4, 4]
    assert counted["ood/test"].images == 8


def test_histogram_goes_by_powers_of_ten():
    counts = np.array([0, 1, 9, 10, 99, 100, 1000])
    expected = {"0": 1, "1-9": 2, "10-99": 2, "100-999": 1, "1000-9999": 1}
    assert Count("train", "ID", counts).histogram() == expected
