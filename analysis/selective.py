r"""Selective prediction: the error that is left when a model may decline its least confident answers.

Coverage is the fraction of examples answered, in order of falling confidence; risk is the error rate among them
(Geifman and El-Yaniv, NeurIPS 2017). Confidence is the largest probability. Examples of equal confidence are declined
together: within a tie risk is taken as if its errors were spread evenly, so that no order of the examples matters.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.probabilities import Floats, checked, log_softmax


def risk_coverage_curve(logits: npt.ArrayLike, labels: npt.ArrayLike) -> pd.DataFrame:
    """Risk at every coverage 1/N, 2/N ... 1.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.

    Returns:
        Columns ``coverage`` (in (0, 1]) and ``risk`` (error rate of the examples answered); a row an example.

    Raises:
        ValueError: If shapes or labels do not fit.

    Example:
        >>> risk_coverage_curve([[9.0, 0.0], [1.0, 0.0]], [0, 1])["risk"].tolist()
        [0.0, 0.5]
    """
    risks = _risks(logits, labels)
    return pd.DataFrame({"coverage": np.arange(1, risks.size + 1) / max(risks.size, 1), "risk": risks})


def aurc_error(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""Area under the risk-coverage curve, :math:`\frac1N\sum_{k=1}^N \text{risk}(k/N)`, in [0, 1]; lower is better.

    Geifman, Uziel and El-Yaniv (ICLR 2019), section 3: a mean over coverages, not a trapezoid.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.

    Returns:
        NaN without examples.

    Example:
        >>> aurc_error([[9.0, 0.0], [1.0, 0.0]], [0, 1])
        0.25
    """
    return selective_scores(logits, labels)["aurc_error"]


def excess_aurc_error(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    r"""AURC less that of the best order with the same number of errors, all of them last; in [0, 1], lower is better.

    Geifman, Uziel and El-Yaniv's E-AURC with the finite sum in place of their approximation
    :math:`r + (1 - r) \ln(1 - r)`: what is left is the order of the confidences alone, not the error rate r.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.

    Example:
        >>> excess_aurc_error([[9.0, 0.0], [1.0, 0.0]], [0, 1])
        0.0
    """
    return selective_scores(logits, labels)["excess_aurc_error"]


def selective_scores(logits: npt.ArrayLike, labels: npt.ArrayLike) -> dict[str, float]:
    """Both areas of this file under their record names.

    Args:
        logits: Shape ``(examples, classes)``.
        labels: Shape ``(examples,)``.

    Example:
        >>> selective_scores([[1.0, 0.0], [9.0, 0.0]], [0, 1])  # the one error is the most confident answer
        {'aurc_error': 0.75, 'excess_aurc_error': 0.5}
    """
    risks = _risks(logits, labels)
    if not risks.size:
        return {"aurc_error": float("nan"), "excess_aurc_error": float("nan")}
    area = float(risks.mean())
    answered = np.arange(1, risks.size + 1)
    errors = round(float(risks[-1]) * risks.size)
    best = float((np.maximum(answered - (risks.size - errors), 0) / answered).mean())
    return {"aurc_error": area, "excess_aurc_error": area - best}


def _risks(logits: npt.ArrayLike, labels: npt.ArrayLike) -> Floats:
    values, truth = checked(logits, labels)
    if not truth.size:
        return np.empty(0)
    confidence = log_softmax(values).max(axis=1)
    wrong = (values.argmax(axis=1) != truth).astype(np.float64)
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    starts = np.flatnonzero(np.diff(falling, prepend=np.inf) < 0.0)
    sizes = np.diff(starts, append=truth.size)
    within_ties = np.repeat(np.add.reduceat(wrong[order], starts) / sizes, sizes)
    return np.cumsum(within_ties) / np.arange(1, truth.size + 1)
