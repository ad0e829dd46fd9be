"""What is built from the finished runs of a pool: soups average their weights, ensembles their answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analysis.diversity import ensemble_log_probabilities
from studies.outputs import Logits

Weights = dict[str, Tensor]
Score = Callable[[Weights], float]


@dataclass(frozen=True)
class Ingredient:
    """A finished run of a pool.

    Attributes:
        identity: The cell.
        id_val_score: Its score on ID validation, by the benchmark's metric.
        weights: Its reported weights.
    """

    identity: str
    id_val_score: float
    weights: Weights


def average(weights: Sequence[Weights]) -> Weights:
    """The uniform mean of state dicts; counters come from the first. The mean of one is that one, bit for bit.

    Raises:
        ValueError: If there are none, or their keys differ.

    Example:
        >>> average([{"w": torch.tensor([0.0])}, {"w": torch.tensor([2.0])}])
        {'w': tensor([1.])}
    """
    if not weights:
        raise ValueError("an average needs at least one model, got none")
    if any(one.keys() != weights[0].keys() for one in weights):
        raise ValueError("models can be averaged only if they have the same parameters; these have not")
    return {
        name: torch.stack([one[name] for one in weights]).mean(dim=0) if tensor.is_floating_point() else tensor
        for name, tensor in weights[0].items()
    }


def uniform_soup(pool: Sequence[Ingredient], score: Score) -> list[Ingredient]:
    """All of them (Wortsman et al., Model soups, ICML 2022)."""
    return list(pool)


def greedy_soup(pool: Sequence[Ingredient], score: Score) -> list[Ingredient]:
    """From the best on, each that makes the soup STRICTLY better on ID validation (Model soups, recipe 1)."""
    return _restricted(pool, score, lambda new, best: new > best)


def diwa(pool: Sequence[Ingredient], score: Score) -> list[Ingredient]:
    """From the best on, each that leaves the soup at least as good (DiWA's restricted selection, NeurIPS 2022)."""
    return _restricted(pool, score, lambda new, best: new >= best)


def ensemble(answers: Sequence[Logits]) -> Logits:
    """Log-probabilities of the mean of the models' probabilities, each row shifted so that its largest is 0."""
    found = {}
    for split in answers[0]:
        logs = ensemble_log_probabilities(np.stack([one[split] for one in answers]))
        shifted = logs - logs.max(axis=1, keepdims=True)
        found[split] = np.maximum(shifted, -65504.0).astype(np.float16)
    return found


SOUPS: Mapping[str, Callable[[Sequence[Ingredient], Score], list[Ingredient]]] = {
    "uniform_soup": uniform_soup,
    "greedy_soup": greedy_soup,
    "diwa": diwa,
}
"""Which ingredients go into a soup; their weights are averaged."""


def _restricted(pool: Sequence[Ingredient], score: Score, is_taken: Callable[[float, float], bool]) -> list[Ingredient]:
    # Equal scores in the pool's own order, which is drawn by seed.
    ranked = sorted(pool, key=lambda one: -one.id_val_score)
    taken, best = ranked[:1], ranked[0].id_val_score
    for candidate in ranked[1:]:
        found = score(average([one.weights for one in (*taken, candidate)]))
        if is_taken(found, best):
            taken, best = [*taken, candidate], found
    return taken
