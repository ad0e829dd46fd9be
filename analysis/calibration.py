"""How far confidence and Brier score say that probabilities are from the truth. No data gives NaN, never 0.

Three binned errors: of the largest probability in bins of equal width, of every class's probability in bins of equal
width, and of the largest probability in bins of equal mass. Bins of equal width are ``(low, high]``; 0 is in the first.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.probabilities import Floats, Integers, checked, log_softmax, softmax

BINS = 15


def calibration_error(logits: npt.ArrayLike, labels: npt.ArrayLike, bins: int = BINS) -> float:
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
    return _of_confidence(*_answers(logits, labels, bins), bins)


def classwise_calibration_error(logits: npt.ArrayLike, labels: npt.ArrayLike, bins: int = BINS) -> float:
    r"""Calibration error of each class's probability, averaged over the classes.

    .. math:: \frac1C\sum_c \sum_b \frac{n_{bc}}{N} \left| \mathrm{frequency}_{bc} - \mathrm{probability}_{bc} \right|

    In class :math:`c`, every example is binned by its probability of :math:`c`; the frequency is the fraction of a
    bin's examples whose label is :math:`c` (Kull et al., NeurIPS 2019, section 2). A class without an example counts
    with its probabilities. With many classes most probabilities are near 0 and the average is small: it compares
    models on one benchmark, not benchmarks.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.
        bins: Number of bins, at least 1.

    Returns:
        A fraction in [0, 1]; NaN without examples.

    Raises:
        ValueError: If ``bins`` is below 1, or shapes or labels do not fit.

    Example:
        >>> round(classwise_calibration_error([[0.0, 0.0], [0.0, 0.0]], [0, 0]), 3)
        0.5
    """
    return _of_classes(*_answers(logits, labels, bins), bins)


def adaptive_calibration_error(logits: npt.ArrayLike, labels: npt.ArrayLike, bins: int = BINS) -> float:
    r"""Calibration error of the largest probability in bins of equal mass.

    .. math:: \sum_b \frac{n_b}{N} \left| \mathrm{accuracy}_b - \mathrm{confidence}_b \right|

    Bins of equally many examples by rising confidence, after Nguyen and O'Connor (EMNLP 2015), who take the root mean
    square where this takes the mean of absolute gaps; the bins of Nixon et al. (2019), whose ACE also averages over the
    classes, here for the largest probability alone (Mukhoti et al., NeurIPS 2020, call this AdaECE). Remainder: of N
    examples the N mod ``bins`` lowest bins hold one more than the others; with fewer examples than bins each is a bin.
    Ties: examples of equal confidence each count with their mean accuracy, so that neither the order of the examples
    nor the bin into which a tie is cut changes the result.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.
        bins: Number of bins, at least 1.

    Returns:
        A fraction in [0, 1]; NaN without examples.

    Raises:
        ValueError: If ``bins`` is below 1, or shapes or labels do not fit.

    Example:
        >>> round(adaptive_calibration_error([[0.0, 0.0], [0.0, 0.0]], [0, 1], bins=2), 3)
        0.0
    """
    return _of_equal_mass(*_answers(logits, labels, bins), bins)


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
    probabilities, truth = _answers(logits, labels)
    error = _of_squares(probabilities, truth)
    return error if over_classes == "sum" else error / probabilities.shape[1]


def calibration_scores(logits: npt.ArrayLike, labels: npt.ArrayLike, bins: int = BINS) -> dict[str, float]:
    """All errors of this file and the cross-entropy under their record names, from one softmax.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.
        bins: Number of bins, at least 1.

    Returns:
        ``cross_entropy_error`` (nats), ``brier_error`` (sum over classes), ``calibration_error``,
        ``classwise_calibration_error``, ``adaptive_calibration_error``; each as its own function gives it.

    Raises:
        ValueError: If ``bins`` is below 1, or shapes or labels do not fit.
    """
    _check_bins(bins)
    values, truth = checked(logits, labels)
    log_probabilities = log_softmax(values) if truth.size else values
    probabilities = np.exp(log_probabilities)
    picked = log_probabilities[np.arange(truth.size), truth]
    return {
        "cross_entropy_error": float(-picked.mean()) if truth.size else float("nan"),
        "brier_error": _of_squares(probabilities, truth),
        "calibration_error": _of_confidence(probabilities, truth, bins),
        "classwise_calibration_error": _of_classes(probabilities, truth, bins),
        "adaptive_calibration_error": _of_equal_mass(probabilities, truth, bins),
    }


def reliability_curve(logits: npt.ArrayLike, labels: npt.ArrayLike, bins: int = BINS) -> pd.DataFrame:
    """What :func:`calibration_error` sums up: accuracy against confidence, one row a bin of equal width.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.
        bins: Number of bins, at least 1.

    Returns:
        Columns ``low``, ``high`` (edges of ``(low, high]``), ``confidence`` (mean of the largest probabilities),
        ``accuracy`` (fraction right), ``examples``; NaN where a bin is empty.

    Raises:
        ValueError: If ``bins`` is below 1, or shapes or labels do not fit.

    Example:
        >>> reliability_curve([[0.0, 0.0], [9.0, 0.0]], [1, 0], bins=2).round(2).to_numpy().tolist()
        [[0.0, 0.5, 0.5, 0.0, 1.0], [0.5, 1.0, 1.0, 1.0, 1.0]]
    """
    probabilities, truth = _answers(logits, labels, bins)
    confidence, right = _confidence(probabilities, truth)
    position = _positions(confidence, bins)
    examples = np.bincount(position, minlength=bins)
    sums = [np.bincount(position, weights=values, minlength=bins) for values in (confidence, right)]
    means = [np.divide(total, examples, out=np.full(bins, np.nan), where=examples > 0) for total in sums]
    edges = np.linspace(0.0, 1.0, bins + 1)
    return pd.DataFrame(
        {"low": edges[:-1], "high": edges[1:], "confidence": means[0], "accuracy": means[1], "examples": examples}
    )


def _answers(logits: npt.ArrayLike, labels: npt.ArrayLike, bins: int = BINS) -> tuple[Floats, Integers]:
    _check_bins(bins)
    values, truth = checked(logits, labels)
    return softmax(values) if truth.size else values, truth


def _check_bins(bins: int) -> None:
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")


def _confidence(probabilities: Floats, truth: Integers) -> tuple[Floats, Floats]:
    if not truth.size:
        return np.empty(0), np.empty(0)
    return probabilities.max(axis=1), (probabilities.argmax(axis=1) == truth).astype(np.float64)


def _positions(values: Floats, bins: int) -> npt.NDArray[np.intp]:
    return np.searchsorted(np.linspace(0.0, 1.0, bins + 1)[1:-1], values, side="left")


def _of_confidence(probabilities: Floats, truth: Integers, bins: int) -> float:
    if not truth.size:
        return float("nan")
    confidence, right = _confidence(probabilities, truth)
    excess = np.bincount(_positions(confidence, bins), weights=right - confidence, minlength=bins)
    return float(np.abs(excess).sum() / truth.size)


def _of_classes(probabilities: Floats, truth: Integers, bins: int) -> float:
    if not truth.size:
        return float("nan")
    classes = probabilities.shape[1]
    position = _positions(probabilities, bins) + bins * np.arange(classes)
    excess = np.bincount(position.ravel(), weights=-probabilities.ravel(), minlength=bins * classes)
    hits = np.bincount(position[np.arange(truth.size), truth], minlength=bins * classes)
    return float(np.abs(excess + hits).sum() / (truth.size * classes))


def _of_equal_mass(probabilities: Floats, truth: Integers, bins: int) -> float:
    if not truth.size:
        return float("nan")
    confidence, right = _confidence(probabilities, truth)
    order = np.argsort(confidence, kind="stable")
    rising = confidence[order]
    ties = np.flatnonzero(np.diff(rising, prepend=-1.0) > 0.0)
    tied = np.diff(ties, append=truth.size)
    accuracy = np.repeat(np.add.reduceat(right[order], ties) / tied, tied)
    sizes = truth.size // bins + (np.arange(bins) < truth.size % bins)
    starts = (np.cumsum(sizes) - sizes)[sizes > 0]
    return float(np.abs(np.add.reduceat(accuracy - rising, starts)).sum() / truth.size)


def _of_squares(probabilities: Floats, truth: Integers) -> float:
    if not truth.size:
        return float("nan")
    residual = probabilities.copy()
    residual[np.arange(truth.size), truth] -= 1.0
    return float((residual**2).sum(axis=1).mean())
