"""The figures of the suite by name. One claim a file: ``table(records)`` then ``draw(frame, figure)``."""

from collections.abc import Mapping
from types import MappingProxyType

from analysis.figures import (
    corruption_severity,
    diversity_vs_ood_gain,
    heatmaps,
    id_ood_plane,
    learning_rate_frontier,
    lever_panels,
    rivals_cost,
    rivals_plane,
)
from analysis.figures.figure import Figure, NothingToDraw

FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "id_ood_plane": id_ood_plane.FIGURE,
        "learning_rate_frontier": learning_rate_frontier.FIGURE,
        "lever_panels": lever_panels.FIGURE,
        "heatmaps": heatmaps.FIGURE,
        "diversity_vs_ood_gain": diversity_vs_ood_gain.FIGURE,
        "corruption_severity": corruption_severity.FIGURE,
        "rivals_plane": rivals_plane.FIGURE,
        "rivals_cost": rivals_cost.FIGURE,
    }
)

__all__ = ["FIGURES", "Figure", "NothingToDraw"]
