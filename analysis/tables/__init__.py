"""The closing tables: every method with intervals, what each costs, and the ensembles that hide in single runs."""

from analysis.tables.cost import COSTS, costs
from analysis.tables.members import implicit_ensembles
from analysis.tables.methods import DIFFERENCES, SUMMARY_SCORES, summary

__all__ = ["COSTS", "DIFFERENCES", "SUMMARY_SCORES", "costs", "implicit_ensembles", "summary"]
