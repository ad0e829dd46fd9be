"""Prompt sets have the sizes their authors say, one place for the name each, and no sentence twice."""

import pytest

from studies.backbones import PROMPTS, prompts_of

SIZES = {"plain": 1, "simple7": 7, "openai80": 80, "cifar": 18, "iwildcam": 2, "domainnet": 4}


@pytest.mark.parametrize("name", PROMPTS)
def test_set_is_complete(name):
    sentences = prompts_of(name)
    assert len(sentences) == len(set(sentences)) == SIZES[name]
    assert all(sentence.count("{}") == 1 for sentence in sentences)


def test_the_best_subset_is_one():
    assert set(prompts_of("simple7")) < set(prompts_of("openai80"))
    assert set(prompts_of("plain")) < set(prompts_of("openai80"))


def test_unknown_set_is_refused():
    with pytest.raises(ValueError, match="unknown prompt set 'all'; choose one of plain, simple7, openai80, cifar"):
        prompts_of("all")
