r"""How members' answers differ: measures of predicted labels, and of which of them are right.

Pairwise definitions from fractions of the examples: :math:`N_{11}` both right, :math:`N_{10}`, :math:`N_{01}` one
right, :math:`N_{00}` both wrong (not necessarily the same wrong label). Over members: mean over unordered pairs i < j;
pairs for which a measure is undefined are left out, NaN if none is left. Conventions as in the code of DiWA (Rame et
al., NeurIPS 2022) and in Kuncheva and Whitaker (Machine Learning 2003). Fewer than two members give NaN.

A name ends in ``_score`` where more is more diverse, in ``_error`` where less is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.diversity.pairs import Sums, mean_over_pairs
from analysis.probabilities import Floats, Integers


@dataclass(frozen=True)
class AnswerCounts(Sums):
    """All that this file's measures need of the answers; counts of parts of the examples add up.

    Attributes:
        examples: Number of examples.
        equal: Examples on which two members answer alike, shape ``(members, members)``.
        right: Examples that both get right, same shape; a member's own right answers on the diagonal.
        chosen: How often a member answers a label, shape ``(members, labels)``.
        minority: Sum over examples of the smaller of two numbers: members that are right, members that are wrong.
        vote_entropy: Sum over examples of the entropy of the members' votes, in nats.
    """

    examples: int
    equal: Floats
    right: Floats
    chosen: Floats
    minority: float
    vote_entropy: float


def count_answers(
    predictions: npt.ArrayLike, labels: npt.ArrayLike | None = None, classes: int | None = None
) -> AnswerCounts:
    """Counts what members answer.

    Args:
        predictions: Predicted labels from 0, shape ``(members, examples)``.
        labels: Shape ``(examples,)``; without them no answer counts as right.
        classes: Number of labels; by default one more than the largest predicted.

    Raises:
        ValueError: If shapes do not fit, or a prediction is no whole number from 0.
    """
    answers = _matrix(predictions)
    members, examples = answers.shape
    truth = np.full(examples, -1) if labels is None else np.asarray(labels)
    if truth.shape != (examples,):
        raise ValueError(f"labels must have shape (examples,) = {answers.shape[1:]}, got {truth.shape}")
    classes = classes or int(answers.max(initial=0)) + 1
    is_right = (answers == truth).astype(np.float64)
    alike = answers[:, None, :] == answers[None, :, :]
    right_ones = is_right.sum(axis=0)
    # Each member votes with the share of members that answer as it does.
    votes = alike.sum(axis=1) / max(members, 1)
    rows = answers + classes * np.arange(members)[:, None]
    return AnswerCounts(
        examples,
        alike.sum(axis=2).astype(np.float64),
        is_right @ is_right.T,
        np.bincount(rows.ravel(), minlength=members * classes).reshape(members, classes).astype(np.float64),
        float(np.minimum(right_ones, members - right_ones).sum()),
        float(-np.log(votes).sum() / max(members, 1)),
    )


def label_disagreement_score(predictions: npt.ArrayLike) -> float:
    """Probability that two members predict different labels, in [0, 1]; higher is more diverse.

    Args:
        predictions: Predicted labels, shape ``(members, examples)``.

    Example:
        >>> label_disagreement_score([[0, 1], [0, 2]])
        0.5
    """
    return label_disagreement(count_answers(predictions))


def ratio_error_score(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Ratio of different to shared errors, :math:`(N_{01}+N_{10})/N_{00}`, or :math:`2(N_{01}+N_{10})` if
    :math:`N_{00}=0`; higher is more diverse, in [0, examples).

    Example:
        >>> ratio_error_score([[0, 1, 1], [1, 0, 1]], [0, 0, 0])
        2.0
    """
    return ratio_error(count_answers(predictions, labels))


