r"""How much of a treatment's effect on a response goes through a mediator: paths, indirect and direct effect.

.. math:: M = \alpha_1 + a\,T + \gamma_1^\top X + \varepsilon_2, \qquad
          Y = \alpha_2 + c'\,T + b\,M + \gamma_2^\top X + \varepsilon_3

The total effect is :math:`c = c' + ab`, with :math:`ab` the indirect one. Numbers are always found; that they mean what
they are called rests on ``ASSUMPTIONS``. A lever is set by us, its mediator is not: whatever else moves mediator and
response together passes for mediation. :func:`sensitivity` says how strong that would have to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.bootstrap import Seed, bootstrap_positions
from analysis.design import level_label
from analysis.probabilities import Floats, Integers

ASSUMPTIONS = (
    "linear paths without interaction of treatment and mediator; no unmeasured cause of both mediator and response; "
    "the mediator was observed, not randomised"
)
CORRELATIONS = (-0.9, -0.8, -0.7, -0.6, -0.5, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
EFFECTS = ("path_a", "path_b", "total", "direct", "indirect", "proportion_mediated")
_COLUMNS = ["effect", "estimate", "low", "high", "excludes_zero", "level", "over", "units", "rows", "assumptions"]


def mediation(
    frame: pd.DataFrame,
    treatment: str,
    mediator: str,
    response: str,
    covariates: Sequence[str] = (),
    unit: str | Sequence[str] = "run",
    rng: Seed = 0,
    arrangement: str = "nested",
    interval: str = "expanded",
    level: float = 0.95,
    draws: int = 2000,
) -> pd.DataFrame:
    """Paths, total, direct and indirect effect of a treatment, with bootstrap intervals by blocks of rows.

    Args:
        frame: One row a cell; rows with a null in any used column are left out.
        treatment: Column of numbers (0/1 for two levels of a lever).
        mediator: Column of numbers, e.g. the members' disagreement.
        response: Column of numbers, e.g. OOD accuracy.
        covariates: Columns held equal in both models, each taken as categorical: the run, the other levers' setting.
        unit: Column, or columns, of the units that are drawn (:func:`analysis.bootstrap.bootstrap`): seeds by default.
        rng: Seed or generator.
        arrangement: How several units are drawn, ``nested`` or ``crossed``.
        interval: ``percentile`` or ``expanded`` (wider for few units, as it must be; not for crossed units).
        level: Nominal coverage.
        draws: Resamples.

    Returns:
        A row for each of ``EFFECTS``: ``effect``, ``estimate``, ``low``, ``high``, ``excludes_zero``, ``level``,
        ``over``, ``units``, ``rows``, ``assumptions``. ``path_a`` is in mediator per treatment, ``path_b`` in response
        per mediator, the others in response per treatment. ``proportion_mediated`` is indirect over total, can lie
        outside [0, 1] (the two parts pull apart), and is NaN unless the total effect's interval excludes zero.

    Raises:
        ValueError: If a column is missing or not of numbers, or the rows cannot tell the paths apart: treatment or
            mediator do not move once the covariates are held equal.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> cells = pd.DataFrame({"run": np.repeat(range(20), 2), "x": [0.0, 1.0] * 20})
        >>> cells["disagreement"] = 0.1 * cells["x"] + rng.normal(0, 0.01, 40)
        >>> cells["ood"] = 0.5 * cells["disagreement"] + rng.normal(0, 0.001, 40)
        >>> found = mediation(cells, "x", "disagreement", "ood", draws=200).set_index("effect")
        >>> found["estimate"].round(2)[["total", "indirect"]].tolist()
        [0.05, 0.05]
    """
    data, held = _prepared(frame, [treatment, mediator, response], covariates, unit)
    _check_movement(held.residuals(), treatment, mediator)

    def statistic(at: Integers) -> dict[str, float]:
        return _effects(held.residuals(at))

    found = bootstrap_positions(data, statistic, unit, rng, (), arrangement, interval, level, draws)
    found = found.rename(columns={"statistic": "effect"})
    found["excludes_zero"] = found["low"].gt(0.0) | found["high"].lt(0.0)
    # A ratio to nothing says nothing.
    if not found.set_index("effect").loc["total", "excludes_zero"]:
        found.loc[found["effect"].eq("proportion_mediated"), ["estimate", "low", "high"]] = float("nan")
        found.loc[found["effect"].eq("proportion_mediated"), "excludes_zero"] = False
    return found.assign(rows=len(data), assumptions=ASSUMPTIONS)[_COLUMNS]


def sensitivity(
    frame: pd.DataFrame,
    treatment: str,
    mediator: str,
    response: str,
    covariates: Sequence[str] = (),
    correlations: Sequence[float] = CORRELATIONS,
    unit: str | Sequence[str] = "run",
    rng: Seed = 0,
    arrangement: str = "nested",
    interval: str = "expanded",
    level: float = 0.95,
    draws: int = 1000,
) -> pd.DataFrame:
    r"""The indirect effect if the errors of mediator and response were correlated by an unmeasured common cause.

    .. math:: \delta(\rho) = a\,\frac{\sigma_1}{\sigma_2}
              \Bigl(\tilde\rho - \rho\sqrt{(1 - \tilde\rho^2)/(1 - \rho^2)}\Bigr)

    with :math:`\sigma_1, \sigma_2` the deviations of response and mediator given treatment and covariates,
    :math:`\tilde\rho` their correlation, and :math:`\rho` that of :math:`\varepsilon_2` and :math:`\varepsilon_3`
    (Imai, Keele and Yamamoto, Statistical Science 2010, Theorem 2). At :math:`\rho = 0` it is the indirect effect of
    :func:`mediation`; it vanishes at :math:`\rho = \tilde\rho`. The data cannot tell which correlation is true.

    Args:
        frame: As for :func:`mediation`, with all other arguments.
        treatment: Column.
        mediator: Column.
        response: Column.
        covariates: Columns.
        correlations: Values of :math:`\rho`, each in (-1, 1).
        unit: Columns of the units.
        rng: Seed or generator.
        arrangement: ``nested`` or ``crossed``.
        interval: ``percentile`` or ``expanded``.
        level: Nominal coverage.
        draws: Resamples.

    Returns:
        A row a correlation: ``correlation``, ``indirect``, ``low``, ``high``, ``correlation_at_zero``
        (:math:`\tilde\rho`, the same in each row: the correlation that explains the indirect effect away).

    Raises:
        ValueError: As :func:`mediation`, and if a correlation is out of range.
    """
    if wrong := [value for value in correlations if not -1.0 < value < 1.0]:
        raise ValueError(f"correlations must lie in (-1, 1), got {wrong}")
    data, held = _prepared(frame, [treatment, mediator, response], covariates, unit)
    _check_movement(held.residuals(), treatment, mediator)
    assumed = np.asarray(correlations, dtype=np.float64)

    def statistic(at: Integers) -> dict[str, float]:
        indirect, _ = _under(held.residuals(at), assumed)
        return dict(enumerate(indirect))  # type: ignore[arg-type]

    found = bootstrap_positions(data, statistic, unit, rng, (), arrangement, interval, level, draws)
    _, at_zero = _under(held.residuals(), assumed)
    return pd.DataFrame({"correlation": assumed, "indirect": found["estimate"].to_numpy(),
                         "low": found["low"].to_numpy(), "high": found["high"].to_numpy(),
                         "correlation_at_zero": at_zero})  # fmt: skip


def _prepared(
    frame: pd.DataFrame, names: Sequence[str], covariates: Sequence[str], unit: str | Sequence[str]
) -> tuple[pd.DataFrame, "_Held"]:
    units = [unit] if isinstance(unit, str) else list(unit)
    used = list(dict.fromkeys([*names, *covariates, *units]))
    if missing := [name for name in used if name not in frame]:
        raise ValueError(f"mediation needs columns of the frame, got {', '.join(missing)}, which it lacks")
    data = frame.dropna(subset=[*names, *units]).reset_index(drop=True)
    try:
        arrays = np.column_stack([data[name].to_numpy(dtype=np.float64) for name in names])
    except (TypeError, ValueError) as error:
        raise ValueError(f"treatment, mediator and response must be columns of numbers: {error}") from None
    factors = [
        pd.factorize(np.array([level_label(value) for value in data[name]], dtype=object)) for name in covariates
    ]
    factors.sort(key=lambda factor: len(factor[1]), reverse=True)
    groups = factors[0][0] if factors else np.zeros(len(data), dtype=np.intp)
    dummies = [np.eye(len(levels))[codes][:, 1:] for codes, levels in factors[1:]]
    return data, _Held(arrays, groups, np.hstack([np.empty((len(data), 0)), *dummies]))


@dataclass(frozen=True)
class _Held:
    """Treatment, mediator and response, the covariate with the most levels, and dummies of the others."""

    arrays: Floats
    groups: npt.NDArray[np.intp]
    dummies: Floats

    def residuals(self, at: Integers | slice = slice(None)) -> Floats:
        """What the covariates leave of treatment, mediator and response in these rows, shape ``(rows, 3)``."""
        # By Frisch and Waugh these carry all coefficients. The largest covariate is taken out by its means, which is
        # quicker than its dummies; a level of another that a resample lacks is a column of zeros, hence lstsq.
        groups, whole = self.groups[at], np.hstack([self.arrays[at], self.dummies[at]])
        counts = np.maximum(np.bincount(groups), 1)
        means = np.stack([np.bincount(groups, column) for column in whole.T], axis=1) / counts[:, None]
        whole = whole - means[groups]
        left, dummies = whole[:, :3], whole[:, 3:]
        return np.asarray(left - dummies @ np.linalg.lstsq(dummies, left, rcond=None)[0] if dummies.size else left)


def _effects(left: Floats) -> dict[str, float]:
    (tt, tm, ty), (_, mm, my), _ = left.T @ left
    determinant = tt * mm - tm * tm
    # A treatment that never moves in a resample has no effect there; rounding must not make one up.
    if not (tt > 1e-12 * len(left) and determinant > 1e-12 * tt * mm):
        return dict.fromkeys(EFFECTS, float("nan"))
    a, total = tm / tt, ty / tt
    b, direct = (tt * my - tm * ty) / determinant, (mm * ty - tm * my) / determinant
    share = a * b / total if total else float("nan")
    return dict(zip(EFFECTS, map(float, (a, b, total, direct, a * b, share))))


def _under(left: Floats, correlations: Floats) -> tuple[Floats, float]:
    t, m, y = left.T
    tt = float(t @ t)
    if not tt > 1e-12 * len(left):
        return np.full(correlations.shape, np.nan), float("nan")
    a = float(t @ m) / tt
    of_mediator, of_response = m - a * t, y - float(t @ y) / tt * t
    spread = np.sqrt((of_response @ of_response) / (of_mediator @ of_mediator))
    observed = float(of_mediator @ of_response / np.sqrt((of_mediator @ of_mediator) * (of_response @ of_response)))
    bend = np.sqrt((1.0 - observed**2) / (1.0 - correlations**2))
    return np.asarray(a * spread * (observed - correlations * bend)), observed


def _check_movement(left: Floats, treatment: str, mediator: str) -> None:
    if np.isnan(_effects(left)["total"]):
        raise ValueError(
            f"{treatment} and {mediator} must move apart from each other once the covariates are held equal, "
            f"but in these {len(left)} rows they do not; give more cells or fewer covariates"
        )
