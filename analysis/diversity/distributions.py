r"""How members' predicted distributions differ: divergences, entropies, variance, and members that count.

Logarithms are natural, so divergences and entropies are in nats. Over members: mean over pairs unless a measure is of
all members at once; then mean over examples. Fewer than two members, or no example, give NaN. Sums over examples of the
pairwise products are all that is kept, so that arrays may be read in parts (:func:`sum_distributions`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.diversity.ensembles import members_and_labels
from analysis.diversity.pairs import Sums, mean_over_pairs
from analysis.probabilities import Floats, log_softmax


@dataclass(frozen=True)
class DistributionSums(Sums):
    """Sums over examples, all this file's measures need; those of parts of the examples add up.

    Attributes:
        examples: Number of examples.
        cross: Of :math:`\\sum_c p_{ic} \\log p_{jc}`, shape ``(members, members)``; on the diagonal minus the entropy.
        mixed: Entropy of the mean of two members' distributions, above the diagonal of the same shape.
        affinity: Of :math:`\\sum_c \\sqrt{p_{ic} p_{jc}}`, same shape.
        product: Of :math:`\\sum_c p_{ic} p_{jc}`, same shape.
        whole_entropy: Entropy of the mean of all members' distributions.
    """

    examples: int
    cross: Floats
    mixed: Floats
    affinity: Floats
    product: Floats
    whole_entropy: float


def sum_distributions(log_probabilities: Floats) -> DistributionSums:
    """The sums of some examples.

    Args:
        log_probabilities: float64 ``(members, examples, classes)``, normalised. Several arrays of this size are made.
    """
    members, examples, _ = log_probabilities.shape
    logs = log_probabilities.reshape(members, -1)
    probabilities = np.exp(logs)
    roots = np.sqrt(probabilities)
    mixed = np.zeros((members, members))
    for first in range(members - 1):
        sums = probabilities[first] + probabilities[first + 1 :]
        # Entropy of half the sum: the sum's own, less what the factor of one half adds.
        mixed[first, first + 1 :] = examples * np.log(2.0) - 0.5 * _entropy_sums(sums)
    whole = probabilities.mean(axis=0)
    return DistributionSums(
        examples,
        probabilities @ logs.T,
        mixed,
        roots @ roots.T,
        probabilities @ probabilities.T,
        float(-_entropy_sums(whole[None])[0]),
    )


def kl_divergence_score(logits: npt.ArrayLike) -> float:
    r"""Kullback-Leibler divergence between two members, :math:`\sum_c p_c \log(p_c / q_c)`, in nats.

    Mean over ORDERED pairs, which is half of the symmetrised (Jeffreys) divergence over unordered ones.

    Args:
        logits: Shape ``(members, examples, classes)``.

    Example:
        >>> round(kl_divergence_score(np.log([[[0.5, 0.5]], [[0.25, 0.75]]])), 4)
        0.1373
    """
    return kl_divergence(_sums(logits))


def js_divergence_score(logits: npt.ArrayLike) -> float:
    r"""Jensen-Shannon divergence between two members, :math:`H(\frac{p+q}2) - \frac{H(p) + H(q)}2`, in [0, log 2] nats.

    Args:
        logits: Shape ``(members, examples, classes)``.

    Example:
        >>> round(float(js_divergence_score([[[90.0, 0.0]], [[0.0, 90.0]]]) / np.log(2)), 6)
        1.0
    """
    return js_divergence(_sums(logits))


def mutual_information_score(logits: npt.ArrayLike) -> float:
    r"""Mutual information of prediction and member, in [0, log M] nats: what members disagree on.

    .. math:: H\Bigl(\frac1M \sum_m p_m\Bigr) - \frac1M \sum_m H(p_m)

    Epistemic uncertainty in the split of Depeweg et al. (ICML 2018); the Jensen-Shannon divergence of all members.

    Args:
        logits: Shape ``(members, examples, classes)``.

    Example:
        >>> round(float(mutual_information_score([[[90.0, 0.0]], [[0.0, 90.0]]]) / np.log(2)), 6)
        1.0
    """
    return mutual_information(_sums(logits))


def predictive_entropy_score(logits: npt.ArrayLike) -> float:
    r"""Entropy of the ensemble's mean probabilities, in [0, log C] nats: total uncertainty, diverse or not.

    Args:
        logits: Shape ``(members, examples, classes)``.

    Example:
        >>> round(float(predictive_entropy_score([[[90.0, 0.0]], [[0.0, 90.0]]]) / np.log(2)), 6)
        1.0
    """
    return predictive_entropy(_sums(logits))


def member_entropy_score(logits: npt.ArrayLike) -> float:
    r"""Mean entropy of the members' own distributions, in [0, log C] nats: the part of it that they share.

    Args:
        logits: Shape ``(members, examples, classes)``.

    Example:
        >>> round(float(member_entropy_score([[[0.0, 0.0]], [[0.0, 90.0]]]) / np.log(2)), 6)
        0.5
    """
    return member_entropy(_sums(logits))


def prediction_variance_score(logits: npt.ArrayLike) -> float:
    r"""Variance of members' probabilities around their mean, SUMMED over classes, divided by M (not M - 1).

    .. math:: \frac1N \sum_n \sum_c \frac1M \sum_m (p_{mnc} - \bar p_{nc})^2

    Exactly what the ensemble's Brier score gains over its members' mean (Krogh and Vedelsby's ambiguity). In [0, 1).

    Args:
        logits: Shape ``(members, examples, classes)``.

    Example:
        >>> round(prediction_variance_score([[[90.0, 0.0]], [[0.0, 90.0]]]), 6)
        0.5
    """
    return prediction_variance(_sums(logits))


def effective_members_score(logits: npt.ArrayLike) -> float:
    r"""Effective number of different members, in [1, M]: the Vendi score of their predictions.

    .. math:: \exp\Bigl(-\sum_i \lambda_i \log \lambda_i\Bigr), \qquad \lambda = \text{eigenvalues of } S / M, \quad
              S_{ij} = \frac1N \sum_n \sum_c \sqrt{p_{inc}\,p_{jnc}}

    1 if all predict the same, M if no two put probability on a common class. The similarity is Bhattacharyya's
    coefficient; the score is Friedman and Dieng's (TMLR 2023), of order 1.

    Args:
        logits: Shape ``(members, examples, classes)``.

    Example:
        >>> round(effective_members_score([[[90.0, 0.0]], [[0.0, 90.0]]]), 6)
        2.0
    """
    return effective_members(_sums(logits))


def kl_divergence(sums: DistributionSums) -> float:
    """:func:`kl_divergence_score` of sums."""
    own = np.diag(sums.cross)
    one_way = own[:, None] - sums.cross
    return _mean(sums, 0.5 * mean_over_pairs(np.maximum(one_way + one_way.T, 0.0)))


def js_divergence(sums: DistributionSums) -> float:
    """:func:`js_divergence_score` of sums."""
    own = -np.diag(sums.cross)
    return _mean(sums, mean_over_pairs(np.maximum(sums.mixed - 0.5 * (own[:, None] + own[None, :]), 0.0)))


def mutual_information(sums: DistributionSums) -> float:
    """:func:`mutual_information_score` of sums."""
    return _mean(sums, max(sums.whole_entropy + float(np.trace(sums.cross)) / max(len(sums.cross), 1), 0.0))


def predictive_entropy(sums: DistributionSums) -> float:
    """:func:`predictive_entropy_score` of sums."""
    return _mean(sums, sums.whole_entropy)


def member_entropy(sums: DistributionSums) -> float:
    """:func:`member_entropy_score` of sums."""
    return _mean(sums, -float(np.trace(sums.cross)) / max(len(sums.cross), 1))


def prediction_variance(sums: DistributionSums) -> float:
    """:func:`prediction_variance_score` of sums."""
    members = max(len(sums.product), 1)
    spread = float(np.trace(sums.product)) / members - float(sums.product.sum()) / members**2
    return _mean(sums, max(spread, 0.0))


def effective_members(sums: DistributionSums) -> float:
    """:func:`effective_members_score` of sums."""
    members = len(sums.affinity)
    if members < 2 or not sums.examples:
        return float("nan")
    shares = np.linalg.eigvalsh(sums.affinity / (sums.examples * members)).clip(min=0.0)
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


Measure = Callable[[DistributionSums], float]
MEASURES: dict[str, Measure] = {
    "kl_divergence_score": kl_divergence,
    "js_divergence_score": js_divergence,
    "mutual_information_score": mutual_information,
    "predictive_entropy_score": predictive_entropy,
    "member_entropy_score": member_entropy,
    "prediction_variance_score": prediction_variance,
    "effective_members_score": effective_members,
}
"""The measures of this file under their record names."""


def _sums(logits: npt.ArrayLike) -> DistributionSums:
    shape = np.shape(logits)
    values, _ = members_and_labels(logits, np.zeros(shape[1] if len(shape) == 3 else 0, dtype=np.int64))
    return sum_distributions(log_softmax(values) if values.size else values)


def _entropy_sums(values: Floats) -> Floats:
    """Sums of :math:`x \\log x` over each row, 0 where x is 0."""
    logs = np.maximum(values, np.finfo(np.float64).tiny)
    np.log(logs, out=logs)
    return np.einsum("ij,ij->i", values, logs)


def _mean(sums: DistributionSums, total: float) -> float:
    return total / sums.examples if sums.examples and len(sums.cross) >= 2 else float("nan")
