"""The command line: help that teaches, one clear line for bad input, and torch only to train."""

import json

import pytest

from studies.commands.methods import PURPOSES
from studies.settings import TRAITS
from tests.studies.running import gmixout, here, write_study


def test_help_teaches():
    for arguments in (
        [],
        ["study"],
        ["study", "run"],
        ["study", "plan"],
        ["figures"],
        ["tables"],
        ["data", "check"],
        ["doctor"],
    ):
        ended = here(*arguments, "--help")
        assert ended.exit_code == 0
        assert "gmixout" in ended.output.split("Options:")[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"benchmark": "digitz"}, "benchmark: unknown benchmark"),
        ({"methods": [{"name": "gmixout", "levers": {"sparsity": 1.0}}]}, "methods.0.levers.sparsity"),
    ],
)
def test_bad_study_is_one_line_and_nothing_is_made(change, words, tmp_path):
    path = write_study(tmp_path, **change)
    ended = gmixout("study", "run", str(path), cwd=tmp_path)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["study", "run", "nonsense"], "give one of anatomy, cifar100c, domainnet, ensemble, granularity, imagenet"),
        (["study", "show", "smoke"], "run it first"),
        (["study", "show", "abcdef"], "no cell begins with abcdef"),
        (["figures", "nowhere"], "nowhere"),
        (["study", "run", "smoke", "--retry", "nonsense"], "unknown kind"),
        (["data", "check", "nonsense"], "unknown benchmark"),
    ],
)
def test_bad_arguments_are_told_clearly(arguments, words, tmp_path):
    ended = gmixout(*arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_debug_shows_the_traceback(tmp_path):
    ended = gmixout("study", "plan", "nonsense", "--debug", cwd=tmp_path)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["study", "plan", "smoke"],
        ["study", "status", "smoke"],
        ["study", "show", "smoke"],
        ["study", "show", "smoke", "--json"],
        ["study", "methods"],
        ["data", "list"],
        ["figures", "results/smoke/records", "--out", "figures"],
        ["tables", "results/smoke/records", "--out", "tables"],
    ],
)
def test_works_where_torch_is_not_installed(arguments, finished):
    folder, _ = finished
    ended = gmixout(*arguments, cwd=folder, has_torch=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_every_method_is_listed_with_its_settings(tmp_path):
    listed = json.loads(gmixout("study", "methods", "--json", cwd=tmp_path).stdout)
    assert listed.keys() == TRAITS.keys() == PURPOSES.keys()
    assert listed["lora"]["options"]["rank"]["default"] == 4
    assert "anchor" not in listed["mixout"]["levers"]
    said = gmixout("study", "methods", cwd=tmp_path).stdout
    assert all(f"{name}: {purpose}" in said for name, purpose in PURPOSES.items())


def test_training_without_torch_says_what_is_missing(tmp_path):
    ended = gmixout("study", "run", "smoke", cwd=tmp_path, has_torch=False)
    assert ended.returncode == 2
    assert "needs torch" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_doctor_examines_every_part(cells, tmp_path):
    ended = gmixout("doctor", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout
    assert [line.split(":")[0] for line in ended.stdout.splitlines()] == [
        f"ok    {part}"
        for part in ("versions", "cores", "results folder", "cache folder", "pretrained models", "method", "kernels")
    ]
