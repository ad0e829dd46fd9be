"""Every measure of members' logits at once, in one pass over parts of the examples, so that arrays need not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from analysis.diversity import answers, distributions
from analysis.diversity.answers import AnswerCounts, count_answers
from analysis.diversity.distributions import DistributionSums, sum_distributions
from analysis.diversity.ensembles import check_combine, check_shapes
from analysis.diversity.pairs import Sums, mean_over_pairs
from analysis.probabilities import Floats, Integers, log_softmax

ENTRIES = 1 << 18
"""Logits of all members that are worked on at once: 2 MB in double precision, near what a core has as cache."""


@dataclass(frozen=True)
class _Sums(Sums):
    answers: AnswerCounts
    distributions: DistributionSums
    pair_errors: Floats
    ensemble_right: float


def diversity_scores(
    logits: npt.ArrayLike | Sequence[npt.NDArray[Any]],
    labels: npt.ArrayLike,
    combine: str = "probabilities",
    threads: int = 1,
) -> dict[str, float]:
    """All measures of logits under their record names, for one split.

    Examples are read in parts, so that members may be memory-mapped files: what is held at once is a few times
    ``ENTRIES`` numbers a thread. Every pair of members is compared; of 20 members the pairs' mixed entropies take most
    of the time.

    Args:
        logits: Shape ``(members, examples, classes)``, or one array ``(examples, classes)`` a member.
        labels: Shape ``(examples,)``.
        combine: How ensembles are formed, see :func:`analysis.diversity.ensemble_log_probabilities`.
        threads: Parts that are worked on at the same time. The numbers do not depend on it.

    Returns:
        The measures of :mod:`analysis.diversity.answers` and :mod:`analysis.diversity.distributions`,
        ``normalised_disagreement_score`` and ``ensemble_gain_score``. With a single member all but the gain, 0, are
        NaN; without examples all are.

    Raises:
        ValueError: If shapes do not fit, or ``combine`` is unknown.

    Example:
        >>> found = diversity_scores([[[9.0, 0.0], [0.0, 9.0]], [[9.0, 0.0], [9.0, 0.0]]], [0, 0])
        >>> found["label_disagreement_score"], found["ensemble_gain_score"]
        (0.5, 0.25)
    """
    members, truth = _checked(logits, labels, combine)
    if not truth.size:
        empty = [*answers.MEASURES, *distributions.MEASURES, "normalised_disagreement_score", "ensemble_gain_score"]
        return dict.fromkeys(empty, float("nan"))
    sums = _sum_parts(members, truth, combine, threads)
    found = {name: measure(sums.answers) for name, measure in answers.MEASURES.items()}
    found |= {name: measure(sums.distributions) for name, measure in distributions.MEASURES.items()}
    found["normalised_disagreement_score"] = _normalised(sums.answers, sums.pair_errors)
    members_right = float(np.trace(sums.answers.right)) / len(members)
    found["ensemble_gain_score"] = (sums.ensemble_right - members_right) / truth.size
    return found


def normalised_disagreement_score(
    logits: npt.ArrayLike, labels: npt.ArrayLike, combine: str = "probabilities"
) -> float:
    """Number of disagreements of a pair over the number of errors of the pair's ensemble (at least 1).

    Args:
        logits: Shape ``(members, examples, classes)``.
        labels: Shape ``(examples,)``.
        combine: How the pair's ensemble is formed, see :func:`analysis.diversity.ensemble_log_probabilities`.

    Example:
        >>> normalised_disagreement_score([[[9.0, 0.0], [0.0, 9.0]], [[9.0, 0.0], [1.0, 0.0]]], [0, 0])
        1.0
    """
    return diversity_scores(logits, labels, combine)["normalised_disagreement_score"]


def _checked(
    logits: npt.ArrayLike | Sequence[npt.NDArray[Any]], labels: npt.ArrayLike, combine: str
) -> tuple[Sequence[npt.NDArray[Any]], Integers]:
    members = [np.asanyarray(member) for member in logits]  # type: ignore[union-attr]
    truth = np.asarray(labels)
    shapes = {member.shape for member in members}
    check_shapes((len(members), *shapes.pop()) if len(shapes) == 1 else np.shape(logits), truth.shape)
    check_combine(combine)
    if truth.size and not np.issubdtype(truth.dtype, np.integer):
        raise ValueError(f"labels must be whole numbers, got dtype {truth.dtype}; convert them first")
    return members, truth.astype(np.int64)


def _parts(members: int, shape: tuple[int, ...]) -> Iterator[slice]:
    examples, classes = shape
    size = max(1, ENTRIES // max(1, members * classes))
    return (slice(start, start + size) for start in range(0, examples, size))


def _sum_parts(members: Sequence[npt.NDArray[Any]], truth: Integers, combine: str, threads: int) -> _Sums:
    parts = list(_parts(len(members), members[0].shape))
    if len(parts) == 1:
        return _sum(members, truth, parts[0], combine)
    # Threads of BLAS gain nothing on products this small, and their waiting costs more than all the rest.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        # Added in the order of the examples, whichever thread is first.
        return reduce(add, pool.map(lambda part: _sum(members, truth, part, combine), parts))


def _sum(members: Sequence[npt.NDArray[Any]], truth: Integers, part: slice, combine: str) -> _Sums:
    values = np.stack([np.asarray(member[part], dtype=np.float64) for member in members])
    labels = truth[part]
    logs = log_softmax(values)
    chosen = values.argmax(axis=2)
    distributed = sum_distributions(logs)
    combined = np.exp(logs) if combine == "probabilities" else logs
    right = combined.mean(axis=0).argmax(axis=1) == labels
    return _Sums(
        count_answers(chosen, labels, values.shape[2]),
        distributed,
        _pair_errors(combined, chosen, labels),
        float(right.sum()),
    )


def _pair_errors(combined: Floats, chosen: Integers, labels: Integers) -> Floats:
    """Errors of each pair's ensemble, above the diagonal of ``(members, members)``."""
    members = len(chosen)
    errors = np.zeros((members, members))
    for first in range(members - 1):
        # Where two members answer alike, so does their ensemble.
        wrong = np.broadcast_to(chosen[first] != labels, (members - first - 1, len(labels))).copy()
        others, examples = np.nonzero(chosen[first + 1 :] != chosen[first])
        together = combined[first, examples] + combined[first + 1 + others, examples]
        wrong[others, examples] = together.argmax(axis=1) != labels[examples]
        errors[first, first + 1 :] = wrong.sum(axis=1)
    return errors


def _normalised(counts: AnswerCounts, pair_errors: Floats) -> float:
    return mean_over_pairs((counts.examples - counts.equal) / np.maximum(pair_errors, 1.0))
