"""Findings on levers: the numbers of their tests, nothing found with what could have been, and diversity's way."""

import numpy as np
import pytest

from analysis.lever_findings import WORDS, _effects, _verdict
from analysis.levers import lever_effects
from analysis.mediation import mediation
from tests.analysis.planted import Truth, plant


def test_every_response_has_effect_interval_and_corrected_p_or_what_could_be_found(small) -> None:
    effects = lever_effects(small)
    effects = effects[effects["response"].isin(WORDS)].reset_index(drop=True)
    found = {one.topic: one for one in _effects(effects)}
    text = found["Mask sparsity p (fraction held)"].text
    for word in WORDS.values():
        assert f"{word} 0.5 → 0.9 " in text
    assert text.count("p = ") + text.count("p < ") == len(WORDS)
    # The synthetic calibration error never moves.
    assert "calibration error off ID 0.5 → 0.9 +0.0 [+0.0, +0.0] (no difference found" in text
    nothing = effects.assign(p_value=0.4, detectable=0.012)
    (told, *_) = _effects(nothing[nothing["lever"].eq("sparsity")])
    assert told.text.count("no difference found, p = 1; one of 1.2 is found with a chance of 80 %") == len(WORDS)
    assert told.is_significant is False
    # Without an analysis of variance the paired tests over runs speak.
    (told, *_) = _effects(nothing.assign(p_value=np.nan, holm_p_value=0.01))
    assert told.is_significant
    assert "Paired t-test over 2 runs" in told.test


@pytest.mark.parametrize(
    ("truth", "says", "holds"),
    [
        (Truth(path_a={"sparsity": 0.08}, path_b=0.8, direct={}), "As the paper has it", True),
        (Truth(path_a={"sparsity": 0.08}, path_b=-0.8, direct={}), "more disagreement goes with less OOD", False),
        (Truth(path_a={}, path_b=0.8, direct={"sparsity": 0.1}), "is not shown", False),
        (Truth(path_a={"sparsity": 0.08}, path_b=0.8, direct={"sparsity": -0.2}), "pulls against", False),
        (Truth(path_a={}, path_b=0.0, direct={}), "cannot be told from none", False),
    ],
)
def test_the_story_holds_where_it_was_planted_and_nowhere_else(truth, says, holds) -> None:
    frame = plant(1, truth, runs=8)
    found = mediation(frame, "x_sparsity", "diversity_score", "ood_score", ["run", "anchor", "resample_every"],
                      draws=200).set_index("effect")  # fmt: skip
    verdict, is_held = _verdict(*(found.loc[name] for name in ("total", "indirect", "path_b")))
    assert says in verdict
    assert is_held == holds
