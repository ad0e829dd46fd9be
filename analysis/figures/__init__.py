"""The figures of the suite by name. One claim a file: ``table(records)``, then ``draw`` and ``caption``."""

from collections.abc import Mapping
from types import MappingProxyType

from analysis.figures import (
    bias_variance,
    corruption_grid,
    corruption_severity,
    cost_fronts,
    diversity_vs_ood_gain,
    effective_robustness,
    granularity,
    heatmaps,
    id_ood_plane,
    learning_rate_frontier,
    lever_importance,
    lever_pairs,
    lever_panels,
    longtail_groups,
    loss_surface,
    methods_and_levers,
    one_run,
    reliability,
    rivals_cost,
    rivals_plane,
    training_curves,
)
from analysis.figures.figure import Figure, NothingToDraw

FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "methods_and_levers": methods_and_levers.FIGURE,
        "id_ood_plane": id_ood_plane.FIGURE,
        "effective_robustness": effective_robustness.FIGURE,
        "learning_rate_frontier": learning_rate_frontier.FIGURE,
        "lever_panels": lever_panels.FIGURE,
        "lever_importance": lever_importance.FIGURE,
        "lever_pairs": lever_pairs.FIGURE,
        "heatmaps": heatmaps.FIGURE,
        "diversity_vs_ood_gain": diversity_vs_ood_gain.FIGURE,
        "reliability": reliability.FIGURE,
        "bias_variance": bias_variance.FIGURE,
        "loss_surface": loss_surface.FIGURE,
        "training_curves": training_curves.FIGURE,
        "corruption_severity": corruption_severity.FIGURE,
        "corruption_grid": corruption_grid.FIGURE,
        "longtail_groups": longtail_groups.FIGURE,
        "rivals_plane": rivals_plane.FIGURE,
        "rivals_cost": rivals_cost.FIGURE,
        "cost_fronts": cost_fronts.FIGURE,
        "granularity": granularity.FIGURE,
        "one_run": one_run.FIGURE,
    }
)

__all__ = ["FIGURES", "Figure", "NothingToDraw"]
