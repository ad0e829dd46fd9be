"""How a search proposes settings, and which runs it ends early: every choice by name, with its seed."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Chance = Annotated[float, Field(ge=0, le=1)]


class _Named(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RandomSampling(_Named):
    """Independent draws."""

    name: Literal["random"]
    seed: Seed = Field(description="Seed of the draws.")


class QmcSampling(_Named):
    """A quasi-random sequence, which covers the space more evenly; choices among names are independent draws."""

    name: Literal["qmc"]
    seed: Seed = Field(description="Seed of the scrambling and of independent draws.")
    sequence: Literal["sobol", "halton"] = Field(default="sobol", description="Which sequence.")
    scramble: bool = Field(default=True, description="Whether it is scrambled.")


class TpeSampling(_Named):
    """Tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), for one objective or several."""

    name: Literal["tpe"]
    seed: Seed = Field(description="Seed of the draws.")
    startup_trials: int = Field(default=10, ge=1, description="Trials drawn at random before the estimator decides.")
    candidates: int = Field(default=24, ge=1, description="Candidates that are weighed for each trial.")
    multivariate: bool = Field(default=True, description="Whether settings are modelled jointly.")
    constant_liar: bool = Field(default=True, description="Whether running trials count as bad ones meanwhile.")


class Nsga2Sampling(_Named):
    """The genetic algorithm NSGA-II (Deb et al., IEEE TEC 2002), for several objectives."""

    name: Literal["nsga2"]
    seed: Seed = Field(description="Seed of the draws.")
    population: int = Field(default=20, ge=2, description="Trials a generation.")
    mutation: Chance | None = Field(default=None, description="Chance that a setting mutates; null: one a child.")
    crossover: Chance = Field(default=0.9, description="Chance that a child has two parents.")
    swapping: Chance = Field(default=0.5, description="Chance that a setting comes from the other parent.")


class MedianPruning(_Named):
    """Ends a run whose best ID validation score so far is below the median of the others' at the same step."""

    name: Literal["median"]
    startup_trials: int = Field(default=5, ge=0, description="Finished trials before any run is ended.")
    warmup_steps: int = Field(default=0, ge=0, description="Optimiser steps before a run is ended.")


class HyperbandPruning(_Named):
    """Hyperband (Li et al., JMLR 2018): brackets of successive halving over optimiser steps."""

    name: Literal["hyperband"]
    min_steps: int = Field(ge=1, description="Optimiser steps that every run gets.")
    reduction_factor: int = Field(default=3, ge=2, description="Of so many runs one goes on to the next rung.")


Sampler = Annotated[RandomSampling | QmcSampling | TpeSampling | Nsga2Sampling, Field(discriminator="name")]
Pruner = Annotated[MedianPruning | HyperbandPruning, Field(discriminator="name")]
