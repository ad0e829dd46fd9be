"""Effective robustness against statsmodels' line, exact planted lines, and cases worked by hand."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.robustness import TRANSFORMS, effective_robustness_score, fit_line, robustness_scores

FRACTIONS = st.floats(0.01, 0.99)


@settings(max_examples=40)
@given(st.lists(st.tuples(FRACTIONS, FRACTIONS), min_size=3, max_size=20, unique_by=lambda pair: round(pair[0], 3)))
def test_the_line_is_statsmodels_in_stretched_units(pairs) -> None:
    x, y = np.array(pairs).T
    for transform, stretch in (("probit", stats.norm.ppf), ("logit", lambda p: np.log(p / (1 - p)))):
        expected = sm.OLS(stretch(y), sm.add_constant(stretch(x))).fit()
        line = fit_line(x, y, transform)
        assert (line.intercept, line.slope) == pytest.approx(tuple(expected.params), rel=1e-6, abs=1e-6)
        assert (line.models, line.dropped) == (len(pairs), 0)
        # Residuals of the fit in accuracy: what the model has above the line.
        on_line = TRANSFORMS[transform][1](np.asarray(expected.fittedvalues))
        assert effective_robustness_score(x, y, line) == pytest.approx(y - on_line, abs=1e-6)


@pytest.mark.parametrize("transform", list(TRANSFORMS))
def test_a_planted_line_is_recovered_and_the_extremes_are_counted(transform) -> None:
    stretch, back = TRANSFORMS[transform]
    x = np.array([0.0, 0.3, 0.5, 0.7, 0.9, 1.0, np.nan])
    y = back(0.7 * stretch(x) - 0.4)
    line = fit_line(x, y, transform)
    assert (line.slope, line.intercept, line.r_squared) == pytest.approx((0.7, -0.4, 1.0))
    assert (line.models, line.dropped) == (4, 3)
    assert effective_robustness_score([0.6], back(0.7 * stretch(np.array([0.6])) - 0.4) + 0.02, line) == pytest.approx(
        0.02
    )


def test_the_models_in_question_do_not_move_the_line() -> None:
    frame = pd.DataFrame({"id_score": [0.5, 0.6, 0.7, 0.65], "ood_score": [0.5, 0.6, 0.7, 0.9]})
    found, line = robustness_scores(frame, frame.index < 3, reference=0.7)
    assert (line.slope, line.intercept) == pytest.approx((1.0, 0.0), abs=1e-12)
    assert found["effective_robustness_score"].to_numpy() == pytest.approx([0, 0, 0, 0.25], abs=1e-12)
    assert found["relative_robustness_score"].to_numpy() == pytest.approx([-0.2, -0.1, 0.0, 0.2])
    assert robustness_scores(frame, frame.index < 3)[0]["relative_robustness_score"].isna().all()


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="fractions in"):
        fit_line([50.0, 60.0], [40.0, 50.0])
    with pytest.raises(ValueError, match="at least two baseline models"):
        fit_line([0.5, 0.5, 1.0], [0.3, 0.4, 0.5])
    with pytest.raises(ValueError, match="transform must be one of probit, logit"):
        fit_line([0.5, 0.6], [0.3, 0.4], "log")
    with pytest.raises(ValueError, match="one shape"):
        fit_line([0.5, 0.6], [0.3])
    with pytest.raises(ValueError, match="missing: ood_score"):
        robustness_scores(pd.DataFrame({"id_score": [0.5]}), [True])
