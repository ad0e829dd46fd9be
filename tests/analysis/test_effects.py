"""Contrasts and level means by loops."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from analysis.effects import contrast, level_means


def design(seed: int = 0, runs: int = 3, effect: float = 0.3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {"anchor": a, "sparsity": p, "resample_every": k, "run": f"0/{r}"}
        for a, p, k, r in product(["pretrained", "ema", "latest"], [0.5, 0.9], [1.0, np.inf], range(runs))
    ]
    frame = pd.DataFrame(rows)
    frame["y"] = effect * frame["sparsity"] + 0.1 * frame["run"].str[-1].astype(int) + rng.normal(0, 0.02, len(frame))
    return frame


def test_contrast_is_the_mean_of_matched_differences() -> None:
    frame = design().drop(index=[3, 11])
    found = contrast(frame, "y", "sparsity", (0.5, 0.9), ["anchor", "resample_every"], np.random.default_rng(0))
    wide = frame.pivot_table(index=["anchor", "resample_every", "run"], columns="sparsity", values="y")
    differences = (wide[0.9] - wide[0.5]).dropna()
    assert found.interval.estimate == pytest.approx(differences.mean())
    assert found.pairs == len(differences)
    assert found.runs == 3
    assert found.interval.excludes_zero
    assert found.interval.low < 0.12 < found.interval.high


def test_contrast_without_a_pair_is_nan() -> None:
    frame = design().query("not (sparsity == 0.9 and anchor != 'ema') and not (sparsity == 0.5 and anchor == 'ema')")
    found = contrast(frame, "y", "sparsity", (0.5, 0.9), ["anchor", "resample_every"], np.random.default_rng(0))
    assert np.isnan(found.interval.estimate)
    assert found.pairs == 0


def test_contrast_covers_an_effect_of_zero() -> None:
    hits = 0
    for seed in range(100):
        frame = design(seed, runs=4, effect=0.0)
        found = contrast(frame, "y", "sparsity", (0.5, 0.9), ["anchor", "resample_every"],
                         np.random.default_rng(seed), draws=300)  # fmt: skip
        hits += not found.interval.excludes_zero
    assert hits >= 85


def test_level_means_are_means_of_complete_groups() -> None:
    frame = design()
    means = level_means(frame, "y", "sparsity", [0.5, 0.9], ["anchor", "resample_every"], np.random.default_rng(0))
    assert [m.estimate for m in means] == pytest.approx(frame.groupby("sparsity")["y"].mean().tolist())
    assert all(m.low < m.estimate < m.high for m in means)
    # The differences of 0.1 between runs are removed: what is left is the noise.
    assert all(m.high - m.low < 0.05 for m in means)
