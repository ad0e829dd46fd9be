"""Pretraining: learns, is a function of its seed alone, and resumes bit for bit."""

import dataclasses

import pytest
import torch

from studies import backbones
from studies.backbones import BACKBONES, pretraining
from studies.backbones.pretraining import pretrain, rate
from studies.benchmarks.digits import corpus

SHORT = dataclasses.replace(
    BACKBONES["digits-vit-tiny"],
    pretraining=dataclasses.replace(BACKBONES["digits-vit-tiny"].pretraining, images=3 * corpus.CHUNK, batch_size=60),
)


class Killed(Exception):
    pass


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.fixture(scope="module")
def plain():
    return weights(pretrain(SHORT, seed=0))


def test_tiny_backbone_learns_above_chance(cache_folder):
    backbones.load("digits-vit-tiny", 0)
    assert backbones.describe("digits-vit-tiny", 0)["zero_shot"]["corpus_accuracy_score"] > 0.25


def test_threads_and_global_state_do_not_matter(plain):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    try:
        assert torch.equal(weights(pretrain(SHORT, seed=0)), plain)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_seeds_differ(plain):
    assert not torch.equal(weights(pretrain(SHORT, seed=1)), plain)


def test_resumes_bit_for_bit(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "CHECKPOINT_SECONDS", 0.0)
    checkpoint = tmp_path / "checkpoint"

    def kill(done, total):
        if done == 2 * corpus.CHUNK:
            raise Killed

    with pytest.raises(Killed):
        pretrain(SHORT, 0, checkpoint, kill)
    seen = []
    resumed = pretrain(SHORT, 0, checkpoint, lambda done, total: seen.append((done, total)))
    assert torch.equal(weights(resumed), plain)
    assert seen == [(3 * corpus.CHUNK, 3 * corpus.CHUNK)]


def test_damaged_checkpoint_starts_again(plain, tmp_path, caplog):
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes(b"torn")
    assert torch.equal(weights(pretrain(SHORT, 0, checkpoint)), plain)
    assert "unreadable" in caplog.text


def test_batch_that_does_not_divide_a_chunk_is_refused():
    odd = dataclasses.replace(SHORT, pretraining=dataclasses.replace(SHORT.pretraining, batch_size=7))
    with pytest.raises(ValueError, match="batch_size must divide the chunk of 480 images, got 7"):
        pretrain(odd, 0)


def test_rate_warms_up_and_decays():
    recipe = BACKBONES["digits-vit"].pretraining
    rates = [rate(recipe, step, 2000) for step in range(2000)]
    assert rates[0] == pytest.approx(recipe.learning_rate / recipe.warmup_steps)
    assert max(rates) <= recipe.learning_rate
    assert rates[-1] < 1e-5
