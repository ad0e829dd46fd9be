"""A study that its backbones cannot give is refused before any work, in one line."""

from types import SimpleNamespace

import pytest

from studies.backbones import BACKBONES
from studies.engine import Engine
from studies.fit import require_fit
from studies.settings import StudySettings
from studies.smaller import after_out_of_memory
from tests.studies.backbones.conftest import TINY

CLASSES = ("cat", "dog", "ice cream")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, tiny in (("resnet50", "tiny-resnet"), ("clip-vit-b16", "tiny-clip"), ("vit-b16", "tiny-vit")):
        monkeypatch.setitem(BACKBONES, name, TINY[tiny])


def study(backbone, method, **changes):
    block = {"name": method} if isinstance(method, str) else method
    content = {"name": "test", "benchmark": "digits", "seeds": [0], "backbones": [backbone], "methods": [block]}
    return StudySettings.model_validate(content | changes)


CUT = {"execution": {"micro_batch": 4}}
SHARED = {"execution": {"processes": 2}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (study("resnet50", "full", **CUT), r"full trains the batch norms of resnet50.*batch_norm: frozen.*\(4\)"),
        (study("resnet50", "gmixout", **SHARED), r"gmixout trains the batch norms.*execution\.processes \(2\)"),
        (study("resnet50", "lora"), "lora finds no layer of Classifier .* all-weights"),
        (study("clip-vit-b16", "dora"), "dora cannot adapt .* LoRA alone"),
        (
            study("clip-vit-b16", {"name": "shira", "sweep": {"targets": [r".*mlp\.c_fc", "all-linear"]}}),
            "shira cannot",
        ),
    ],
)
def test_refused(given, message):
    with pytest.raises(ValueError, match=message) as error:
        require_fit(given, CLASSES)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "given",
    [
        study("resnet50", "full", training={"batch_norm": "frozen", "layer_decay": 0.9}, **CUT),
        study("resnet50", "linear_probe", **SHARED),
        study("resnet50", {"name": "lora", "options": {"targets": "all-weights"}}, **CUT),
        study("resnet50", "full", training={"batch_size": 4}, **CUT),
        study("vit-b16", "full", execution={"micro_batch": 4, "processes": 2, "activation_checkpointing": True}),
        study("clip-vit-b16", "lora", training={"layer_decay": 0.5}, **SHARED),
        # Left out where there is no text tower, and so no obstacle.
        study("vit-b16", "flyp"),
    ],
)
def test_accepted(given):
    require_fit(given, CLASSES)


@pytest.mark.parametrize(
    ("backbone", "method", "training", "sizes"),
    [
        ("vit-b16", "full", {"batch_size": 13}, [7, 4, 2, 1]),
        ("resnet50", "linear_probe", {}, [8, 4, 2, 1]),
        ("resnet50", "full", {"batch_norm": "frozen"}, [8, 4, 2, 1]),
        ("resnet50", "full", {}, []),
        ("clip-vit-b16", "flyp", {}, []),
        ("vit-b16", "zero_shot", None, []),
    ],
)
def test_less_memory_where_the_batch_can_be_cut(backbone, method, training, sizes, monkeypatch):
    monkeypatch.setattr("studies.benchmarks.load", lambda name: SimpleNamespace(classes=CLASSES))
    changes = {"training": training} if training else {}
    (cell,) = study(backbone, method, **changes).cells("00")
    engine, found = Engine(), []
    while (engine := after_out_of_memory(cell, engine)) is not None:
        found.append(engine.micro_batch)
        parts = engine.parts(cell.training.batch_size)
        assert -(-cell.training.batch_size // parts) <= engine.micro_batch
    assert found == sizes
