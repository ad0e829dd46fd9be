"""Plausible records of a study of all methods, their variants and additions, fabricated: for tests only."""

import numpy as np

from analysis.records import Records, canonical_json, cells_frame, curves_frame, examples_frame, metrics_frame
from tests.analysis.synthetic import add_cell

# Strength of the fine-tuning, lift of OOD, training relative to full fine-tuning, forward passes at test time.
RIVALS = {
    "zero_shot": (0.0, 0.0, 0.0, 1),
    "linear_probe": (0.15, 0.0, 0.35, 1),
    "random_head_probe": (0.12, -0.04, 0.35, 1),
    "bias_norm": (0.4, 0.01, 0.8, 1),
    "lora": (0.6, 0.01, 0.95, 1),
    "dora": (0.62, 0.012, 1.1, 1),
    "shira": (0.55, 0.0, 0.9, 1),
    "full": (1.0, 0.0, 1.0, 1),
    "full/long": (1.1, -0.01, 2.0, 1),
    "full+crop": (0.95, 0.01, 1.0, 1),
    "full+randaugment": (0.95, 0.03, 1.0, 1),
    "full+mixup": (0.92, 0.02, 1.0, 1),
    "full+cutmix": (0.92, 0.015, 1.0, 1),
    "full+label_smoothing": (0.98, 0.005, 1.0, 1),
    "full+early_stopping": (0.8, 0.005, 0.6, 1),
    "full+crop+mixup+label_smoothing+early_stopping": (0.87, 0.035, 0.8, 1),
    "full+adversarial": (0.85, 0.01, 2.0, 1),
    "lp_ft": (0.9, 0.03, 1.0, 1),
    "l2_sp": (0.85, 0.02, 1.05, 1),
    "decay_to_pretrained": (0.8, 0.015, 1.0, 1),
    "ema": (0.95, 0.03, 1.02, 1),
    "weight_average": (0.9, 0.045, 1.0, 1),
    "swad": (0.85, 0.05, 1.3, 1),
    "uniform_soup": (0.75, 0.06, 5.0, 1),
    "greedy_soup": (0.9, 0.055, 5.0, 1),
    "diwa": (0.85, 0.06, 5.0, 1),
    "ensemble": (1.1, 0.065, 5.0, 5),
    "ensemble/short": (0.9, 0.05, 1.0, 5),
    "random_mask": (0.7, 0.01, 0.85, 1),
    "sequential_masks": (0.8, 0.02, 0.9, 1),
    "dropconnect": (0.9, -0.02, 1.05, 1),
    "mixout": (0.65, 0.03, 1.1, 1),
    "mixout_published": (0.6, 0.025, 1.1, 1),
    "hr_mixout": (0.7, 0.035, 1.1, 1),
    "gmixout": (0.8, 0.05, 0.92, 1),
    "gmixout+randaugment": (0.78, 0.065, 0.92, 1),
    "gmixout+mixup": (0.76, 0.06, 0.92, 1),
}
POOLED = ("uniform_soup", "greedy_soup", "diwa", "ensemble", "ensemble/short")
MASKED = ("random_mask", "sequential_masks", "mixout", "hr_mixout", "gmixout", "gmixout+randaugment", "gmixout+mixup")


def fabricate_rivals(
    seed: int = 0, seeds: tuple[int, ...] = (0, 1, 2), learning_rates: tuple[float, ...] = (1e-3, 3e-3)
) -> Records:
    """Records of every method at two learning rates; what is built from other runs has none, zero-shot one seed."""
    rng = np.random.default_rng(seed)
    tables: dict[str, list[dict]] = {"cells": [], "metrics": [], "examples": [], "curves": []}
    for method, (strength, lift, cost, passes) in RIVALS.items():
        has_rate = method not in (*POOLED, "zero_shot")
        levers = {"anchor": "ema", "resample_every": 10.0, "sparsity": 0.8} if method.startswith("gmixout") else {}
        for run in seeds if method != "zero_shot" else (0,):
            for position, rate in enumerate(learning_rates if has_rate else (None,)):
                facts = {
                    "training_flops": 9e13 * cost, "training_steps": round(900 * cost), "inference_passes": passes,
                    "options": canonical_json({"rank": 4} if method in ("lora", "dora", "shira") else {}),
                    "recipe": canonical_json({"additions": method.split("+")[1:]} if "+" in method else {}),
                }  # fmt: skip
                kind = "runs" if method in POOLED else "visited" if method in MASKED else "none"
                add_cell(
                    tables, rng, "digits", method, levers, run, rate, False, strength * (1.0 + 0.15 * position), lift,
                    has_wise=not method.startswith("ensemble"), fresh=6 if method in MASKED else 0,
                    facts=facts | {"member_kind": kind},
                )  # fmt: skip
    return Records(
        cells_frame(tables["cells"]),
        metrics_frame(tables["metrics"]),
        examples_frame(tables["examples"]),
        curves_frame(tables["curves"]),
    )
