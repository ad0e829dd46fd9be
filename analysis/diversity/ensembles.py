"""The ensemble of several members: how their probabilities become one, and what that gains in accuracy."""

import numpy as np
import numpy.typing as npt

from analysis.accuracy import accuracy_score
from analysis.probabilities import Floats, Integers, log_softmax

COMBINE = ("probabilities", "log_probabilities")


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
    values = np.asarray(logits)
    if values.ndim != 3 or not len(values):
        raise ValueError(f"logits must have shape (members >= 1, examples, classes), got {values.shape}")
    check_combine(combine)
    # One member after another: all of them in double precision could be more than there is memory.
    add = np.logaddexp if combine == "probabilities" else np.add
    total = log_softmax(values[0])
    for member in values[1:]:
        add(total, log_softmax(member), out=total)
    if combine == "probabilities":
        return total - np.log(len(values))
    return log_softmax(total / len(values))


def ensemble_gain_score(logits: npt.ArrayLike, labels: npt.ArrayLike, combine: str = "probabilities") -> float:
    """Accuracy of the ensemble minus the members' mean accuracy, in [-1, 1]; 0 for one member, NaN without examples.

    Example:
        >>> ensemble_gain_score([[[9.0, 0.0]], [[0.0, 1.0]]], [0])
        0.5
    """
    members, truth = members_and_labels(logits, labels)
    ensemble = accuracy_score(ensemble_log_probabilities(members, combine), truth)
    return ensemble - float(np.mean([accuracy_score(member, truth) for member in members]))


def check_combine(combine: str) -> None:
    """Raises a ValueError unless ``combine`` is one of the two ways."""
    if combine not in COMBINE:
        raise ValueError(f"combine must be probabilities or log_probabilities, got {combine!r}")


def members_and_labels(logits: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Integers]:
    """Logits ``(members, examples, classes)`` as float64 and labels ``(examples,)`` as int64, or a clear refusal.

    Raises:
        ValueError: If the shapes do not fit.
    """
    values = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(labels)
    check_shapes(values.shape, truth.shape)
    return values, truth.astype(np.int64)


def check_shapes(logits: tuple[int, ...], labels: tuple[int, ...]) -> None:
    """Raises a ValueError unless these are shapes ``(members, examples, classes)`` and ``(examples,)``."""
    if len(logits) != 3 or labels != logits[1:2]:
        raise ValueError(
            f"logits must have shape (members, examples, classes) and labels (examples,), got {logits} and {labels}"
        )
