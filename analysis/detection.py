r"""Detection of examples from elsewhere: does a model's confidence tell ID test examples from OOD ones?

A *score* is higher where a model thinks an example in-distribution: the largest softmax probability (Hendrycks and
Gimpel, ICLR 2017) or minus the energy, :math:`T \log \sum_c e^{z_c / T}` (Liu et al., NeurIPS 2020). The shifts of this
house keep their classes, so nothing here says that an example should be refused, only that it can be told.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.probabilities import Floats, log_softmax

METRICS = ("auroc_score", "aupr_in_score", "aupr_out_score", "fpr95_error")


def confidence(logits: npt.ArrayLike) -> Floats:
    """Logarithm of the largest softmax probability, shape ``(examples,)``; orders examples as the probability does.

    Example:
        >>> confidence([[0.0, 0.0]]).round(3).tolist()
        [-0.693]
    """
    values = np.asarray(logits, dtype=np.float64)
    return log_softmax(values).max(axis=-1) if values.size else np.empty(values.shape[:-1])


def negative_energy(logits: npt.ArrayLike, largest: npt.ArrayLike | None = None, temperature: float = 1.0) -> Floats:
    r"""Minus the free energy, :math:`T \log \sum_c e^{z_c / T}`, shape ``(examples,)``; higher is more in-distribution.

    A shift of all logits of an example moves it, so logits that were stored with their largest at 0 need that largest.

    Args:
        logits: Shape ``(examples, classes)``.
        largest: What was taken off each row, shape ``(examples,)``; None if nothing was.
        temperature: T, above 0.

    Raises:
        ValueError: If ``temperature`` is not above 0, or ``largest`` has another shape.

    Example:
        >>> negative_energy([[0.0, 0.0]], largest=[5.0]).round(3).tolist()
        [5.693]
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    values = np.asarray(logits, dtype=np.float64)
    peaks = values.max(axis=-1, initial=-np.inf)
    taken = np.zeros(len(values)) if largest is None else np.asarray(largest, dtype=np.float64)
    if taken.shape != peaks.shape:
        raise ValueError(f"largest must have shape (examples,) = {peaks.shape}, got {taken.shape}")
    rest = np.log(np.exp((values - peaks[:, None]) / temperature).sum(axis=-1))
    return peaks + taken + temperature * rest


def detection_scores(inside: npt.ArrayLike, outside: npt.ArrayLike) -> dict[str, float]:
    r"""How well a score separates ID from OOD examples.

    Args:
        inside: Scores of ID examples, shape ``(examples,)``, higher is more in-distribution.
        outside: Scores of OOD examples, of any number.

    Returns:
        ``auroc_score``: probability that an ID example scores higher than an OOD one, ties counting half; .5 is chance.
        ``aupr_in_score``, ``aupr_out_score``: average precision (a sum of steps, no interpolation) with ID or with OOD
        examples as the positives; chance is the positives' share, so both depend on the sizes. ``fpr95_error``: share
        of OOD examples that pass the strictest threshold which at least 95 % of the ID examples pass. All in [0, 1];
        NaN if one side has no example.

    Raises:
        ValueError: If a score is NaN, or an array has another shape.

    Example:
        >>> detection_scores([3.0, 2.0], [1.0, 2.0])["auroc_score"]
        0.875
    """
    first, second = _checked("inside", inside), _checked("outside", outside)
    if not first.size or not second.size:
        return dict.fromkeys(METRICS, float("nan"))
    ranks = _ranks(np.concatenate([first, second]))
    above = ranks[: first.size].sum() - first.size * (first.size + 1) / 2
    threshold = np.sort(first)[first.size - int(np.ceil(0.95 * first.size))]
    return {
        "auroc_score": float(above / (first.size * second.size)),
        "aupr_in_score": _average_precision(first, second),
        "aupr_out_score": _average_precision(-second, -first),
        "fpr95_error": float((second >= threshold).mean()),
    }


def detection_columns(
    inside: npt.ArrayLike,
    outside: npt.ArrayLike,
    inside_largest: npt.ArrayLike | None = None,
    outside_largest: npt.ArrayLike | None = None,
) -> dict[str, float]:
    """Detection by confidence and, where the largest logits are known, by energy; under their record names.

    Args:
        inside: Logits of ID examples, shape ``(examples, classes)``.
        outside: Logits of OOD examples.
        inside_largest: What was taken off each row of them, or None where it is not known: no energy then.
        outside_largest: Likewise.

    Returns:
        ``confidence_auroc_score`` and so on, and ``energy_auroc_score`` and so on.
    """
    scores: dict[str, tuple[Any, Any]] = {"confidence": (confidence(inside), confidence(outside))}
    if inside_largest is not None and outside_largest is not None:
        scores["energy"] = negative_energy(inside, inside_largest), negative_energy(outside, outside_largest)
    return {
        f"{name}_{metric}": value for name, pair in scores.items() for metric, value in detection_scores(*pair).items()
    }


def _average_precision(positives: Floats, negatives: Floats) -> float:
    scores = np.concatenate([positives, negatives])
    is_positive = np.concatenate([np.ones(positives.size), np.zeros(negatives.size)])
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    # Equal scores pass a threshold together: only the last of a tie is a point of the curve.
    points = np.append(np.flatnonzero(np.diff(falling) != 0), falling.size - 1)
    hits = np.cumsum(is_positive[order])[points]
    precision, recall = hits / (points + 1), hits / positives.size
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _checked(name: str, scores: npt.ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or np.isnan(values).any():
        raise ValueError(f"{name} must be numbers of shape (examples,) without NaN, got shape {values.shape}")
    return values


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing their mean. Without SciPy's statistics, whose import costs every worker a second."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Floats = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return found
