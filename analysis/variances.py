"""Variance components by restricted maximum likelihood, with profile intervals, in designs with holes as in whole ones.

A response is fixed effects, random offsets of named components (benchmarks, runs within them) and an error. What the
fixed effects explain is projected out first, and the rows are turned so that all but a few carry the error alone: one
evaluation then costs as little as there are offsets, however many rows.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize, stats

from analysis.probabilities import Floats

ERROR = "residual"
SMALLEST = 1e-9
"""Of the error's variance, in units of all rows' mean square; a component is nothing below it."""


@dataclass(frozen=True)
class Restricted:
    r"""The restricted likelihood of variances, of errors' contrasts that hold no fixed effect.

    .. math:: \ell(\sigma^2) = -\tfrac12\bigl(\log|V| + \log|X^\top V^{-1} X| + r^\top V^{-1} r\bigr), \qquad
              V = \sigma_e^2 I + \sum_j \sigma_j^2 Z_j Z_j^\top

    up to a constant (Patterson and Thompson, Biometrika 1971). In a balanced design its maximum is the estimator of the
    analysis of variance wherever that is not negative.

    Args:
        names: Components, the error last.
        kernels: Each component's :math:`Z_j Z_j^\top` on the turned rows that offsets reach, shape ``(r, r)``.
        values: The response on these rows, shape ``(r,)``.
        error_squares: Sum of squares on the rows that carry the error alone.
        error_rows: How many these are.
        scale: Mean square of all rows, the unit of the search.
    """

    names: tuple[str, ...]
    kernels: tuple[Floats, ...]
    values: Floats
    error_squares: float
    error_rows: int
    scale: float

    def value(self, variances: npt.ArrayLike) -> float:
        """The logarithm of the likelihood at these variances, in the order of ``names``; the error's above 0."""
        return -self._loss_and_slope(np.asarray(variances, dtype=np.float64))[0]

    @functools.cached_property
    def top(self) -> tuple[Floats, float]:
        """The variances at the maximum and the logarithm of the likelihood there."""
        offsets, found = len(self.names) - 1, []
        # Two starts, since the likelihood may have two tops: most of it error, and most of it offsets.
        for share in (0.1, 0.9):
            start = np.array([*[share / max(offsets, 1)] * offsets, 1.0 - share])
            found.append(self._climb(self.scale * start, held=None))
        return max(found, key=lambda top: top[1])

    def ratio(self, position: int, variance: float) -> float:
        r"""The likelihood-ratio statistic of one variance, :math:`2(\ell_{max} - \ell(v))`, the others fitted anew."""
        estimate, top = self.top
        beside = estimate.copy()
        beside[position] = variance
        return 2.0 * (top - self._climb(beside, held=position)[1])

    def interval(self, position: int, level: float = 0.95) -> tuple[float, float]:
        r"""The variances whose :meth:`ratio` is at most the quantile of :math:`\chi^2_1`; the low end may be 0.

        Exact for no number of benchmarks; close for five and more.
        """
        estimate, top = self.top
        allowed = float(stats.chi2.ppf(level, 1)) / 2.0
        beside = estimate.copy()

        def excess(logarithm: float) -> float:
            # From where the last one ended, which lies near.
            beside[position] = np.exp(logarithm)
            beside[:], reached = self._climb(beside, held=position)
            return top - reached - allowed

        floor = np.log(SMALLEST * self.scale)
        peak = max(float(np.log(max(estimate[position], 1e-300))), floor)
        low, high = 0.0, max(peak + 1.0, float(np.log(1e-3 * self.scale)))
        while excess(high) <= 0.0:
            high += 1.0
        high = float(np.exp(optimize.brentq(excess, peak, high, xtol=1e-4)))
        beside[:] = estimate
        if peak > floor and excess(floor) > 0.0:
            low = float(np.exp(optimize.brentq(excess, floor, peak, xtol=1e-4)))
        return low, high

    def _climb(self, start: Floats, held: int | None) -> tuple[Floats, float]:
        variances = start.copy()
        free = [position for position in range(len(self.names)) if position != held]
        # The error may not vanish: without it rows of one run would be one number.
        bounds = [(SMALLEST if position == len(self.names) - 1 else 0.0, None) for position in free]

        def loss(units: Floats) -> tuple[float, Floats]:
            variances[free] = self.scale * units
            found, slope = self._loss_and_slope(variances)
            return found, self.scale * slope[free]

        if free:
            begin = np.maximum(variances[free] / self.scale, [low for low, _ in bounds])
            options = {"ftol": 1e-13, "gtol": 1e-8, "maxiter": 500}
            found = optimize.minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
            variances[free] = self.scale * found.x
        return variances, self.value(variances)

    def _loss_and_slope(self, variances: Floats) -> tuple[float, Floats]:
        error = variances[-1]
        covariance = error * np.eye(len(self.values))
        for variance, kernel in zip(variances[:-1], self.kernels):
            covariance += variance * kernel
        lower = linalg.cholesky(covariance, lower=True, check_finite=False)
        inverse = linalg.cho_solve((lower, True), np.eye(len(self.values)), check_finite=False)
        solved = inverse @ self.values
        loss = np.log(np.diag(lower)).sum() + 0.5 * self.values @ solved
        loss += 0.5 * (self.error_rows * np.log(error) + self.error_squares / error)
        slope = [0.5 * (np.sum(inverse * kernel) - solved @ kernel @ solved) for kernel in self.kernels]
        of_error = 0.5 * (np.trace(inverse) - solved @ solved + self.error_rows / error)
        return float(loss), np.array([*slope, of_error - 0.5 * self.error_squares / error**2])


