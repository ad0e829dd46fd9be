"""Accuracy and cross-entropy of logits, over all examples and over groups of classes. No data gives NaN, never 0."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from analysis.probabilities import Floats, checked, log_softmax


def correct(logits: npt.ArrayLike, labels: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether the largest logit is the label's; ties go to the lower class. Shape ``(examples,)``.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Whole numbers in ``[0, classes)``, shape ``(examples,)``.

    Raises:
        ValueError: If shapes or labels do not fit.
    """
    values, truth = checked(logits, labels)
    return values.argmax(axis=1) == truth


def accuracy_score(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Fraction of right answers, in [0, 1]; NaN without examples.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.

    Example:
        >>> accuracy_score([[1.0, 0.0], [1.0, 0.0]], [0, 1])
        0.5
    """
    right = correct(logits, labels)
    return float(right.mean()) if right.size else float("nan")


def cross_entropy_error(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Mean negative log-likelihood :math:`-\frac1N\sum_n \log p_n(y_n)`, in nats; NaN without examples."""
    values, truth = checked(logits, labels)
    if not truth.size:
        return float("nan")
    return float(-log_softmax(values)[np.arange(truth.size), truth].mean())


def per_class_accuracy_score(logits: npt.ArrayLike, labels: npt.ArrayLike) -> Floats:
    """Accuracy within each class, shape ``(classes,)``; NaN where a class has no example."""
    values, truth = checked(logits, labels)
    right = values.argmax(axis=1) == truth
    examples = np.bincount(truth, minlength=values.shape[1]).astype(np.float64)
    hits = np.bincount(truth[right], minlength=values.shape[1]).astype(np.float64)
    return np.divide(hits, examples, out=np.full(values.shape[1], np.nan), where=examples > 0)


def macro_f1_score(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Mean over the labels PRESENT among the examples of :math:`F_1 = 2\,TP / (2\,TP + FP + FN)`, in [0, 1].

    The convention of WILDS (Koh et al., ICML 2021) for iWildCam: a class that is predicted but never true has no term
    of its own, while scikit-learn without ``labels=`` gives it one, a zero. NaN without examples.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.

    Example:
        >>> round(macro_f1_score([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [0, 1, 1]), 3)
        0.333
    """
    values, truth = checked(logits, labels)
    if not truth.size:
        return float("nan")
    answers, classes = values.argmax(axis=1), values.shape[1]
    examples = np.bincount(truth, minlength=classes)
    hits = np.bincount(truth[answers == truth], minlength=classes)
    scores = 2.0 * hits / np.maximum(examples + np.bincount(answers, minlength=classes), 1)
    return float(scores[examples > 0].mean())


def group_accuracy_score(logits: npt.ArrayLike, labels: npt.ArrayLike, classes: Sequence[int]) -> float:
    """Mean over a group's classes of the accuracy within the class (many, medium, few shots).

    Classes without an example in this split are left out; an empty group, or one without examples, is NaN.
    Convention of Kang et al. (ICLR 2020), also used by LIFT and LT-Soups.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.
        classes: The group's class numbers, without repetition.

    Raises:
        ValueError: If a class number is repeated or outside the logits' classes.

    Example:
        >>> group_accuracy_score([[1.0, 0.0], [1.0, 0.0]], [0, 1], classes=[1])
        0.0
    """
    scores = per_class_accuracy_score(logits, labels)
    wrong = [number for number in classes if not 0 <= number < scores.size]
    if wrong or len(set(classes)) != len(classes):
        raise ValueError(f"a group lists different classes in [0, {scores.size}), got {list(classes)}")
    chosen = scores[list(classes)]
    chosen = chosen[~np.isnan(chosen)]
    return float(chosen.mean()) if chosen.size else float("nan")


def worst_group_accuracy_score(logits: npt.ArrayLike, labels: npt.ArrayLike, groups: npt.ArrayLike) -> float:
    """Smallest accuracy over groups of EXAMPLES (cameras, domains, subgroups), in [0, 1]; NaN without examples.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.
        groups: The group of each example, any names or numbers, shape ``(examples,)``.

    Raises:
        ValueError: If shapes or labels do not fit.

    Example:
        >>> worst_group_accuracy_score([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], [0, 0, 1], ["a", "b", "b"])
        0.5
    """
    right = correct(logits, labels)
    _, number = np.unique(np.asarray(groups), return_inverse=True)
    if number.shape != right.shape:
        raise ValueError(f"groups must have shape (examples,) = {right.shape}, got {number.shape}")
    if not right.size:
        return float("nan")
    return float((np.bincount(number, weights=right) / np.bincount(number)).min())


def harmonic_accuracy_score(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Harmonic mean over classes of the accuracy within the class, in [0, 1]; a class never got right makes it 0.

    For long tails: the few classes that are seldom right decide. Classes without an example are left out; NaN without
    examples.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.

    Example:
        >>> round(harmonic_accuracy_score([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0, 1, 1]), 3)
        0.667
    """
    scores = per_class_accuracy_score(logits, labels)
    scores = scores[~np.isnan(scores)]
    if not scores.size:
        return float("nan")
    return float(scores.size / (1.0 / scores).sum()) if scores.all() else 0.0


SCORES: Mapping[str, Callable[[npt.ArrayLike, npt.ArrayLike], float]] = {
    "accuracy": accuracy_score,
    "macro_f1": macro_f1_score,
}
"""What a benchmark may name as its metric."""
