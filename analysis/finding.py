"""One finding, and the words that all findings share."""

from dataclasses import dataclass

import numpy as np

from analysis.figures.words import percent

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Finding:
    """One sentence or two, and what they rest on.

    Args:
        topic: What it is about, in a word or two.
        text: The finding, with its numbers; percent and points.
        test: How it was tested, with unit, correction and what it does not cover.
        is_significant: Whether the test named there rejects; None where nothing is tested.
    """

    topic: str
    text: str
    test: str
    is_significant: bool | None = None


def p_text(value: float) -> str:
    """A p-value in words.

    Example:
        >>> p_text(0.0302), p_text(0.0001), p_text(1.0), p_text(float("nan"))
        ('p = .030', 'p < .001', 'p = 1', 'no test')
    """
    if np.isnan(value):
        return "no test"
    if value > 0.9995:
        return "p = 1"
    return "p < .001" if value < 0.001 else f"p = {value:.3f}".replace("0.", ".")


def not_found(p_value: float, detectable: float) -> str:
    """What stands behind an effect that no test tells from none.

    Args:
        p_value: Corrected.
        detectable: The least true effect that the test finds with a chance of 80 %, a fraction; NaN if not known.

    Example:
        >>> not_found(0.4, 0.012)
        'no difference found, p = .400; one of 1.2 is found with a chance of 80 %'
    """
    text = f"no difference found, {p_text(p_value)}"
    return text if np.isnan(detectable) else f"{text}; one of {percent(detectable)} is found with a chance of 80 %"
