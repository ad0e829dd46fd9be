r"""Bias, variance, covariance and locality of the ensemble inside a run, and what averaging in which space gains.

Members m = 1 ... M of runs s = 1 ... S that differ by seed. A loss with a *centroid* splits without rest: the mean
loss of several predictions is the loss of their centroid plus their spread about it, whatever the label. For the Brier
score (summed over classes) the centroid is the mean of probabilities, for the cross-entropy it is the renormalised mean
of log-probabilities and the spread a mean Kullback-Leibler divergence FROM the centroid (Heskes, Neural Computation
1998). Four losses then say all: of members, A; of each run's centroid (its ensemble), B; of the centroid over runs of
the members in the same place m, C; of the centroid of everything, D.

.. math:: \text{bias} = D, \quad \text{drift} = C - D, \quad \text{variance} = A - C, \quad
          \text{variance of ensembles} = B - D, \quad \text{gain} = A - B

          B = \text{bias} + \tfrac1M\,\text{variance} + \tfrac{M-1}M\,\text{covariance}

For the Brier score the last line is Ueda and Nakano's (ICNN 1996), and *covariance* is the mean product of two members'
deviations in the same run; for the cross-entropy it defines the covariance. Variance is over runs, about the mean of
the members in the same place, for members early and late in a run have different means: how far these differ is the
*drift*, which averaging removes, too: gain = drift + (1 - 1/M)(variance - covariance). Bias contains the label noise.

The last term of DiWA's bound (Rame et al., NeurIPS 2022), locality, belongs to averages of weights: the average's loss
less the ensemble's is what members' distance from their average costs (:func:`averaging_gaps`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from analysis.accuracy import accuracy_score, cross_entropy_error
from analysis.calibration import brier_error
from analysis.diversity.ensembles import ensemble_log_probabilities, members_and_labels
from analysis.probabilities import Floats, Integers, log_softmax

LOSSES = ("brier", "cross_entropy")
TERMS = ("bias", "drift", "variance", "covariance", "member_error", "ensemble_error", "ensemble_variance", "gain")
OVER = ("seeds", "examples", "both")
ENTRIES = 1 << 20
"""Logits of all runs and members that are worked on at once."""

COLUMNS = ["loss", "term", "estimate", "low", "high", "level", "over", "runs", "members", "examples"]


def decompose(
    runs: Sequence[Sequence[npt.ArrayLike]] | npt.NDArray[Any],
    labels: npt.ArrayLike,
    loss: str = "brier",
    over: str = "seeds",
    level: float = 0.95,
    weights: npt.ArrayLike | None = None,
) -> pd.DataFrame:
    r"""The terms of the ensemble's expected loss, estimated from several runs.

    **Estimator.** Plugging S runs in for all of them makes the bias too large and the variances too small by a share
    of order 1/S: a centroid of few runs moves with each of them. Leaving each run out in turn takes that share off
    (Quenouille's jackknife); for the Brier score the result is unbiased for any S >= 2 and M, and equals the formulas
    with S - 1; for the cross-entropy a share of order 1/S² is left. A negative bias or variance is possible, and
    sampling error. The number of members costs no bias: places in the run are given, not drawn, and ``covariance``
    with M = 1 is NaN. Members beyond the M given are not spoken of.

    **Intervals.** ``seeds``: Student's t of the jackknife's pseudo-values with S - 1 degrees of freedom, other runs on
    these examples; NaN below three runs. ``examples``: normal, other examples for these runs. ``both``: the two
    variances are added, which is a little wide.

    Args:
        runs: Logits, shape ``(runs, members, examples, classes)``, or as many arrays ``(examples, classes)``, which may
            be memory-mapped; examples are read in parts.
        labels: Shape ``(examples,)``.
        loss: ``brier`` or ``cross_entropy`` (nats).
        over: What the interval is over.
        level: Nominal coverage in (0, 1).
        weights: How much each example counts, at least 0, shape ``(examples,)``; by default all alike. A mean over
            domains weighs each example by one over its domain's size.

    Returns:
        A row a term of ``TERMS``: ``loss``, ``term``, ``estimate``, ``low``, ``high``, ``level``, ``over``, ``runs``,
        ``members``, ``examples``. With one run only ``member_error``, ``ensemble_error`` and ``gain`` are numbers.

    Raises:
        ValueError: If shapes do not fit or a name is unknown.

    Example:
        >>> runs = np.log([[[[0.8, 0.2]], [[0.6, 0.4]]], [[[0.6, 0.4]], [[0.8, 0.2]]]])  # an ensemble that never moves
        >>> terms = decompose(runs, [0]).set_index("term")["estimate"].round(3)
        >>> terms[["bias", "variance", "covariance"]].tolist()
        [0.18, 0.04, -0.04]
    """
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    if over not in OVER:
        raise ValueError(f"over must be one of {', '.join(OVER)}, got {over!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    arrays, truth = _checked(runs, labels)
    shares = _shares(weights, truth.size)
    counts = {"runs": len(arrays), "members": len(arrays[0]), "examples": truth.size}
    parts = [_terms(part, answer, loss) for part, answer in _parts(arrays, truth)]
    rows = []
    for term in TERMS:
        values = np.concatenate([part[term] for part in parts], axis=1) if parts else np.empty((len(arrays), 0))
        low, high = _interval(values, shares, over, level)
        estimate = float((values @ shares).mean()) if values.size else float("nan")
        rows.append({"loss": loss, "term": term, "estimate": estimate, "low": low, "high": high,
                     "level": level, "over": over, **counts})  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def averaging_gaps(logits: npt.ArrayLike, labels: npt.ArrayLike, average: npt.ArrayLike | None = None) -> pd.DataFrame:
    """Members, their two ensembles and the average of their weights side by side.

    Args:
        logits: Of the members, shape ``(members, examples, classes)``.
        labels: Shape ``(examples,)``.
        average: Logits of the model whose weights are the members' mean, shape ``(examples, classes)``; or None.

    Returns:
        A row for each of ``accuracy_score``, ``brier_error`` (summed over classes) and ``cross_entropy_error`` with
        ``metric``; ``member`` (mean over members), ``ensemble`` (mean of probabilities), ``log_ensemble`` (renormalised
        mean of log-probabilities), ``weight_average``; and the gaps ``ensemble_gap`` (ensemble - member), ``log_gap``
        (log_ensemble - ensemble), ``average_gap`` (weight_average - ensemble: the locality term). NaN without
        ``average``.

    Raises:
        ValueError: If shapes do not fit.

    Example:
        >>> members = np.log([[[0.9, 0.1]], [[0.4, 0.6]]])
        >>> averaging_gaps(members, [0]).set_index("metric")["ensemble_gap"].round(3).tolist()
        [0.5, -0.125, -0.08]
    """
    members, truth = members_and_labels(logits, labels)
    models = {name: ensemble_log_probabilities(members, combine) for name, combine in
              (("ensemble", "probabilities"), ("log_ensemble", "log_probabilities"))}  # fmt: skip
    if average is not None:
        models["weight_average"] = np.asarray(average, dtype=np.float64)
    rows = []
    for metric, measure in (("accuracy_score", accuracy_score), ("brier_error", brier_error),
                            ("cross_entropy_error", cross_entropy_error)):  # fmt: skip
        found = {"member": float(np.mean([measure(member, truth) for member in members]))}
        found |= {name: measure(values, truth) for name, values in models.items()}
        found.setdefault("weight_average", float("nan"))
        gaps = {
            "ensemble_gap": found["ensemble"] - found["member"],
            "log_gap": found["log_ensemble"] - found["ensemble"],
            "average_gap": found["weight_average"] - found["ensemble"],
        }
        rows.append({"metric": metric, **found, **gaps})
    return pd.DataFrame(rows)


def _terms(logs: Floats, labels: Integers, loss: str) -> dict[str, Floats]:
    """Pseudo-values of every term, shape ``(runs, examples)``: their mean over runs is the jackknife's estimate."""
    runs, members, examples, _ = logs.shape
    values = np.exp(logs) if loss == "brier" else logs
    of_members = _loss(values, labels, loss).mean(axis=1)
    of_ensembles = _loss(values.mean(axis=1), labels, loss)
    nothing = np.full((runs, examples), np.nan)
    places, whole = nothing, nothing
    if runs >= 2:
        sums = values.sum(axis=0)
        places, whole = (
            _pseudo(_loss(sums / runs, labels, loss).mean(axis=0), _left_out(values, sums, labels, loss)),
            _pseudo(
                _loss(sums.mean(axis=0) / runs, labels, loss),
                _left_out(values.mean(axis=1), sums.mean(axis=0), labels, loss),
            ),
        )
    variance, of_ensemble = of_members - places, of_ensembles - whole
    return {
        "bias": whole,
        "drift": places - whole,
        "variance": variance,
        "covariance": (members * of_ensemble - variance) / (members - 1) if members > 1 else nothing,
        "member_error": of_members,
        "ensemble_error": of_ensembles,
        "ensemble_variance": of_ensemble,
        "gain": of_members - of_ensembles,
    }


def _left_out(values: Floats, sums: Floats, labels: Integers, loss: str) -> Floats:
    """Loss of the centroid of all runs but one, a mean over places where there are any; ``(runs, examples)``."""
    found = []
    for one in values:
        losses = _loss((sums - one) / (len(values) - 1), labels, loss)
        found.append(losses if losses.ndim == 1 else losses.mean(axis=0))
    return np.stack(found)


def _pseudo(whole: Floats, left_out: Floats) -> Floats:
    return len(left_out) * whole - (len(left_out) - 1) * left_out


def _loss(centroid: Floats, labels: Integers, loss: str) -> Floats:
    """Losses of means of probabilities or of log-probabilities ``(..., examples, classes)``; to ``(..., examples)``."""
    rows = np.arange(labels.size)
    if loss == "cross_entropy":
        return -log_softmax(centroid)[..., rows, labels]
    # |p - e_y|^2 without forming the difference.
    return np.einsum("...c,...c->...", centroid, centroid) - 2.0 * centroid[..., rows, labels] + 1.0


def _interval(values: Floats, shares: Floats, over: str, level: float) -> tuple[float, float]:
    runs, examples = values.shape
    if not values.size or (over != "examples" and runs < 3):
        return float("nan"), float("nan")
    by_run, by_example = values @ shares, values.mean(axis=0)
    centre = float(by_run.mean())
    of_seeds = float(by_run.var(ddof=1)) / runs if runs > 1 else 0.0
    # Of equal shares this is the variance over the number of examples, with the factor of one degree less.
    spread = float((shares**2) @ (by_example - centre) ** 2)
    of_examples = spread * examples / (examples - 1) if examples > 1 else float("nan")
    error = {"seeds": of_seeds, "examples": of_examples, "both": of_seeds + of_examples}[over] ** 0.5
    quantile = float(stats.norm.ppf(0.5 + level / 2) if over == "examples" else stats.t.ppf(0.5 + level / 2, runs - 1))
    return centre - quantile * error, centre + quantile * error


def _shares(weights: npt.ArrayLike | None, examples: int) -> Floats:
    found = np.ones(examples) if weights is None else np.asarray(weights, dtype=np.float64)
    if found.shape != (examples,) or not (found >= 0).all() or (examples and not found.sum() > 0):
        raise ValueError(f"weights must be at least 0, one an example ({examples}), got shape {found.shape}")
    return found / found.sum() if examples else found


def _checked(
    runs: Sequence[Sequence[npt.ArrayLike]] | npt.NDArray[Any], labels: npt.ArrayLike
) -> tuple[list[list[npt.NDArray[Any]]], Integers]:
    arrays = [[np.asanyarray(member) for member in run] for run in runs]
    truth = np.asarray(labels)
    shapes = {member.shape for run in arrays for member in run}
    counts = {len(run) for run in arrays}
    first = next(iter(shapes), ())
    if len(shapes) != 1 or len(counts) != 1 or len(first) != 2 or truth.shape != first[:1]:
        raise ValueError(
            "runs must have shape (runs, members, examples, classes) with as many members each and labels (examples,), "
            f"got {len(arrays)} runs of {sorted(counts)} members of shapes {sorted(shapes)} and labels {truth.shape}"
        )
    if truth.size and not (np.issubdtype(truth.dtype, np.integer) and truth.min() >= 0 and truth.max() < first[1]):
        raise ValueError(
            f"labels must be whole numbers in [0, {first[1]}), got {truth.dtype} {truth.min()} to {truth.max()}"
        )
    return arrays, truth.astype(np.int64)


def _parts(arrays: list[list[npt.NDArray[Any]]], labels: Integers) -> Iterator[tuple[Floats, Integers]]:
    examples, classes = arrays[0][0].shape
    size = max(1, ENTRIES // max(1, len(arrays) * len(arrays[0]) * classes))
    for start in range(0, examples, size):
        part = slice(start, start + size)
        stacked = np.stack([np.stack([np.asarray(member[part], np.float64) for member in run]) for run in arrays])
        yield log_softmax(stacked), labels[part]
