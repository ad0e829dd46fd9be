"""Logits to probabilities, in float64 and without overflow; and the shape checks every metric of logits shares."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def log_softmax(logits: npt.ArrayLike) -> Floats:
    r"""Log-probabilities over the last axis, :math:`z_c - \log\sum_d e^{z_d}`.

    Args:
        logits: Finite numbers of any float dtype, shape ``(..., classes)``.

    Returns:
        float64 of the same shape.

    Example:
        >>> np.exp(log_softmax([[0.0, 0.0]])).tolist()
        [[0.5, 0.5]]
    """
    values = np.asarray(logits, dtype=np.float64)
    shifted = values - values.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits: npt.ArrayLike) -> Floats:
    """Probabilities over the last axis, float64, each in [0, 1], summing to 1."""
    return np.exp(log_softmax(logits))


def checked(logits: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Integers]:
    """Logits ``(examples, classes)`` as float64 and labels ``(examples,)`` as int64, or a clear refusal.

    Raises:
        ValueError: If the shapes do not fit, or a label is not a whole number in ``[0, classes)``.
    """
    values = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(labels)
    if values.ndim != 2 or truth.shape != values.shape[:1]:
        raise ValueError(
            f"logits must have shape (examples, classes) and labels (examples,), got {values.shape} and {truth.shape}"
        )
    if truth.size and not np.issubdtype(truth.dtype, np.integer):
        raise ValueError(f"labels must be whole numbers, got dtype {truth.dtype}; convert them first")
    if truth.size and not (truth.min() >= 0 and truth.max() < values.shape[1]):
        raise ValueError(f"labels must lie in [0, {values.shape[1]}), got {truth.min()} to {truth.max()}")
    return values, truth.astype(np.int64)
