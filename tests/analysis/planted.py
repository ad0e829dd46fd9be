"""Cells with a known truth: effects of levers, variances, a mediated part. For tests only, never a result."""

from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Truth:
    """What is planted. Levers are 0/1 coded by their position; a lever's effect is from its first to its last level.

    Scores are linear: ``diversity = start + sum(path_a * x) + noise`` and
    ``ood = start + sum(direct * x) + path_b * diversity + benchmark + run + noise``. A ``varying`` lever has at every
    benchmark another offset of this spread for each of its levels.
    """

    levels: dict[str, list] = field(
        default_factory=lambda: {"anchor": ["pretrained", "ema"], "resample_every": [1.0, 10.0], "sparsity": [0.5, 0.9]}
    )
    path_a: dict[str, float] = field(default_factory=lambda: {"sparsity": -0.06})
    direct: dict[str, float] = field(default_factory=lambda: {"sparsity": 0.02, "anchor": 0.03})
    path_b: float = -0.5
    interaction: float = 0.0
    id_effect: dict[str, float] = field(default_factory=dict)
    benchmark_spread: float = 0.05
    varying: dict[str, float] = field(default_factory=dict)
    run_spread: float = 0.02
    diversity_noise: float = 0.02
    ood_noise: float = 0.02
    id_noise: float = 0.01

    def total(self, lever: str) -> float:
        """The whole effect of a lever on OOD."""
        return self.direct.get(lever, 0.0) + self.path_a.get(lever, 0.0) * self.path_b


def plant(seed: int, truth: Truth, runs: int = 5, benchmarks: int = 1) -> pd.DataFrame:
    """One row a cell of the crossed design: ``benchmark``, ``run``, levers, ``x_LEVER``, scores and diversity."""
    rng = np.random.default_rng(seed)
    rows = []
    for place in range(benchmarks):
        of_place = rng.normal(0.0, truth.benchmark_spread)
        of_levels = {name: rng.normal(0.0, spread, len(truth.levels[name])) for name, spread in truth.varying.items()}
        for run in range(runs):
            of_run = rng.normal(0.0, truth.run_spread)
            for setting in product(*truth.levels.values()):
                levers = dict(zip(truth.levels, setting))
                x = {name: truth.levels[name].index(value) / (len(truth.levels[name]) - 1)
                     for name, value in levers.items()}  # fmt: skip
                diversity = 0.2 + _sum(truth.path_a, x) + rng.normal(0.0, truth.diversity_noise)
                crossed = truth.interaction * (2 * x["anchor"] - 1) * (2 * x["sparsity"] - 1)
                ood = 0.6 + _sum(truth.direct, x) + truth.path_b * diversity + crossed
                ood += of_place + of_run + rng.normal(0.0, truth.ood_noise)
                ood += sum(offsets[truth.levels[name].index(levers[name])] for name, offsets in of_levels.items())
                score = 0.7 + _sum(truth.id_effect, x) + of_run + rng.normal(0.0, truth.id_noise)
                rows.append({"benchmark": f"place{place}", "run": f"0/{run}", "seed": run, **levers,
                             **{f"x_{name}": value for name, value in x.items()},
                             "diversity_score": diversity, "ood_score": ood, "id_score": score})  # fmt: skip
    return pd.DataFrame(rows)


def _sum(effects: dict[str, float], x: dict[str, float]) -> float:
    return sum(effect * x[name] for name, effect in effects.items())
