"""Plausible records of the shape of the main study, fabricated from a seed: for tests only, never a result."""

import hashlib
import json
from itertools import product

import numpy as np

from analysis.diversity import diversity_scores
from analysis.records import Records, cells_frame, curves_frame, examples_frame, metrics_frame, pack

DOMAINS = ("real", "painting", "clipart", "infograph", "quickdraw")
KINDS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
ANCHORS = ("pretrained", "ema", "latest")
PERIODS = (1.0, 10.0, 50.0, float("inf"))
SPARSITIES = (0.5, 0.8, 0.9, 0.98)
ALPHAS = tuple(round(0.1 * step, 1) for step in range(11))
REFERENCES = ("zero_shot", "linear_probe", "full", "random_mask", "mixout")
EXAMPLES = {"id_val": 200, "id_test": 397, **{f"ood/{domain}": 199 for domain in DOMAINS}}


def fabricate(
    seed: int = 0,
    seeds: tuple[int, ...] = (0, 1),
    learning_rates: tuple[float, ...] = (1e-3, 3e-3),
    anchors: tuple[str, ...] = ANCHORS,
    periods: tuple[float, ...] = PERIODS,
    sparsities: tuple[float, ...] = SPARSITIES,
    benchmark: str = "digits",
    groups: bool = False,
    shared: bool = False,
) -> Records:
    """Records in which ID rises and OOD falls with the strength of the fine-tuning.

    With ``shared``, an endless mask is stored under the pretrained anchor alone, as studies do.
    """
    rng = np.random.default_rng(seed)
    settings = [(method, {}) for method in REFERENCES]
    settings += [
        ("gmixout", {"anchor": anchor, "resample_every": period, "sparsity": sparsity})
        for anchor, period, sparsity in product(anchors, periods, sparsities)
    ]
    tables: dict[str, list[dict]] = {"cells": [], "metrics": [], "examples": [], "curves": []}
    if shared:
        settings = [point for point in settings if point[1].get("resample_every") != float("inf")
                    or point[1]["anchor"] == "pretrained"]  # fmt: skip
    for (method, levers), run, rate in product(settings, seeds, learning_rates):
        if method == "zero_shot" and rate != learning_rates[0]:
            continue
        add_cell(tables, rng, benchmark, method, levers, run, None if method == "zero_shot" else rate, groups)
    return Records(
        cells_frame(tables["cells"]),
        metrics_frame(tables["metrics"]),
        examples_frame(tables["examples"]),
        curves_frame(tables["curves"]),
    )


def _strength(method: str, levers: dict, rate: float | None) -> float:
    base = {"zero_shot": 0.0, "linear_probe": 0.15, "full": 1.0, "random_mask": 0.7, "mixout": 0.65}
    strength = base.get(method)
    if strength is None:
        depth = np.sqrt(1.0 - levers["sparsity"])
        age = 0.1 * np.log10(min(levers["resample_every"], 900.0))
        strength = 0.35 + 0.6 * depth + (age if levers["anchor"] == "pretrained" else -0.3 * age)
        strength -= 0.08 * (levers["anchor"] == "ema")
    return float(strength * (1.15 if rate is not None and rate > 1e-3 else 1.0))


