"""Records of a study of mask granularities, fabricated: for tests only."""

import numpy as np

from analysis.records import Records, cells_frame, curves_frame, examples_frame, metrics_frame
from tests.analysis.synthetic import add_cell

SEEDS = range(5)
# Strength of the fine-tuning: rows as entries, columns a little less, blocks much less.
STRENGTH = {"element": 0.8, "row": 0.8, "column": 0.75, "block": 0.3}


def fabricate_granularities() -> Records:
    """Four granularities, crossed with two sparsities and two rates, in five seeds; and full fine-tuning."""
    rng = np.random.default_rng(0)
    tables: dict[str, list[dict]] = {"cells": [], "metrics": [], "examples": [], "curves": []}
    for seed in SEEDS:
        for granularity, strength in STRENGTH.items():
            for sparsity in (0.5, 0.8):
                for rate in (1e-3, 3e-3):
                    levers = {"anchor": "ema", "resample_every": 40.0, "sparsity": sparsity, "granularity": granularity}
                    levers |= {"block_size": 64} if granularity == "block" else {}
                    facts = {
                        "train_time_s": 8.0 if granularity == "element" else 6.0 + sparsity,
                        "member_kind": "visited",
                    }
                    add_cell(tables, rng, "digits", "gmixout", levers, seed, rate, False, strength, has_wise=False,
                             facts=facts)  # fmt: skip
        add_cell(tables, rng, "digits", "full", {}, seed, 1e-3, False, has_wise=False)
    return Records(cells_frame(tables["cells"]), metrics_frame(tables["metrics"]), examples_frame(tables["examples"]),
                   curves_frame(tables["curves"]))  # fmt: skip
