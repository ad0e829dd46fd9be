r"""How members' features differ: one minus linear centred kernel alignment (CKA).

Kornblith et al. (ICML 2019), their equation 10, with the biased estimator of HSIC, as in DiWA. With few examples and
many features it is too large: random features of 50 examples in 1000 dimensions look alike. Give thousands.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from analysis.probabilities import Floats

ROWS = 1024
"""Examples a product: float32 sums of more would lose digits, fewer would waste calls."""


def cka_score(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    r"""Linear CKA of two models' features of the same examples, in [0, 1]; 1 is equal up to rotation and scale.

    .. math:: \frac{\lVert X^\top Y \rVert_F^2}{\lVert X^\top X \rVert_F \lVert Y^\top Y \rVert_F}

    of features whose columns are centred, which is the alignment of their centred Gram matrices.

    Args:
        first: Shape ``(examples, width)``.
        second: Shape ``(examples, width)``; the width may differ.

    Returns:
        NaN if one model's features are the same for all examples, or there is no example.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> round(cka_score([[0.0, 1.0], [1.0, 0.0]], [[2.0], [4.0]]), 6)
        1.0
    """
    return 1.0 - feature_diversity_score([np.asarray(first), np.asarray(second)])


def feature_diversity_score(features: Sequence[npt.ArrayLike] | npt.NDArray[np.floating]) -> float:
    """One minus linear CKA, mean over pairs of members, in [0, 1]; higher is more diverse.

    Products are formed in single precision over some examples at a time, and added in double: good to about six
    digits. Features may be memory-mapped; only some rows of two members are read at once.

    Args:
        features: One array ``(examples, width)`` a member.

    Returns:
        Pairs with a member whose features are the same for all examples are left out; NaN if none is left.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> feature_diversity_score([[[1.0], [0.0], [-1.0]], [[1.0], [-2.0], [1.0]]])
        1.0
    """
    members = [np.asanyarray(member) for member in features]
    if any(member.ndim != 2 or len(member) != len(members[0]) for member in members):
        shapes = ", ".join(str(member.shape) for member in members)
        raise ValueError(f"features must have shape (examples, width) with as many examples each, got {shapes}")
    if len(members) < 2 or not len(members[0]):
        return float("nan")
    # Scaled to length one by column means of squares, so that single precision has room; CKA knows no scale.
    means = [_mean(member) for member in members]
    lengths = [_alignment(member, member, mean, mean) for member, mean in zip(members, means, strict=True)]
    values = []
    for i, j in combinations(range(len(members)), 2):
        if lengths[i] > 0 and lengths[j] > 0:
            values.append(
                1.0 - _alignment(members[i], members[j], means[i], means[j]) / np.sqrt(lengths[i] * lengths[j])
            )
    return float(np.clip(np.mean(values), 0.0, 1.0)) if values else float("nan")


def _mean(features: npt.NDArray[np.floating]) -> Floats:
    parts = (features[start : start + ROWS] for start in range(0, len(features), ROWS))
    return np.asarray(sum(part.sum(axis=0, dtype=np.float64) for part in parts) / len(features))


def _alignment(
    first: npt.NDArray[np.floating], second: npt.NDArray[np.floating], first_mean: Floats, second_mean: Floats
) -> float:
    """Squared Frobenius norm of the product of the centred features."""
    product = np.zeros((first.shape[1], second.shape[1]))
    for start in range(0, len(first), ROWS):
        left = (first[start : start + ROWS] - first_mean).astype(np.float32)
        right = left if second is first else (second[start : start + ROWS] - second_mean).astype(np.float32)
        product += left.T @ right
    return float(np.vdot(product, product))
