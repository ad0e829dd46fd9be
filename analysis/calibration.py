"""How far confidence and Brier score say that probabilities are from the truth. No data gives NaN, never 0."""

import numpy as np
import numpy.typing as npt

from analysis.probabilities import checked, softmax


def calibration_error(logits: npt.ArrayLike, labels: npt.ArrayLike, bins: int = 15) -> float:
    r"""Expected calibration error of the largest probability.

    .. math:: \sum_b \frac{n_b}{N} \left| \mathrm{accuracy}_b - \mathrm{confidence}_b \right|

    Equal-width bins ``(low, high]`` over (0, 1], 15 by default (Guo et al., ICML 2017, their equation 3).

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.
        bins: Number of bins, at least 1.

    Returns:
        A fraction in [0, 1]; NaN without examples.

    Raises:
        ValueError: If ``bins`` is below 1, or shapes or labels do not fit.

    Example:
        >>> round(calibration_error([[0.0, 0.0], [0.0, 0.0]], [0, 0]), 3)
        0.5
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    values, truth = checked(logits, labels)
    if not truth.size:
        return float("nan")
    probabilities = softmax(values)
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    inner_edges = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    position = np.searchsorted(inner_edges, confidence, side="left")
    excess = np.bincount(position, weights=right - confidence, minlength=bins)
    return float(np.abs(excess).sum() / truth.size)


def brier_error(logits: npt.ArrayLike, labels: npt.ArrayLike, over_classes: str = "sum") -> float:
    r"""Brier score, :math:`\frac1N\sum_n\sum_c (p_{nc} - [y_n = c])^2`.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.
        over_classes: ``sum`` (standard, in [0, 2]) or ``mean`` (mixmo's convention, divided by the classes).

    Returns:
        The error; NaN without examples.

    Raises:
        ValueError: If ``over_classes`` is neither, or shapes or labels do not fit.
    """
    if over_classes not in ("sum", "mean"):
        raise ValueError(f"over_classes must be sum or mean, got {over_classes!r}")
    values, truth = checked(logits, labels)
    if not truth.size:
        return float("nan")
    residual = softmax(values)
    residual[np.arange(truth.size), truth] -= 1.0
    squares = (residual**2).sum(axis=1).mean()
    return float(squares if over_classes == "sum" else squares / values.shape[1])
