r"""Effective and relative robustness: OOD accuracy beyond what ID accuracy predicts, and beyond a reference's.

Over many ordinary models OOD accuracy lies on a line against ID accuracy once both are stretched: by the logit (Taori
et al., NeurIPS 2020) or the probit (Miller et al., ICML 2021), :math:`g(y) = a\,g(x) + b`. The line is fitted to a
baseline set of models; a model's effective robustness is what it has above the line. Accuracies are FRACTIONS, x and y
of the same classes: where a shift has a subset of the classes, x is ID accuracy on that subset.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from analysis.probabilities import Floats

_Function = Callable[[Floats], Floats]
TRANSFORMS: Mapping[str, tuple[_Function, _Function]] = {
    "probit": (special.ndtri, special.ndtr),
    "logit": (special.logit, special.expit),
}
"""Each stretch of a fraction with its inverse."""


@dataclass(frozen=True)
class Line:
    """A line through stretched accuracies.

    Attributes:
        transform: ``probit`` or ``logit``.
        slope: In stretched units.
        intercept: In stretched units.
        models: Models behind the fit.
        dropped: Models left out because an accuracy of 0 or 1, or NaN, has no finite stretch.
        r_squared: Share of the variance of the stretched OOD accuracies that the line explains; NaN if there is none.
    """

    transform: str
    slope: float
    intercept: float
    models: int
    dropped: int
    r_squared: float

    def predict(self, id_scores: npt.ArrayLike) -> Floats:
        """OOD accuracy on the line, fractions of the same shape; NaN at NaN."""
        stretch, back = TRANSFORMS[self.transform]
        stretched = stretch(np.asarray(id_scores, dtype=np.float64))
        return np.asarray(back(self.slope * stretched + self.intercept))


def fit_line(id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike, transform: str = "probit") -> Line:
    """Least squares of stretched OOD on stretched ID accuracy over a baseline set of models.

    Args:
        id_scores: Fractions, shape ``(models,)``.
        ood_scores: Fractions, same shape.
        transform: ``probit`` or ``logit``.

    Raises:
        ValueError: If the transform is unknown, shapes differ, a score lies outside [0, 1], or fewer than two different
            ID accuracies can be stretched.

    Example:
        >>> line = fit_line([0.5, 0.8, 0.9, 1.0], [0.3, 0.6, 0.75, 0.9], transform="logit")
        >>> line.models, line.dropped, line.predict(0.85).round(3).item()
        (3, 1, 0.668)
    """
    if transform not in TRANSFORMS:
        raise ValueError(f"transform must be one of {', '.join(TRANSFORMS)}, got {transform!r}")
    x, y = _fractions("id_scores", id_scores), _fractions("ood_scores", ood_scores)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"id_scores and ood_scores must have one shape (models,), got {x.shape} and {y.shape}")
    stretch, _ = TRANSFORMS[transform]
    across, up = stretch(x), stretch(y)
    is_finite = np.isfinite(across) & np.isfinite(up)
    across, up = across[is_finite], up[is_finite]
    if len(np.unique(across)) < 2:
        raise ValueError(
            f"a line needs at least two baseline models with different ID accuracies strictly between 0 and 1, got "
            f"{len(np.unique(across))} of {x.size} models"
        )
    centred = across - across.mean()
    slope = float(centred @ up / (centred @ centred))
    intercept = float(up.mean() - slope * across.mean())
    spread = float(((up - up.mean()) ** 2).sum())
    rest = float(((up - slope * across - intercept) ** 2).sum())
    r_squared = 1.0 - rest / spread if spread > 0 else float("nan")
    return Line(transform, slope, intercept, int(is_finite.sum()), int((~is_finite).sum()), r_squared)


def effective_robustness_score(id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike, line: Line) -> Floats:
    r"""OOD accuracy less the line's at the same ID accuracy, not in stretched units; above 0 is more robust.

    .. math:: y - g^{-1}\bigl(a\,g(x) + b\bigr)

    Args:
        id_scores: Fractions, any shape.
        ood_scores: Fractions, same shape.
        line: Fitted to a baseline set, of which these models should not be part.

    Example:
        >>> line = Line("logit", slope=1.0, intercept=0.0, models=2, dropped=0, r_squared=1.0)
        >>> effective_robustness_score([0.8], [0.85], line).round(3).tolist()
        [0.05]
    """
    found = _fractions("ood_scores", ood_scores) - line.predict(_fractions("id_scores", id_scores))
    return np.asarray(found)


def robustness_scores(
    scores: pd.DataFrame, baseline: npt.ArrayLike, transform: str = "probit", reference: float | None = None
) -> tuple[pd.DataFrame, Line]:
    """Both kinds of robustness of every model of a frame.

    Args:
        scores: Columns ``id_score`` and ``ood_score``, fractions, as :func:`analysis.shifts.shift_scores` gives them.
        baseline: Whether a row is one of the models that the line is fitted to, shape ``(rows,)``.
        transform: ``probit`` or ``logit``.
        reference: OOD accuracy of the model without the intervention, for relative robustness (Taori et al., section
            2: both are wanted, since a model may lie above the line and still be worse off OOD than where it began).

    Returns:
        The frame with ``line_score`` (on the line), ``effective_robustness_score`` and ``relative_robustness_score``
        (NaN without a reference), and the line.

    Raises:
        ValueError: If a column is missing, or the line cannot be fitted.

    Example:
        >>> frame = pd.DataFrame({"id_score": [0.5, 0.8, 0.7], "ood_score": [0.4, 0.7, 0.7]})
        >>> found, line = robustness_scores(frame, [True, True, False], reference=0.65)
        >>> found[["effective_robustness_score", "relative_robustness_score"]].iloc[2].round(3).tolist()
        [0.109, 0.05]
    """
    missing = [name for name in ("id_score", "ood_score") if name not in scores.columns]
    if missing:
        raise ValueError(f"scores must have the columns id_score and ood_score, missing: {', '.join(missing)}")
    chosen = scores[np.asarray(baseline, dtype=bool)]
    line = fit_line(chosen["id_score"], chosen["ood_score"], transform)
    above = effective_robustness_score(scores["id_score"], scores["ood_score"], line)
    found = scores.assign(line_score=line.predict(scores["id_score"]), effective_robustness_score=above)
    beyond = scores["ood_score"] - (float("nan") if reference is None else reference)
    return found.assign(relative_robustness_score=beyond), line


def _fractions(name: str, values: npt.ArrayLike) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if ((found < 0) | (found > 1)).any():
        raise ValueError(f"{name} must be fractions in [0, 1], got {np.nanmin(found)} to {np.nanmax(found)}")
    return found
