"""From numbers per split to numbers per shift: ID, mean and worst OOD domain, corruptions, gap, many/medium/few.

A mean over splits that are not all there is NaN, never a mean over fewer, and never 0. A benchmark whose only shift are
corruptions (CIFAR-100-C) has these as its OOD splits.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

SEVERITIES = (1, 2, 3, 4, 5)
GROUPS = ("many", "medium", "few")
INDEX = ["cell", "weights", "alpha"]
SHIFT_COLUMNS = ("id_score", "ood_score", "worst_domain_score", "corruption_score", "gap_error") + tuple(
    f"{group}_score" for group in GROUPS
)


def shift_scores(
    metrics: pd.DataFrame,
    metric: str = "accuracy_score",
    weights: Sequence[str] = ("reported", "wise"),
    domains: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Aggregates a metric over splits, one row per (cell, weights, alpha).

    Args:
        metrics: The ``metrics`` table of one benchmark's records.
        metric: Which metric; group columns are filled for ``accuracy_score`` only.
        weights: Which weights to keep.
        domains: OOD domains of the mean; by default all that any row of the table names, whatever its metric, and where
            there is none, corruptions.
        kinds: Corruption kinds of the mean (each at 5 severities); by default all that any row names.

    Returns:
        Columns ``cell``, ``weights``, ``alpha``; ``id_score`` (split ``id_test``); ``ood_score`` (mean of the domains)
        and ``worst_domain_score`` (their minimum; of corruptions the worst kind's mean over severities);
        ``corruption_score`` (mean over kinds and severities); ``gap_error`` = ``id_score - ood_score``;
        ``many_score``, ``medium_score``, ``few_score`` on ``id_test``. NaN wherever a needed split is missing.
    """
    chosen = metrics[metrics["weights"].isin(list(weights)) & metrics["split"].ne("")]
    wide = _by_split(chosen[chosen["metric"].eq(metric)])
    names = [str(name) for name in wide.columns]
    if domains is None:
        domains = sorted(name.removeprefix("ood/") for name in names if name.startswith("ood/"))
        has_corruptions_alone = not domains and only_corruptions(metrics)
    else:
        has_corruptions_alone = False
    known = sorted({name.split("/")[1] for name in names if name.startswith("corruption/")})
    corruption_splits = _corrupted(known if kinds is None else kinds)
    scores = pd.DataFrame(index=wide.index)
    scores["id_score"] = _mean(wide, ["id_test"])
    if has_corruptions_alone:
        scores["ood_score"] = _mean(wide, _corrupted(known))
        by_kind = pd.DataFrame({kind: _mean(wide, _corrupted([kind])) for kind in known}, index=wide.index)
        scores["worst_domain_score"] = by_kind.min(axis=1, skipna=False)
    else:
        domain_splits = [f"ood/{domain}" for domain in domains]
        scores["ood_score"] = _mean(wide, domain_splits)
        scores["worst_domain_score"] = _complete(wide, domain_splits).min(axis=1, skipna=False)
    scores["corruption_score"] = _mean(wide, corruption_splits)
    scores["gap_error"] = scores["id_score"] - scores["ood_score"]
    for group in GROUPS:
        rows = chosen[chosen["metric"].eq(f"accuracy_{group}_score") & chosen["split"].eq("id_test")]
        group_scores = _by_split(rows if metric == "accuracy_score" else rows.iloc[:0])
        scores[f"{group}_score"] = _mean(group_scores.reindex(wide.index), ["id_test"])
    return scores.reset_index()


def only_corruptions(metrics: pd.DataFrame) -> bool:
    """Whether corruptions are the only shift that a benchmark's ``metrics`` table knows.

    Example:
        >>> only_corruptions(pd.DataFrame({"split": ["id_test", "corruption/fog/1"]}))
        True
        >>> only_corruptions(pd.DataFrame({"split": ["id_test", "corruption/fog/1", "ood/sketch"]}))
        False
    """
    splits = metrics["split"].unique()
    return any(name.startswith("corruption/") for name in splits) and not any(
        name.startswith("ood/") for name in splits
    )


def member_scores(
    metrics: pd.DataFrame, domains: Sequence[str] | None = None, weights: str = "members"
) -> pd.DataFrame:
    """Members' diversity and their ensemble's gain on ID and OOD, one row a cell.

    Args:
        metrics: The ``metrics`` table of one benchmark's records.
        domains: OOD domains of the mean; by default all that any row names.
        weights: Whose: ``members``, or ``fresh_members``.

    Returns:
        Columns ``cell``; ``diversity_score`` and ``id_diversity_score`` (label disagreement, mean over the OOD domains
        and on ``id_test``); ``ensemble_gain_score`` and ``id_ensemble_gain_score`` likewise.
    """
    frames = []
    for metric, name in (("label_disagreement_score", "diversity_score"), ("ensemble_gain_score",) * 2):
        scores = shift_scores(metrics, metric, weights=(weights,), domains=domains, kinds=())
        frames.append(scores.set_index("cell")[["ood_score", "id_score"]].set_axis([name, f"id_{name}"], axis=1))
    return pd.concat(frames, axis=1).rename_axis("cell").reset_index()


