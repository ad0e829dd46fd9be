r"""How members of an ensemble differ in their answers, and what their ensemble gains.

Pairwise definitions from fractions of the examples: :math:`N_{11}` both right, :math:`N_{10}`, :math:`N_{01}` one
right, :math:`N_{00}` both wrong (not necessarily the same wrong label). Over members: mean over unordered pairs i < j.
Conventions as in the code of DiWA (Rame et al., NeurIPS 2022). Fewer than two members give NaN.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from analysis.accuracy import accuracy_score
from analysis.probabilities import Floats, Integers, log_softmax


def label_disagreement_score(predictions: npt.ArrayLike) -> float:
    """Probability that two members predict different labels, in [0, 1]; higher is more diverse.

    Args:
        predictions: Predicted labels, shape ``(members, examples)``.

    Example:
        >>> label_disagreement_score([[0, 1], [0, 2]])
        0.5
    """
    answers = _matrix(predictions)
    if not answers.shape[1]:
        return float("nan")
    return _mean_over_pairs(len(answers), lambda i, j: float(np.mean(answers[i] != answers[j])))


def ratio_error_score(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Ratio of different to shared errors, :math:`(N_{01}+N_{10})/N_{00}`, or :math:`2(N_{01}+N_{10})` if
    :math:`N_{00}=0`; higher is more diverse, in [0, examples).
    """

    def ratio(_: float, n10: float, n01: float, n00: float) -> float:
        return (n01 + n10) / n00 if n00 > 0 else 2.0 * (n01 + n10)

    return _over_contingencies(predictions, labels, ratio)


def q_statistic_error(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Yule's :math:`Q = (N_{11}N_{00} - N_{01}N_{10})/(N_{11}N_{00} + N_{01}N_{10})`, in [-1, 1]; lower is more
    diverse. Pairs with a zero denominator are left out; NaN if none is left.
    """

    def statistic(n11: float, n10: float, n01: float, n00: float) -> float:
        denominator = n11 * n00 + n01 * n10
        return (n11 * n00 - n01 * n10) / denominator if denominator > 0 else float("nan")

    return _over_contingencies(predictions, labels, statistic)


def double_fault_error(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Fraction of examples that both members get wrong, :math:`N_{00}`, in [0, 1]; lower is more diverse."""
    return _over_contingencies(predictions, labels, lambda n11, n10, n01, n00: n00)


def normalised_disagreement_score(
    logits: npt.ArrayLike, labels: npt.ArrayLike, combine: str = "probabilities"
) -> float:
    """Number of disagreements of a pair over the number of errors of the pair's ensemble (at least 1).

    Args:
        logits: Shape ``(members, examples, classes)``.
        labels: Shape ``(examples,)``.
        combine: How the pair's ensemble is formed, see :func:`ensemble_log_probabilities`.
    """
    members, truth = _members(logits, labels)
    answers = members.argmax(axis=2)

    def normalised(i: int, j: int) -> float:
        pair = ensemble_log_probabilities(members[[i, j]], combine).argmax(axis=1)
        return float(np.sum(answers[i] != answers[j]) / max(int(np.sum(pair != truth)), 1))

    return _mean_over_pairs(len(members), normalised if truth.size else lambda i, j: float("nan"))


def ensemble_log_probabilities(logits: npt.ArrayLike, combine: str = "probabilities") -> Floats:
    """Log-probabilities of the members' ensemble.

    Args:
        logits: Shape ``(members, examples, classes)``, at least one member.
        combine: ``probabilities`` averages probabilities (default); ``log_probabilities`` averages their logarithms
            and renormalises (as HR-Mixout's evaluation does).

    Returns:
        Shape ``(examples, classes)``.

    Raises:
        ValueError: If ``combine`` is neither, the shape is not three-dimensional, or there is no member.

    Example:
        >>> np.exp(ensemble_log_probabilities([[[0.0, 0.0]], [[50.0, 0.0]]])).round(2).tolist()
        [[0.75, 0.25]]
    """
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 3 or not len(values):
        raise ValueError(f"logits must have shape (members >= 1, examples, classes), got {values.shape}")
    log_probabilities = log_softmax(values)
    if combine == "probabilities":
        return np.asarray(np.logaddexp.reduce(log_probabilities, axis=0) - np.log(len(values)))
    if combine == "log_probabilities":
        return log_softmax(log_probabilities.mean(axis=0))
    raise ValueError(f"combine must be probabilities or log_probabilities, got {combine!r}")


def ensemble_gain_score(logits: npt.ArrayLike, labels: npt.ArrayLike, combine: str = "probabilities") -> float:
    """Accuracy of the ensemble minus the members' mean accuracy, in [-1, 1]; 0 for one member, NaN without examples."""
    members, truth = _members(logits, labels)
    ensemble = accuracy_score(ensemble_log_probabilities(members, combine), truth)
    return ensemble - float(np.mean([accuracy_score(member, truth) for member in members]))


def diversity_scores(logits: npt.ArrayLike, labels: npt.ArrayLike, combine: str = "probabilities") -> dict[str, float]:
    """All measures of this file under their record names, for one split.

    Args:
        logits: Shape ``(members, examples, classes)``.
        labels: Shape ``(examples,)``.
        combine: How ensembles are formed.
    """
    members, truth = _members(logits, labels)
    answers = members.argmax(axis=2)
    return {
        "label_disagreement_score": label_disagreement_score(answers),
        "ratio_error_score": ratio_error_score(answers, truth),
        "q_statistic_error": q_statistic_error(answers, truth),
        "double_fault_error": double_fault_error(answers, truth),
        "normalised_disagreement_score": normalised_disagreement_score(members, truth, combine),
        "ensemble_gain_score": ensemble_gain_score(members, truth, combine),
    }


def _over_contingencies(
    predictions: npt.ArrayLike, labels: npt.ArrayLike, measure: Callable[[float, float, float, float], float]
) -> float:
    answers = _matrix(predictions)
    truth = np.asarray(labels)
    if truth.shape != answers.shape[1:]:
        raise ValueError(f"labels must have shape (examples,) = {answers.shape[1:]}, got {truth.shape}")
    right = answers == truth
    if not truth.size:
        return float("nan")

    def of_pair(i: int, j: int) -> float:
        a, b = right[i], right[j]
        return measure(*(float(np.mean(both)) for both in (a & b, a & ~b, ~a & b, ~a & ~b)))

    return _mean_over_pairs(len(answers), of_pair)


def _mean_over_pairs(members: int, measure: Callable[[int, int], float]) -> float:
    values = [measure(i, j) for i in range(members) for j in range(i + 1, members)]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _matrix(predictions: npt.ArrayLike) -> Integers:
    answers = np.asarray(predictions)
    if answers.ndim != 2 or (answers.size and not np.issubdtype(answers.dtype, np.integer)):
        raise ValueError(
            f"predictions must be whole numbers of shape (members, examples), got {answers.dtype} {answers.shape}"
        )
    return answers.astype(np.int64)


def _members(logits: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Integers]:
    values = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(labels)
    if values.ndim != 3 or truth.shape != values.shape[1:2]:
        raise ValueError(
            f"logits must have shape (members, examples, classes) and labels (examples,), "
            f"got {values.shape} and {truth.shape}"
        )
    return values, truth.astype(np.int64)