def q_statistic_error(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Yule's :math:`Q = (N_{11}N_{00} - N_{01}N_{10})/(N_{11}N_{00} + N_{01}N_{10})`, in [-1, 1]; lower is more
    diverse. Pairs with a zero denominator are left out; NaN if none is left.

    Example:
        >>> q_statistic_error([[0, 1, 0, 1], [0, 1, 1, 1]], [0, 0, 0, 0])
        1.0
    """
    return q_statistic(count_answers(predictions, labels))


def double_fault_error(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Fraction of examples that both members get wrong, :math:`N_{00}`, in [0, 1]; lower is more diverse.

    Example:
        >>> double_fault_error([[0, 1], [1, 2]], [0, 0])
        0.5
    """
    return double_fault(count_answers(predictions, labels))


def label_kappa_error(predictions: npt.ArrayLike) -> float:
    r"""Cohen's kappa of two members' predicted LABELS; lower is more diverse, at most 1.

    .. math:: \kappa = \frac{p_o - p_e}{1 - p_e}, \qquad p_o = P[a_i = a_j], \quad p_e = \sum_c P[a_i = c]\,P[a_j = c]

    The convention of Dietterich's kappa-error diagrams (Machine Learning 2000). That of right and wrong answers is
    :func:`error_consistency_error`. Undefined for a pair of which both answer one label only.

    Args:
        predictions: Predicted labels, shape ``(members, examples)``.

    Example:
        >>> label_kappa_error([[0, 0, 1, 1], [0, 1, 1, 1]])
        0.5
    """
    return label_kappa(count_answers(predictions))


def error_consistency_error(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Cohen's kappa of whether two members are RIGHT: error consistency; lower is more diverse, at most 1.

    .. math:: \kappa = \frac{N_{11} + N_{00} - p_e}{1 - p_e}, \qquad p_e = r_i r_j + (1 - r_i)(1 - r_j)

    with accuracies :math:`r`. Geirhos et al. (NeurIPS 2020), their equation 1; the same number as Kuncheva and
    Whitaker's pairwise agreement. Undefined for a pair of which both are always right or both always wrong.

    Example:
        >>> error_consistency_error([[0, 0, 1, 1], [0, 1, 1, 1]], [0, 0, 0, 0])
        0.5
    """
    return error_consistency(count_answers(predictions, labels))


def interrater_kappa_error(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Agreement of ALL members on what is right, beyond chance (Fleiss' kappa); lower is more diverse.

    .. math:: \kappa = 1 - \frac{\sum_n l_n (M - l_n)}{N M (M - 1)\, \bar p\, (1 - \bar p)}

    with :math:`l_n` members right on example n and :math:`\bar p` their mean accuracy (Kuncheva and Whitaker 2003,
    their equation 16). Not a mean over pairs: all members share one accuracy in what is expected by chance.

    Example:
        >>> round(interrater_kappa_error([[0, 0, 1, 1], [0, 1, 1, 1]], [0, 0, 0, 0]), 3)
        0.467
    """
    return interrater_kappa(count_answers(predictions, labels))


def error_correlation_error(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Pearson's correlation of whether two members are right, in [-1, 1]; lower is more diverse.

    .. math:: \rho = \frac{N_{11}N_{00} - N_{01}N_{10}}
              {\sqrt{(N_{11}+N_{10})(N_{01}+N_{00})(N_{11}+N_{01})(N_{10}+N_{00})}}

    Undefined for a pair of which one is always right or always wrong.

    Example:
        >>> round(error_correlation_error([[0, 0, 1, 1], [0, 1, 1, 1]], [0, 0, 0, 0]), 3)
        0.577
    """
    return error_correlation(count_answers(predictions, labels))


def independent_members_score(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""How many independent members would vary as little together, :math:`M / (1 + (M - 1)\,\rho)`.

    :math:`\rho` is the mean correlation of errors over pairs (:func:`error_correlation_error`), held at 0 or above:
    the variance of a mean of M equally correlated errors is that of so many uncorrelated ones. In [1, M].

    Example:
        >>> independent_members_score([[0, 1], [0, 1], [0, 1]], [0, 0])
        1.0
    """
    return independent_members(count_answers(predictions, labels))


def right_entropy_score(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""How evenly members are split into right and wrong, the entropy measure E; in [0, 1], higher is more diverse.

    .. math:: E = \frac1N \sum_n \frac{\min(l_n, M - l_n)}{M - \lceil M/2 \rceil}

    Kuncheva and Whitaker (2003), their equation 15: no logarithm, and 1 if half of the members is right everywhere.

    Example:
        >>> right_entropy_score([[0, 1], [0, 0], [0, 0]], [0, 0])
        0.5
    """
    return right_entropy(count_answers(predictions, labels))


def vote_entropy_score(predictions: npt.ArrayLike) -> float:
    r"""Mean entropy of the shares in which members vote for labels, in nats; in [0, log M], higher is more diverse.

    Example:
        >>> round(vote_entropy_score([[0, 1], [0, 2]]), 3)  # log(2) on one of two examples
        0.347
    """
    return vote_entropy(count_answers(predictions))


def label_disagreement(counts: AnswerCounts) -> float:
    """:func:`label_disagreement_score` of counts."""
    return _over_pairs(counts, 1.0 - _divided(counts.equal, counts.examples))


def ratio_error(counts: AnswerCounts) -> float:
    """:func:`ratio_error_score` of counts."""
    _, n10, n01, n00 = _contingencies(counts)
    one = n10 + n01
    return _over_pairs(counts, np.divide(one, n00, out=2.0 * one, where=n00 > 0))


def q_statistic(counts: AnswerCounts) -> float:
    """:func:`q_statistic_error` of counts."""
    n11, n10, n01, n00 = _contingencies(counts)
    return _over_pairs(counts, _ratio(n11 * n00 - n01 * n10, n11 * n00 + n01 * n10))


def double_fault(counts: AnswerCounts) -> float:
    """:func:`double_fault_error` of counts."""
    return _over_pairs(counts, _contingencies(counts)[3])


def label_kappa(counts: AnswerCounts) -> float:
    """:func:`label_kappa_error` of counts."""
    observed = _divided(counts.equal, counts.examples)
    shares = _divided(counts.chosen, counts.examples)
    chance = shares @ shares.T
    return _over_pairs(counts, _ratio(observed - chance, _without_dust(1.0 - chance)))


def error_consistency(counts: AnswerCounts) -> float:
    """:func:`error_consistency_error` of counts."""
    n11, n10, n01, n00 = _contingencies(counts)
    chance = (n11 + n10) * (n11 + n01) + (n01 + n00) * (n10 + n00)
    return _over_pairs(counts, _ratio(n11 + n00 - chance, _without_dust(1.0 - chance)))


def error_correlation(counts: AnswerCounts) -> float:
    """:func:`error_correlation_error` of counts."""
    n11, n10, n01, n00 = _contingencies(counts)
    spread = (n11 + n10) * (n01 + n00) * (n11 + n01) * (n10 + n00)
    return _over_pairs(counts, _ratio(n11 * n00 - n01 * n10, np.sqrt(np.maximum(spread, 0.0))))


def independent_members(counts: AnswerCounts) -> float:
    """:func:`independent_members_score` of counts."""
    members = len(counts.right)
    return members / (1.0 + (members - 1) * max(error_correlation(counts), 0.0))


def interrater_kappa(counts: AnswerCounts) -> float:
    """:func:`interrater_kappa_error` of counts."""
    members, examples = len(counts.right), counts.examples
    if members < 2 or not examples:
        return float("nan")
    right_ones = float(np.trace(counts.right))
    accuracy = right_ones / (members * examples)
    # The members that are right are counted in pairs: the sum of all entries is the sum of squares of their numbers.
    split = members * right_ones - float(counts.right.sum())
    spread = examples * members * (members - 1) * accuracy * (1.0 - accuracy)
    return 1.0 - split / spread if spread > 0 else float("nan")


def right_entropy(counts: AnswerCounts) -> float:
    """:func:`right_entropy_score` of counts."""
    members = len(counts.right)
    return _mean(counts, counts.minority / (members // 2) if members >= 2 else float("nan"))


def vote_entropy(counts: AnswerCounts) -> float:
    """:func:`vote_entropy_score` of counts."""
    return _mean(counts, counts.vote_entropy)


Measure = Callable[[AnswerCounts], float]
MEASURES: dict[str, Measure] = {
    "label_disagreement_score": label_disagreement,
    "ratio_error_score": ratio_error,
    "q_statistic_error": q_statistic,
    "double_fault_error": double_fault,
    "label_kappa_error": label_kappa,
    "error_consistency_error": error_consistency,
    "interrater_kappa_error": interrater_kappa,
    "error_correlation_error": error_correlation,
    "independent_members_score": independent_members,
    "right_entropy_score": right_entropy,
    "vote_entropy_score": vote_entropy,
}
"""The measures of this file under their record names."""


def _contingencies(counts: AnswerCounts) -> tuple[Floats, Floats, Floats, Floats]:
    """Fractions both right, only the first, only the second, neither; each ``(members, members)``."""
    own = np.diag(counts.right)
    first, second = own[:, None] - counts.right, own[None, :] - counts.right
    neither = counts.examples - counts.right - first - second
    n11, n10, n01, n00 = (_divided(part, counts.examples) for part in (counts.right, first, second, neither))
    return n11, n10, n01, n00


def _over_pairs(counts: AnswerCounts, values: Floats) -> float:
    return mean_over_pairs(values) if counts.examples else float("nan")


def _mean(counts: AnswerCounts, total: float) -> float:
    return total / counts.examples if counts.examples and len(counts.right) >= 2 else float("nan")


def _divided(values: Floats, examples: int) -> Floats:
    return values / max(examples, 1)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _without_dust(values: Floats) -> Floats:
    # One less a sum of products of fractions: what should be 0 may be a rounding error.
    return np.where(values > 1e-12, values, 0.0)


def _matrix(predictions: npt.ArrayLike) -> Integers:
    answers = np.asarray(predictions)
    if answers.ndim != 2 or (answers.size and not np.issubdtype(answers.dtype, np.integer)):
        raise ValueError(
            f"predictions must be whole numbers of shape (members, examples), got {answers.dtype} {answers.shape}"
        )
    if answers.size and answers.min() < 0:
        raise ValueError(f"predictions are labels from 0, got {answers.min()}")
    return answers.astype(np.int64)