def restricted(response: npt.ArrayLike, fixed: npt.ArrayLike, offsets: Mapping[str, npt.ArrayLike]) -> Restricted:
    """The restricted likelihood of a response.

    Args:
        response: Shape ``(rows,)``; no NaN.
        fixed: Columns of the fixed effects, shape ``(rows, effects)``, none a combination of the others.
        offsets: By component, 0/1 columns of the units that share an offset, shape ``(rows, units)``.

    Raises:
        ValueError: If shapes differ, a name is the error's, a number is not finite, or fixed effects depend on each
            other or leave no row.

    Example:
        >>> groups = np.repeat(np.eye(3), 2, axis=0)
        >>> found = restricted([1.0, 1.2, 3.0, 3.2, 5.0, 5.2], np.ones((6, 1)), {"group": groups})
        >>> variances, _ = found.top
        >>> dict(zip(found.names, variances.round(3).tolist()))
        {'group': 3.99, 'residual': 0.02}
    """
    values, columns = np.asarray(response, dtype=np.float64), np.asarray(fixed, dtype=np.float64)
    units = {name: np.asarray(one, dtype=np.float64) for name, one in offsets.items()}
    rows = len(values)
    if values.ndim != 1 or any(one.ndim != 2 or len(one) != rows for one in (columns, *units.values())):
        shapes = [one.shape for one in (columns, *units.values())]
        raise ValueError(f"fixed and offsets need one row a response, got {values.shape} and {shapes}")
    if ERROR in units or not all(np.isfinite(one).all() for one in (values, columns)):
        raise ValueError(f"responses and effects must be finite, and no component be called {ERROR}")
    effects = columns.shape[1]
    if np.linalg.matrix_rank(columns) < effects or rows <= effects:
        raise ValueError(
            f"fixed effects must be told apart and leave rows for the error, got {effects} effects and {rows} rows; "
            "leave out a factor that moves only together with others, or run its missing cells"
        )
    contrasts = linalg.qr(columns)[0][:, effects:]
    inner, turned = contrasts.T @ values, {name: contrasts.T @ one for name, one in units.items()}
    left, sizes, _ = linalg.svd(np.concatenate([np.zeros((len(inner), 0)), *turned.values()], axis=1))
    reached = int((sizes > 1e-9 * max(sizes, default=0.0)).sum())
    basis, rest = left[:, :reached], left[:, reached:]
    kernels = tuple(basis.T @ one @ one.T @ basis for one in turned.values())
    error_squares = float(np.sum((rest.T @ inner) ** 2))
    scale = max(float(inner @ inner) / len(inner), 1e-30)
    return Restricted((*units, ERROR), kernels, basis.T @ inner, error_squares, rest.shape[1], scale)
