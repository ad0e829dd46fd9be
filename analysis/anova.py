"""Analysis of variance of a response on the levers: F tests, and effect sizes with intervals.

Rows are cells of a (nearly) crossed design: one column a lever, one with the run (seed), one a response. Runs are
blocks: what differs between whole runs is taken out. The error is what is left between cells of one run, so tests and
intervals speak about other cells of this kind, not about other pretrained models.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import optimize, stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

from analysis.design import level_label

SQUARES = ("I", "II", "III")
ANOVA_COLUMNS = ["term", "squares", "sum_of_squares", "degrees", "f", "p_value", "partial_eta_squared",
                 "partial_eta_squared_low", "partial_eta_squared_high", "partial_omega_squared"]  # fmt: skip


def anova(
    frame: pd.DataFrame,
    response: str,
    factors: Sequence[str],
    block: str = "run",
    interactions: int = 2,
    squares: str = "II",
    level: float = 0.95,
) -> pd.DataFrame:
    r"""Analysis of variance of one response on the levers, blocked by run.

    .. math:: \eta_p^2 = \frac{SS}{SS + SS_{res}}, \qquad
              \omega_p^2 = \frac{SS - \nu\,MS_{res}}{SS + (N - \nu)\,MS_{res}}

    In a balanced design all sums of squares agree. In an unbalanced one they answer different questions. Type ``I``: a
    term after those before it, in the order of ``factors``. Type ``II``: a main effect after all others, as if its
    interactions were none; the most powerful where they are small. Type ``III``: a main effect averaged over the levels
    of the others with equal weight, interactions in the model (sum contrasts).

    Args:
        frame: One row a cell; rows without the response are left out.
        response: Column of numbers.
        factors: Lever columns, each taken as categorical; those with a single level are left out.
        block: Column of the runs; left out of the model if there is a single run. With type I it comes before all
            factors.
        interactions: Highest order of interaction among the factors, at least 1.
        squares: ``I``, ``II`` or ``III``.
        level: Nominal coverage of the interval of partial eta squared.

    Returns:
        One row a term (``a``, ``a:b``, the block, ``residual``), columns ``term``, ``squares`` (their type),
        ``sum_of_squares``, ``degrees``, ``f``, ``p_value``, ``partial_eta_squared`` (leans high),
        ``partial_eta_squared_low`` and ``_high`` (:func:`partial_eta_squared_interval`), ``partial_omega_squared`` (can
        be slightly negative).

    Raises:
        ValueError: If no factor has two levels, too few rows are left to estimate the error, combinations of
            levels lack rows, or ``squares`` is none of the three.
    """
    if squares not in SQUARES:
        raise ValueError(f"squares must be one of {', '.join(SQUARES)}, got {squares!r}")
    data = frame.dropna(subset=[response])
    used = [name for name in factors if data[name].dropna().nunique() > 1]
    if not used or interactions < 1:
        raise ValueError(f"analysis of variance needs a factor with two levels and interactions >= 1, got {used}")
    # Short names of our own, so that no column name can be read as a formula.
    names = {f"f{position}": name for position, name in enumerate(used)}
    plain = pd.DataFrame({"y": data[response].to_numpy(dtype=float)})
    for short, name in names.items():
        plain[short] = [level_label(value) for value in data[name]]
    has_block = data[block].nunique() > 1
    if has_block:
        plain["block"] = [str(value) for value in data[block]]
    order = min(interactions, len(used))
    # Only contrasts that sum to zero make type III what it says.
    coding = ", Sum" if squares == "III" else ""
    terms = " + ".join(f"C({short}{coding})" for short in names)
    formula = "y ~ " + (f"C(block{coding}) + " if has_block else "") + f"({terms})**{order}"
    with warnings.catch_warnings():
        warnings.simplefilter("error", SingularMatrixWarning)
        try:
            fit = ols(formula, plain).fit()
        except SingularMatrixWarning as singular:
            raise ValueError(
                "analysis of variance needs rows for every combination of levels that it gives an effect, "
                "and some combinations have none; run the missing cells or lower interactions"
            ) from singular
    if fit.df_resid < 1:
        raise ValueError(
            f"analysis of variance needs more rows than effects, got {len(plain)} rows for {int(fit.df_model) + 1}; "
            "run more seeds or lower interactions"
        )
    table = anova_lm(fit, typ=SQUARES.index(squares) + 1).drop(index="Intercept", errors="ignore")
    error = float(table.loc["Residual", "sum_sq"])
    mean_error = error / fit.df_resid
    rows = []
    for term, line in table.iterrows():
        parts = [part.removeprefix("C(").removesuffix(")").split(",")[0] for part in str(term).split(":")]
        explained, degrees, f = float(line["sum_sq"]), float(line["df"]), float(line["F"])
        is_residual = term == "Residual"
        nothing = (float("nan"), float("nan"))
        low, high = nothing if is_residual else partial_eta_squared_interval(
            f, degrees, fit.df_resid, len(plain), level
        )  # fmt: skip
        rows.append({
            "term": "residual" if is_residual else ":".join(names.get(part, block) for part in parts),
            "squares": squares,
            "sum_of_squares": explained,
            "degrees": degrees,
            "f": f,
            "p_value": float(line["PR(>F)"]),
            "partial_eta_squared": float("nan") if is_residual else _ratio(explained, explained + error),
            "partial_eta_squared_low": low,
            "partial_eta_squared_high": high,
            "partial_omega_squared": float("nan") if is_residual else _ratio(
                explained - degrees * mean_error, explained + (len(plain) - degrees) * mean_error
            ),
        })  # fmt: skip
    # The levers first, whatever the order of the fit.
    rows.sort(key=lambda row: (row["term"] == "residual", row["term"] == block))
    return pd.DataFrame(rows, columns=ANOVA_COLUMNS)


def partial_eta_squared_interval(
    f: float, degrees: float, error_degrees: float, rows: int, level: float = 0.95
) -> tuple[float, float]:
    r"""Interval of the population's partial eta squared from an F value, through the noncentral F distribution.

    The ends are the noncentralities :math:`\lambda` under which the observed F stands at the upper and the lower tail,
    on the scale

    .. math:: \eta_p^2 = \frac{\sigma_{effect}^2}{\sigma_{effect}^2 + \sigma_{error}^2} = \frac{\lambda}{\lambda + N}

    (Steiger, Psychological Methods 2004). Exact for fixed effects and normal errors of one variance. The sample's
    partial eta squared leans high and can lie above the interval where the effect is small. An interval that begins at
    0 goes with an F test that does not reject at ``(1 - level) / 2``.

    Args:
        f: Observed F, at least 0; NaN gives NaN, infinity (1, 1).
        degrees: Degrees of freedom of the effect.
        error_degrees: Degrees of freedom of the error.
        rows: Number of rows N.
        level: Nominal coverage in (0, 1).

    Returns:
        ``(low, high)``, within [0, 1].

    Raises:
        ValueError: If ``f`` is negative, degrees are not positive, or ``level`` is out of range.

    Example:
        >>> [round(end, 3) for end in partial_eta_squared_interval(11.221, 4, 50, 55)]
        [0.226, 0.587]
    """
    if f < 0.0 or degrees <= 0 or error_degrees <= 0 or not 0.0 < level < 1.0:
        raise ValueError(
            f"an interval needs F >= 0, positive degrees and a level in (0, 1), got {f}, {degrees}, {error_degrees}, "
            f"{level}"
        )
    if np.isnan(f):
        return float("nan"), float("nan")
    if np.isinf(f):
        return 1.0, 1.0
    ends = [_noncentrality(f, degrees, error_degrees, chance) for chance in (0.5 + level / 2, 0.5 - level / 2)]
    low, high = (end / (end + rows) for end in ends)
    return low, high


def _noncentrality(f: float, degrees: float, error_degrees: float, chance: float) -> float:
    """The noncentrality under which an F at most ``f`` has this chance; 0 where even the central one is below it."""

    def excess(noncentrality: float) -> float:
        return float(stats.ncf.cdf(f, degrees, error_degrees, noncentrality)) - chance

    if float(stats.f.cdf(f, degrees, error_degrees)) <= chance:
        return 0.0
    high = max(degrees * f, 1.0)
    while excess(high) > 0.0:
        high *= 2.0
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-10, rtol=1e-12))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
