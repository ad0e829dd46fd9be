"""Many tests at once: Holm's and Benjamini and Hochberg's adjustments over a named family."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.probabilities import Floats


def holm(p_values: npt.ArrayLike) -> Floats:
    r"""Holm's step-down adjustment for a family of tests (Scandinavian Journal of Statistics, 1979).

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\bigl(1, (m - j + 1)\, p_{(j)}\bigr)

    Rejecting where the adjusted value is at most the level keeps the chance of any false rejection in the family below
    it, however the tests depend on each other.

    Args:
        p_values: Shape ``(tests,)``, each in [0, 1]; a NaN is no test: it stays NaN and is not counted in the family.

    Returns:
        Adjusted p-values, same shape and order.

    Raises:
        ValueError: If the shape is not one-dimensional or a value lies outside [0, 1].

    Example:
        >>> holm([0.03, 0.01, float("nan")]).tolist()
        [0.03, 0.02, nan]
    """
    values, order = _ordered(p_values)
    scaled = values[order] * np.arange(order.size, 0, -1)
    adjusted = np.full(values.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def benjamini_hochberg(p_values: npt.ArrayLike) -> Floats:
    r"""Benjamini and Hochberg's step-up adjustment (Journal of the Royal Statistical Society B, 1995).

    .. math:: \tilde p_{(i)} = \min_{j \ge i} \min\bigl(1, \tfrac{m}{j}\, p_{(j)}\bigr)

    Rejecting where the adjusted value is at most the level keeps the expected fraction of false rejections among all
    rejections below it, for tests that are independent or positively dependent. It says less than Holm's: some of the
    rejections are expected to be false.

    Args:
        p_values: As for :func:`holm`.

    Returns:
        Adjusted p-values, same shape and order.

    Raises:
        ValueError: As :func:`holm`.

    Example:
        >>> benjamini_hochberg([0.03, 0.01, float("nan")]).tolist()
        [0.03, 0.02, nan]
    """
    values, order = _ordered(p_values)
    scaled = values[order] * (order.size / np.arange(1, order.size + 1))
    adjusted = np.full(values.shape, np.nan)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def with_family(
    frame: pd.DataFrame, family: Sequence[str] = (), p_value: str = "p_value", significance: float = 0.05
) -> pd.DataFrame:
    """Adds both adjustments of a column of p-values, family by family.

    Args:
        frame: One row a test.
        family: Columns whose values name the family; rows that agree in them are corrected together. None of them
            makes one family of all rows.
        p_value: Column of unadjusted p-values; NaN where there is no test.
        significance: Largest adjusted p-value that counts as significant, in (0, 1).

    Returns:
        The frame in its order, with ``holm_p_value``, ``fdr_p_value`` (Benjamini and Hochberg), ``family`` (text),
        ``family_tests`` (how many tests the family has) and ``is_significant`` (after Holm).

    Raises:
        ValueError: If ``significance`` is out of range, a column is missing, or a p-value is out of range.

    Example:
        >>> tests = pd.DataFrame({"score": ["id", "id", "ood"], "p_value": [0.02, 0.04, 0.03]})
        >>> with_family(tests, ["score"])[["family", "holm_p_value", "is_significant"]].values.tolist()
        [['score=id', 0.04, True], ['score=id', 0.04, True], ['score=ood', 0.03, True]]
    """
    if not 0.0 < significance < 1.0:
        raise ValueError(f"significance must lie in (0, 1), got {significance}")
    if missing := [name for name in (*family, p_value) if name not in frame]:
        raise ValueError(f"a family is named by columns of the frame, got {', '.join(missing)}, which it lacks")
    labels = [", ".join(f"{name}={value}" for name, value in zip(family, key)) or "all"
              for key in zip(*(frame[name] for name in family))] or ["all"] * len(frame)  # fmt: skip
    added = frame.assign(family=np.array(labels, dtype=object))
    p_values = frame[p_value].to_numpy(dtype=np.float64)
    columns = {name: np.full(len(frame), np.nan) for name in ("holm_p_value", "fdr_p_value")}
    tests = np.zeros(len(frame), dtype=np.int64)
    for label in dict.fromkeys(labels):
        is_here = added["family"].eq(label).to_numpy(dtype=bool)
        columns["holm_p_value"][is_here] = holm(p_values[is_here])
        columns["fdr_p_value"][is_here] = benjamini_hochberg(p_values[is_here])
        tests[is_here] = int(np.isfinite(p_values[is_here]).sum())
    # A NaN compares as False: what was not tested is not significant.
    is_significant = columns["holm_p_value"] <= significance
    return added.assign(**columns, family_tests=tests, is_significant=is_significant)


def _ordered(p_values: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.intp]]:
    values = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values)) if values.ndim == 1 else np.empty(0, dtype=np.intp)
    if values.ndim != 1 or ((values[known] < 0.0) | (values[known] > 1.0)).any():
        raise ValueError(f"p-values must be numbers in [0, 1] of shape (tests,), got {values.tolist()}")
    return values, known[np.argsort(values[known], kind="stable")]
