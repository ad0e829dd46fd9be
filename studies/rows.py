"""Every number of a cell, from what its models answered. The numbers are `analysis`'s; here they are put in rows."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.accuracy import accuracy_score, group_accuracy_score, harmonic_accuracy_score, macro_f1_score
from analysis.calibration import calibration_scores, reliability_curve
from analysis.detection import detection_columns
from analysis.diversity import diversity_scores, ensemble_log_probabilities, feature_diversity_score
from analysis.selective import selective_scores
from studies.outputs import Logits, Outputs

Row = dict[str, Any]
ALONG_TRAINING = ("label_disagreement_score", "js_divergence_score", "error_consistency_error", "ensemble_gain_score")
"""Measures of two members that follow each other."""


def metric_rows(outputs: Outputs) -> Iterator[Row]:
    """Every number of a cell, without the cell's name."""
    for name, value in outputs.numbers.items():
        yield {"weights": "reported", "metric": name, "value": value}
    if outputs.robust is not None:
        score, examples = outputs.robust
        yield from _rows({"weights": "reported"}, "id_test", {"robust_accuracy_score": score}, examples)
    yield from _model_rows({"weights": "reported"}, outputs.reported, outputs)
    yield from _detection_rows("reported", outputs.reported, outputs.largest)
    yield from _reliability_rows(outputs)
    for alpha, logits in outputs.wise.items():
        yield from _model_rows({"weights": "wise", "alpha": alpha}, logits, outputs)
    for number, logits in enumerate(outputs.members):
        yield from _model_rows({"weights": "member", "member": number}, logits, outputs)
    for number, step in enumerate(outputs.member_steps):
        yield {"weights": "member", "member": number, "metric": "step", "value": float(step)}
    yield from _model_rows({"weights": "weight_average"}, outputs.average, outputs)
    yield from (dict(row) for row in outputs.surface)
    if len(outputs.members) >= 2:
        yield from _ensemble_rows("members", "ensemble", outputs.members, outputs)
        yield from _log_ensemble_rows(outputs)
        yield from _feature_rows(outputs)
    if len(outputs.fresh) >= 2:
        yield {"weights": "fresh_members", "metric": "members", "value": float(len(outputs.fresh))}
        yield from _ensemble_rows("fresh_members", "fresh_ensemble", outputs.fresh, outputs)


def training_rows(outputs: Outputs) -> Iterator[tuple[int, str, float]]:
    """How far each member is from the one before it, along the run: rows (step, metric, value) for ``curves``.

    ``id_test_<measure>`` and ``ood_<measure>``, the latter a mean over the OOD domains; nothing for members that are
    runs of their own.
    """
    domains = [split for split in (outputs.members or ({},))[0] if split.startswith("ood/")]
    for earlier, later, step in zip(outputs.members, outputs.members[1:], outputs.member_steps[1:]):
        found = {
            split: diversity_scores([earlier[split], later[split]], outputs.labels[split])
            for split in ("id_test", *domains)
        }
        for measure in ALONG_TRAINING:
            yield step, f"id_test_{measure}", found["id_test"][measure]
            if domains:
                yield step, f"ood_{measure}", float(np.mean([found[split][measure] for split in domains]))


def _model_rows(about: Row, logits: Logits, outputs: Outputs) -> Iterator[Row]:
    for split, values in logits.items():
        labels = outputs.labels[split]
        scores = _scores(values, labels, outputs.metric)
        for group, classes in outputs.groups.items():
            scores[f"accuracy_{group}_score"] = group_accuracy_score(values, labels, classes)
        if outputs.groups:
            scores["accuracy_harmonic_score"] = harmonic_accuracy_score(values, labels)
        yield from _rows(about, split, scores, len(labels))


def _ensemble_rows(pairs: str, whole: str, members: tuple[Logits, ...], outputs: Outputs) -> Iterator[Row]:
    ensembles: dict[str, npt.NDArray[np.float64]] = {}
    for split in members[0]:
        labels = outputs.labels[split]
        stacked = np.stack([member[split] for member in members])
        yield from _rows({"weights": pairs}, split, diversity_scores(stacked, labels), len(labels))
        ensembles[split] = ensemble_log_probabilities(stacked)
        scores = _scores(ensembles[split], labels, outputs.metric)
        yield from _rows({"weights": whole}, split, scores, len(labels))
    yield from _detection_rows(whole, ensembles, {})


def _log_ensemble_rows(outputs: Outputs) -> Iterator[Row]:
    for split in outputs.members[0]:
        labels = outputs.labels[split]
        stacked = np.stack([member[split] for member in outputs.members])
        scores = _scores(ensemble_log_probabilities(stacked, "log_probabilities"), labels, outputs.metric)
        yield from _rows({"weights": "log_ensemble"}, split, scores, len(labels))


def _feature_rows(outputs: Outputs) -> Iterator[Row]:
    for split in outputs.features[0] if outputs.features else ():
        seen = [member[split] for member in outputs.features]
        scores = {"feature_diversity_score": feature_diversity_score(seen)}
        yield from _rows({"weights": "members"}, split, scores, len(seen[0]))


def _detection_rows(
    weights: str, logits: Mapping[str, npt.NDArray[Any]], largest: Mapping[str, npt.NDArray[Any]]
) -> Iterator[Row]:
    """How well each OOD domain is told from the ID test split; by energy only where the largest logits are known."""
    for split, values in logits.items():
        if split.startswith("ood/"):
            peaks = largest.get("id_test"), largest.get(split)
            yield from _rows(
                {"weights": weights}, split, detection_columns(logits["id_test"], values, *peaks), len(values)
            )


def _reliability_rows(outputs: Outputs) -> Iterator[Row]:
    """Confidence and accuracy in each bin of confidence that holds an example, for reliability diagrams.

    Metrics ``bin_confidence_<number>`` and ``bin_accuracy_<number>_score`` on the ID test split and the OOD domains;
    ``examples`` are those of the bin.
    """
    for split, values in outputs.reported.items():
        if split == "id_test" or split.startswith("ood/"):
            curve = reliability_curve(values, outputs.labels[split])
            for number, row in enumerate(curve.to_dict("records")):
                if row["examples"]:
                    found = {f"bin_confidence_{number:02d}": row["confidence"],
                             f"bin_accuracy_{number:02d}_score": row["accuracy"]}  # fmt: skip
                    yield from _rows({"weights": "reported"}, split, found, int(row["examples"]))


def _scores(values: npt.ArrayLike, labels: npt.NDArray[np.int64], metric: str) -> dict[str, float]:
    scores = {"accuracy_score": accuracy_score(values, labels), **calibration_scores(values, labels)}
    scores |= selective_scores(values, labels)
    if metric == "macro_f1":
        scores["macro_f1_score"] = macro_f1_score(values, labels)
    return scores


def _rows(about: Row, split: str, scores: Mapping[str, float], examples: int) -> Iterator[Row]:
    for metric, value in scores.items():
        yield {**about, "split": split, "metric": metric, "value": value, "examples": examples}
