"""`gmixout show` tells what a backbone is and what is masked, without weights; its counts are the method's own."""

import json

import pytest
import typer
from typer.testing import CliRunner

from gmixout import GMixout, Settings
from studies import backbones
from studies.commands.show_backbone import examine, show_backbone
from tests.studies.backbones.conftest import TINY

app = typer.Typer()
app.command("show")(show_backbone)


def show(*arguments):
    return CliRunner().invoke(app, [*arguments])


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("granularity", ["element", "row"])
def test_counts_and_table_are_the_method_s(name, granularity, published):
    settings = Settings(sparsity=0.75, granularity=granularity)
    facts, table = examine(name, settings, classes=5)
    method = GMixout(backbones.blank(name, "abcde"), settings)
    counts = method.counts()
    assert table == method.describe()
    assert facts["parameters"] == counts.total == facts["masked"] + facts["dense"] + facts["frozen"]
    assert (facts["masked"], facts["dense"]) == (counts.masked, counts.dense)
    assert facts["trained_per_episode"] == counts.trained_per_episode
    assert facts["head"][1] == 5


@pytest.mark.parametrize("name", ["clip-vit-b16", "vit-s16", "resnet50", "convnext-tiny"])
def test_real_backbones_need_no_weights(name, no_hub, empty_cache):
    shown = show(name, "--sparsity", "0.9")
    assert shown.exit_code == 0
    found = backbones.find(name)
    for part in (found.source, found.licence, "missing; get them: hf download", "224 x 224 pixels", "1000 classes"):
        assert part in shown.output


def test_published_size_of_vit_b():
    facts, _ = examine("vit-b16", Settings(sparsity=0.9))
    assert facts["parameters"] == 86_567_656
    assert facts["trained_per_episode"] == pytest.approx(9e6, rel=0.1)


def test_weights_that_are_there_are_named(published, no_hub):
    shown = show("tiny-clip", "--classes", "3", "--json")
    facts = json.loads(shown.output)
    assert facts["weights"].startswith(f"found: {no_hub}")
    assert backbones.describe("tiny-clip", 0)["sha256"] in facts["weights"]
    assert set(facts["tensors"]["frozen"]) == {
        "visual.class_embedding",
        "visual.conv1.weight",
        "visual.positional_embedding",
    }


def test_digits_and_levers(empty_cache):
    shown = show("digits-vit-tiny", "--granularity", "row", "--sparsity", "0.5")
    assert shown.exit_code == 0
    assert "not yet made" in shown.output
    assert "at sparsity 0.5, granularity row" in shown.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nobody"], "unknown backbone 'nobody'"),
        (["vit-s16", "--sparsity", "1"], "sparsity must lie in"),
        (["vit-s16", "--granularity", "cell"], "granularity must be one of"),
        (["digits-vit", "--classes", "3"], "knows the digits' classes 0 to 9 alone"),
    ],
)
def test_faults_are_said(arguments, told):
    assert told in str(show(*arguments).exception)


def test_long_names_keep_the_columns_apart():
    _, table = examine("clip-vit-b16", Settings(sparsity=0.9))
    head, *lines = table.splitlines()
    role, shape = head.index("role"), head.index("shape")
    assert max(len(line.split()[0]) for line in lines) > 48
    assert all(line[:role].split() == [line.split()[0]] for line in lines)
    assert all(line[role : shape - 1].strip() in ("masked", "dense", "frozen") for line in lines)