def add_cell(
    tables,
    rng,
    benchmark,
    method,
    levers,
    run,
    rate,
    groups,
    strength=None,
    lift=0.0,
    has_wise=True,
    fresh=0,
    facts=None,
) -> None:
    """Adds one cell's rows: ``lift`` raises OOD, ``fresh`` is a number of members, ``facts`` are columns of cells."""
    settings = {"benchmark": benchmark, "method": {"name": method, **levers}, "seed": run, "learning_rate": rate}
    name = f"{hash_of(settings):016x}"
    strength = _strength(method, levers, rate) if strength is None else strength
    wobble = rng.normal(0.0, 0.006) if method != "zero_shot" else 0.0
    has_members = method not in ("zero_shot", "linear_probe") and (facts or {}).get("member_kind") != "none"
    period = levers.get("resample_every", 1.0)
    visited = method == "gmixout" and period != float("inf")
    total = 400_000
    tables["cells"].append({
        "cell": name, "benchmark": benchmark, "backbone": "digits-vit", "pretrain_seed": 0, "method": method,
        "seed": run, "learning_rate": rate, "steps": 900, "batch_size": 16, "weight_decay": 1e-4, **levers,
        "settings": json.dumps(settings, sort_keys=True), "status": "done",
        "trained_per_episode": int(total * (1 - levers.get("sparsity", 0.0))) if method != "zero_shot" else 0,
        "touched_over_run": total if method != "zero_shot" else 0, "total_parameters": total,
        "subnetworks": int(np.ceil(900 / period)), "wall_time_s": 10.0, "train_time_s": 8.0,
        "member_kind": "visited" if visited else "trajectory" if has_members else "none",
        "peak_memory_bytes": 10**8, "code_version": "0", "library_versions": "{}", "device": "cpu", "manifest": "m",
        "stored_floats": total * (3 if method != "zero_shot" else 1), "inference_passes": 1,
        "training_flops": 9e13 * (method != "zero_shot"), "training_steps": 900 * (method != "zero_shot"),
        **(facts or {}),
    })  # fmt: skip
    put = tables["metrics"].append
    for split, examples in EXAMPLES.items():
        ours = lift * split.startswith("ood/")
        right = rng.random(examples) < _truth(split, strength) + wobble + ours
        if method == "zero_shot":
            right = np.random.default_rng(len(split)).random(examples) < _truth(split, 0.0)
        tables["examples"].append(
            {"cell": name, "weights": "reported", "split": split, "correct": pack(right), "examples": examples}
        )
        values = {"accuracy_score": right.mean(), "cross_entropy_error": 1.5 - right.mean(), "calibration_error": 0.1}
        if groups:
            shifts = {"many": 0.1, "medium": 0.0, "few": -0.2}
            values |= {f"accuracy_{group}_score": right.mean() + shift for group, shift in shifts.items()}
        for metric, value in values.items():
            put(_row(name, "reported", split, metric, value, examples))
        if method != "zero_shot" and has_wise:
            for alpha in ALPHAS:
                bend = 0.06 * 4 * alpha * (1 - alpha)
                value = _truth(split, strength * alpha) + bend * (0.5 if split.startswith("id") else 1.0) + wobble
                value += alpha * ours
                put(_row(name, "wise", split, "accuracy_score", value, examples, alpha))
        if has_members:
            _members(put, rng, name, split, levers, right.mean(), fresh)
    for kind, severity in product(KINDS, range(1, 6)):
        value = _truth("id_test", strength) - 0.05 * severity * (0.8 - 0.2 * strength) + rng.normal(0, 0.01)
        put(_row(name, "reported", f"corruption/{kind}/{severity}", "accuracy_score", value, EXAMPLES["id_test"]))
    put(_row(name, "reported", "", "distance_to_pretrained", 10 * strength, 0))
    if fresh:
        put(_row(name, "fresh_members", "", "members", fresh, 0))
    for step in range(0, 901, 300):
        tables["curves"].append({"cell": name, "step": step, "metric": "loss", "value": 2.0 - step / 900})


def _members(put, rng, name, split, levers, accuracy, fresh) -> None:
    members, classes, examples = 3, 5, 40
    labels = rng.integers(classes, size=examples)
    shared = rng.normal(size=(1, examples, classes))
    spread = 0.2 + 0.6 * np.sqrt(1.0 - levers.get("sparsity", 0.6))
    logits = 2.0 * np.eye(classes)[labels] + shared + spread * rng.normal(size=(members, examples, classes))
    scores = diversity_scores(logits, labels)
    for metric, value in scores.items():
        put(_row(name, "members", split, metric, value, examples))
    if fresh:
        for metric, value in (scores | {"ensemble_gain_score": 0.04}).items():
            put(_row(name, "fresh_members", split, metric, value, examples))
        put(_row(name, "fresh_ensemble", split, "accuracy_score", accuracy - 0.01, examples))
    put(_row(name, "ensemble", split, "accuracy_score", min(accuracy + 0.02, 1.0), examples))
    for member in range(members):
        row = _row(name, "member", split, "accuracy_score", accuracy - 0.01, examples)
        put(row | {"member": member})


def _truth(split: str, strength: float) -> float:
    if split.startswith("id"):
        return 0.46 + 0.24 * (1 - np.exp(-2.2 * strength))
    return 0.85 - 0.14 * strength**1.5 - 0.02 * DOMAINS.index(split.removeprefix("ood/"))


def _row(cell, weights, split, metric, value, examples, alpha=float("nan")) -> dict:
    return {"cell": cell, "weights": weights, "split": split, "metric": metric, "value": float(value),
            "examples": examples, "alpha": alpha}  # fmt: skip


def hash_of(settings: dict) -> int:
    """A stable number for settings (the built-in hash changes from process to process)."""
    return int(hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16], 16)
