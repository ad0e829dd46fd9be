"""Contrastive fine-tuning on a small model with a text tower: its loss by hand, its head, its refusal elsewhere."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from studies.checkpoint import Checkpointing
from studies.failures import Stopped
from studies.methods import METHODS
from studies.settings import CellSettings, Schedule, StudySettings
from studies.settings.traits import complete_options
from studies.train import train

CLASSES, PROMPTS, WIDTH = 10, 3, 8


class TwoTowers(nn.Module):
    """Images and prompts into one space, with the head that the prompts give."""

    def __init__(self):
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(64, WIDTH))
        self.text = nn.Embedding(20, WIDTH)
        self.logit_scale = nn.Parameter(torch.tensor(1.5))
        tokens = torch.randint(20, (CLASSES, PROMPTS, 4))
        self.register_buffer("prompts", tokens)
        self.head = nn.Linear(WIDTH, CLASSES, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(self.zero_shot_head())

    def encode_image(self, images):
        return self.visual(images)

    def encode_text(self, tokens):
        return self.text(tokens).mean(dim=-2)

    def zero_shot_head(self):
        features = functional.normalize(self.encode_text(self.prompts), dim=-1).mean(dim=1)
        return self.logit_scale.exp() * functional.normalize(features, dim=-1)

    def forward(self, images):
        return self.head(functional.normalize(self.encode_image(images), dim=1))


@pytest.fixture
def towers():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoTowers()


def cell(**options):
    return CellSettings(benchmark="digits", manifest="00", backbone="towers", pretrain_seed=0, method="flyp", seed=2,
                        learning_rate=1e-2, training=Schedule(steps=6, validate_every=3), evaluation={"members": 2},
                        options=complete_options("flyp", options))  # fmt: skip


def run(model, chosen, examples, checkpointing=Checkpointing()):  # noqa: B008
    method = METHODS["flyp"](model, chosen)
    train(model, method, examples, examples, chosen.training, 1e-2, chosen.seed, checkpointing)
    return method


@pytest.mark.parametrize("positives", ["pairs", "labels"])
def test_loss_by_hand(positives, towers):
    method = METHODS["flyp"](towers, cell(positives=positives))
    images, labels = torch.rand(5, 3, 32, 32), torch.tensor([1, 4, 1, 0, 4])
    found = method.loss(images, labels, functional.cross_entropy)
    # Which prompt an image is paired with is drawn; one of the few possibilities must give this loss.
    u = functional.normalize(towers.encode_image(images), dim=1).double()
    losses = []
    for number in range(PROMPTS ** len(labels)):
        chosen = torch.tensor([number // PROMPTS**place % PROMPTS for place in range(len(labels))])
        v = functional.normalize(towers.encode_text(towers.prompts[labels, chosen]), dim=1).double()
        similar = towers.logit_scale.double().exp() * u @ v.T
        total = 0.0
        for i in range(len(labels)):
            match = [i] if positives == "pairs" else [j for j in range(len(labels)) if labels[j] == labels[i]]
            for rows in (similar, similar.T):
                total += sum(-(rows[i, j] - rows[i].logsumexp(0)) for j in match).item() / len(match)
        losses.append(total / (2 * len(labels)))
    assert min(abs(loss - found.item()) for loss in losses) < 1e-5


def test_head_is_the_text_tower_s_answer_whenever_it_is_reported(towers, examples):
    before = towers.head.weight.detach().clone()
    method = run(towers, cell(), examples)
    assert torch.equal(towers.head.weight, before)
    reported = method.reported_weights()
    assert torch.equal(reported["head.weight"], towers.zero_shot_head())
    assert not torch.equal(reported["head.weight"], before)
    answers = []
    for member in method.members():
        with member.weights():
            assert torch.equal(towers.head.weight, towers.zero_shot_head())
            answers.append(towers.head.weight.detach().clone())
    assert not torch.equal(*answers)
    assert torch.equal(method.merge().head.weight, reported["head.weight"])


def test_text_tower_can_stay(towers, examples):
    before = copy.deepcopy(towers.state_dict())
    weights = run(towers, cell(train_text=False), examples).reported_weights()
    assert torch.equal(weights["text.weight"], before["text.weight"])
    assert not torch.equal(weights["visual.0.weight"], before["visual.0.weight"])


def test_goes_on_bit_for_bit(towers, examples, tmp_path):
    whole = run(copy.deepcopy(towers), cell(), examples).reported_weights()
    path, asked = tmp_path / "checkpoint.pt", []
    stopper = Checkpointing(path, 1e9, lambda: asked.append(0) or len(asked) == 4)
    with pytest.raises(Stopped):
        run(copy.deepcopy(towers), cell(), examples, stopper)
    rest = run(copy.deepcopy(towers), cell(), examples, Checkpointing(path, 1e9)).reported_weights()
    assert all(torch.equal(rest[name], value) for name, value in whole.items())


def test_is_refused_without_a_text_tower_and_with_mixed_labels(fresh, towers):
    with pytest.raises(ValueError, match="needs a backbone with a text tower"):
        METHODS["flyp"](copy.deepcopy(fresh), cell())
    method = METHODS["flyp"](towers, cell())
    with pytest.raises(ValueError, match="MixUp or CutMix"):
        method.loss(torch.rand(2, 3, 32, 32), torch.full((2, 10), 0.1), functional.cross_entropy)


def test_study_leaves_it_out_and_says_so():
    study = StudySettings(name="s", benchmark="digits", seeds=[0], methods=[{"name": "flyp"}, {"name": "full"}])
    assert [cell.method for cell in study.cells("00")] == ["full"]
    assert study.skipped() == ["flyp is left out for digits-vit: it needs a backbone with a text tower, such as CLIP's"]
