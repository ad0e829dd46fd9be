"""How members of an ensemble differ, and what their ensemble gains: in answers, in distributions, in features.

:func:`diversity_scores` gives every measure of logits at once, reading them in parts.
"""

from analysis.diversity.answers import (
    double_fault_error,
    error_consistency_error,
    error_correlation_error,
    independent_members_score,
    interrater_kappa_error,
    label_disagreement_score,
    label_kappa_error,
    q_statistic_error,
    ratio_error_score,
    right_entropy_score,
    vote_entropy_score,
)
from analysis.diversity.distributions import (
    effective_members_score,
    js_divergence_score,
    kl_divergence_score,
    member_entropy_score,
    mutual_information_score,
    prediction_variance_score,
    predictive_entropy_score,
)
from analysis.diversity.ensembles import ensemble_gain_score, ensemble_log_probabilities
from analysis.diversity.features import cka_score, feature_diversity_score
from analysis.diversity.streaming import diversity_scores, normalised_disagreement_score

__all__ = [
    "cka_score",
    "diversity_scores",
    "double_fault_error",
    "effective_members_score",
    "ensemble_gain_score",
    "ensemble_log_probabilities",
    "error_consistency_error",
    "error_correlation_error",
    "feature_diversity_score",
    "independent_members_score",
    "interrater_kappa_error",
    "js_divergence_score",
    "kl_divergence_score",
    "label_disagreement_score",
    "label_kappa_error",
    "member_entropy_score",
    "mutual_information_score",
    "normalised_disagreement_score",
    "prediction_variance_score",
    "predictive_entropy_score",
    "q_statistic_error",
    "ratio_error_score",
    "right_entropy_score",
    "vote_entropy_score",
]
