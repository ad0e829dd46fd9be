"""A search's settings as Optuna has them: samplers, pruners, distributions."""

import warnings
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from studies.settings import Range
from studies.settings.samplers import (
    HyperbandPruning,
    MedianPruning,
    Nsga2Sampling,
    QmcSampling,
    RandomSampling,
    TpeSampling,
)


def sampler(
    settings: RandomSampling | QmcSampling | TpeSampling | Nsga2Sampling, number: int
) -> optuna.samplers.BaseSampler:
    """The sampler for one trial.

    Args:
        settings: Which, with its seed.
        number: The trial's number, which is added to the seed: a search that goes on later draws what it would have.
    """
    seed = settings.seed + number
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if isinstance(settings, RandomSampling):
            return optuna.samplers.RandomSampler(seed=seed)
        if isinstance(settings, QmcSampling):
            # The sequence's own seed stays: its place in the sequence is what moves on.
            return optuna.samplers.QMCSampler(
                qmc_type=settings.sequence,
                scramble=settings.scramble,
                seed=settings.seed,
                independent_sampler=optuna.samplers.RandomSampler(seed=seed),
                warn_asynchronous_seeding=False,
                warn_independent_sampling=False,
            )
        if isinstance(settings, Nsga2Sampling):
            return optuna.samplers.NSGAIISampler(
                population_size=settings.population,
                mutation_prob=settings.mutation,
                crossover_prob=settings.crossover,
                swapping_prob=settings.swapping,
                seed=seed,
            )
        return optuna.samplers.TPESampler(
            n_startup_trials=settings.startup_trials,
            n_ei_candidates=settings.candidates,
            multivariate=settings.multivariate,
            constant_liar=settings.constant_liar,
            seed=seed,
        )


def pruner(settings: MedianPruning | HyperbandPruning | None, steps: int) -> optuna.pruners.BasePruner:
    """The pruner of runs of so many optimiser steps."""
    if isinstance(settings, MedianPruning):
        return optuna.pruners.MedianPruner(settings.startup_trials, settings.warmup_steps)
    if isinstance(settings, HyperbandPruning):
        return optuna.pruners.HyperbandPruner(settings.min_steps, steps, settings.reduction_factor)
    return optuna.pruners.NopPruner()


def distribution(values: Range | tuple[Any, ...]) -> BaseDistribution:
    """What a setting's values are drawn from.

    Example:
        >>> distribution(Range(low=1, high=100, log=True, whole=True))
        IntDistribution(high=100, log=True, low=1, step=1)
        >>> distribution(("ema", "latest"))
        CategoricalDistribution(choices=('ema', 'latest'))
    """
    if not isinstance(values, Range):
        return CategoricalDistribution(values)
    if values.whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def suggested(trial: optuna.Trial, name: str, values: Range | tuple[Any, ...]) -> Any:
    """The value of a setting that the trial is to have."""
    if not isinstance(values, Range):
        return trial.suggest_categorical(name, values)
    if values.whole:
        return trial.suggest_int(name, int(values.low), int(values.high), log=values.log)
    return trial.suggest_float(name, values.low, values.high, log=values.log)