def severity_scores(
    metrics: pd.DataFrame, metric: str = "accuracy_score", weights: Sequence[str] = ("reported",)
) -> pd.DataFrame:
    """Mean over the corruption kinds at each severity, one row per (cell, weights, alpha, severity).

    Returns:
        Columns ``cell``, ``weights``, ``alpha``, ``severity`` (0 is the clean ``id_test``), ``score``; NaN where a kind
        that other rows have is missing.
    """
    wide = _by_split(metrics[metrics["weights"].isin(list(weights)) & metrics["metric"].eq(metric)])
    kinds = sorted({str(name).split("/")[1] for name in wide.columns if str(name).startswith("corruption/")})
    frames = []
    for severity in (0, *SEVERITIES):
        splits = ["id_test"] if severity == 0 else [f"corruption/{kind}/{severity}" for kind in kinds]
        frames.append(_mean(wide, splits).rename("score").reset_index().assign(severity=severity))
    return pd.concat(frames, ignore_index=True)[[*INDEX, "severity", "score"]]


def corruption_errors(metrics: pd.DataFrame, weights: Sequence[str] = ("reported",)) -> pd.DataFrame:
    """Error rate on every kind of corruption at every severity, one row per (cell, weights, alpha, kind, severity).

    Returns:
        Columns ``cell``, ``weights``, ``alpha``, ``kind``, ``severity`` (1 to 5), ``error`` (one less the accuracy).
    """
    is_asked = metrics["weights"].isin(list(weights)) & metrics["metric"].eq("accuracy_score")
    rows = metrics[is_asked & metrics["split"].str.startswith("corruption/")]
    parts = rows["split"].astype(object).str.split("/", expand=True).reindex(columns=range(3))
    found = rows[INDEX].assign(kind=parts[1], severity=parts[2].astype("int64"), error=1.0 - rows["value"])
    return found.reset_index(drop=True)


def mean_corruption_error(errors: pd.DataFrame, reference: pd.DataFrame | None = None) -> pd.DataFrame:
    r"""Mean over kinds of the corruption error, plain or relative to a reference model's.

    Plain, a kind's error is its mean over severities. With a reference it is :math:`\sum_s E_s / \sum_s E_s^\text{ref}`
    and 1 means as bad as the reference: Hendrycks and Dietterich's mCE (ICLR 2019), whose reference is AlexNet; here it
    is any cell's. This house reports the plain one.

    Args:
        errors: From :func:`corruption_errors`.
        reference: Rows of ONE model of such a frame, with the same kinds and severities; or None.

    Returns:
        Columns ``cell``, ``weights``, ``alpha``, ``mean_corruption_error``; NaN where a (kind, severity) that any row
        or the reference has is missing.

    Raises:
        ValueError: If the reference holds a (kind, severity) twice.

    Example:
        >>> errors = pd.DataFrame({"cell": ["a", "a"], "weights": "reported", "alpha": np.nan, "kind": "fog",
        ...                        "severity": [1, 2], "error": [0.2, 0.4]})
        >>> mean_corruption_error(errors, errors.assign(error=[0.5, 0.7]))["mean_corruption_error"].round(3).tolist()
        [0.5]
    """
    places = ["kind", "severity"]
    wide = errors.assign(alpha=errors["alpha"].fillna(-1.0)).pivot(index=INDEX, columns=places, values="error")
    scale: pd.Series | None = None
    if reference is not None:
        if reference.duplicated(places).any():
            raise ValueError("the reference must hold each (kind, severity) once; choose one cell and one weights")
        held = reference.set_index(places)["error"]
        wide = wide.reindex(columns=wide.columns.union(held.index))
        scale = held.reindex(wide.columns).groupby(level="kind").sum(min_count=1)
    by_kind = wide.T.groupby(level="kind")
    sums = by_kind.sum(min_count=1).where(by_kind.count().eq(by_kind.size(), axis=0))
    kinds = sums.div(by_kind.size() if scale is None else scale, axis=0)
    means = kinds.mean(axis=0, skipna=False).rename("mean_corruption_error").reset_index()
    return means.assign(alpha=means["alpha"].where(means["alpha"].ge(0.0)))


def _by_split(rows: pd.DataFrame) -> pd.DataFrame:
    # By hand, since a pivot would drop alphas that are NaN (all but those of wise), and takes ten times as long.
    codes, splits = pd.factorize(rows["split"], sort=True)
    place = rows.groupby(INDEX, sort=False, dropna=False, observed=True).ngroup().to_numpy()
    keys = rows[INDEX].iloc[np.unique(place, return_index=True)[1]]
    values = rows["value"].to_numpy(dtype="float64", na_value=np.nan)
    found = np.full((len(keys), len(splits)), np.nan)
    # Backwards, so that the first number of a place stays.
    known = np.flatnonzero(~np.isnan(values))[::-1]
    found[place[known], codes[known]] = values[known]
    index, columns = pd.MultiIndex.from_frame(keys), pd.Index(splits, name="split")
    # A copy would turn the rows into columns, and sums over splits round by how these lie in memory.
    return pd.DataFrame(found, index=index, columns=columns, copy=False)


def _corrupted(kinds: Sequence[str]) -> list[str]:
    return [f"corruption/{kind}/{severity}" for kind in kinds for severity in SEVERITIES]


def _complete(wide: pd.DataFrame, splits: Sequence[str]) -> pd.DataFrame:
    return wide.reindex(columns=list(splits)).astype("float64")


def _mean(wide: pd.DataFrame, splits: Sequence[str]) -> pd.Series:
    return _complete(wide, splits).mean(axis=1, skipna=False) if splits else pd.Series(np.nan, index=wide.index)
