"""Additions to training that any method can take, and the measure of what adversarial training is for."""

from studies.recipe.additions import Additions
from studies.recipe.attack import pgd
from studies.recipe.robustness import robust_accuracy

__all__ = ["Additions", "pgd", "robust_accuracy"]
