"""Cross-entropy with what long tails and soft targets ask for: class weights, log priors, label smoothing."""

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional


def training_loss(
    logits: Tensor,
    targets: Tensor,
    class_weights: Tensor | None = None,
    adjustment: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""The mean loss of a batch.

    .. math:: \frac1N \sum_i \sum_k t_{ik}\, w_k\, \ell(z_i + a, k), \qquad
              \ell(z, k) = -\sum_c \big((1 - s)\,[c = k] + s / C\big) \log \operatorname{softmax}(z)_c

    It is linear in the targets, so that the loss of mixed images is the mixture of two losses. A class's weight
    multiplies its whole loss, smoothing included, and the sum is divided by the number of images, not by their weights:
    torch's ``weight`` does neither with smoothing and class indices. Without weights and adjustment this is torch's
    cross-entropy, bit for bit.

    Args:
        logits: :math:`z`, shape ``(N, classes)``.
        targets: Class indices, int64 of shape ``(N,)``, or probabilities :math:`t` of shape ``(N, classes)``.
        class_weights: :math:`w`, shape ``(classes,)``; None is 1 for all.
        adjustment: :math:`a`, shape ``(classes,)``; None adds nothing.
        label_smoothing: :math:`s`, in [0, 1).
    """
    if adjustment is not None:
        logits = logits + adjustment.to(logits.dtype)
    if class_weights is None:
        return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    classes = logits.shape[1]
    if targets.ndim == 1:
        targets = functional.one_hot(targets, classes)
    weighted = targets.to(logits.dtype) * class_weights.to(logits.dtype)
    smoothed = (1 - label_smoothing) * weighted + label_smoothing / classes * weighted.sum(dim=1, keepdim=True)
    return functional.cross_entropy(logits, smoothed)


def class_balanced_weights(counts: npt.NDArray[np.int64], beta: float) -> npt.NDArray[np.float64]:
    r"""Weights by the effective number of examples (Cui et al., CVPR 2019, section 4).

    .. math:: w_k \propto \frac{1 - \beta}{1 - \beta^{n_k}}

    Args:
        counts: Training images :math:`n_k` of each class, shape ``(classes,)``, each at least 1.
        beta: :math:`\beta` in [0, 1); 0 gives equal weights.

    Returns:
        Weights with mean 1 over the classes, shape ``(classes,)``.

    Raises:
        ValueError: If a class has no image.

    Example:
        >>> class_balanced_weights(np.array([1, 2]), beta=0.5)
        array([1.2, 0.8])
    """
    _check_counts(counts, "class_balanced")
    weights = (1 - beta) / (1 - np.power(beta, counts, dtype=np.float64))
    return weights / weights.mean()


def log_priors(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    r"""Logarithms of the classes' frequencies, for logit adjustment (Menon et al., ICLR 2021, equation 10).

    Trained with :math:`\tau \log \pi` added, the plain logits rank the classes as if all were equally frequent, for
    :math:`\tau = 1`; nothing is added when the model is used.

    Args:
        counts: Training images of each class, shape ``(classes,)``, each at least 1.

    Raises:
        ValueError: If a class has no image.

    Example:
        >>> np.exp(log_priors(np.array([1, 3])))
        array([0.25, 0.75])
    """
    _check_counts(counts, "logit_adjusted")
    return np.log(counts / counts.sum())


def _check_counts(counts: npt.NDArray[np.int64], loss: str) -> None:
    if missing := np.flatnonzero(counts < 1).tolist():
        raise ValueError(
            f"the loss {loss} needs a training image of every class, got none of {missing}; use cross_entropy"
        )
