"""The analysis never meets torch, and importing it does nothing to the caller."""

import subprocess
import sys

PROGRAM = """
import sys
import analysis.figures.render, analysis.tables, analysis.printing, analysis.selection, analysis.effects
import analysis.comparisons, analysis.pareto, analysis.pairing
import analysis.accuracy, analysis.calibration, analysis.diversity, analysis.outcomes, analysis.records
forbidden = {"torch", "triton", "optuna", "pydantic", "timm", "torchvision", "gmixout", "studies"}
print(sorted(forbidden & set(sys.modules)), "matplotlib.pyplot" in sys.modules)
"""


def test_no_module_of_the_analysis_imports_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"
