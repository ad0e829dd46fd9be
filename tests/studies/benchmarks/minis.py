"""A plugin that tells the suite of the miniatures: what is known of each is read from the file beside it.

Its one method is full fine-tuning by another name, since a plugin must bring one.
"""

import functools
import pickle
from pathlib import Path

from studies import benchmarks
from studies.methods.full import Full
from tests.studies.benchmarks.trees import OPTIONS

# Only a copy in a test's folder has it: doctests are collected from this file, too.
FACTS = Path(__file__).with_suffix(".pickle")

for name, facts in (pickle.loads(FACTS.read_bytes()) if FACTS.exists() else {}).items():
    made = functools.partial(benchmarks.BENCHMARKS[name], facts=facts, **OPTIONS.get(name, {}))
    benchmarks.BENCHMARKS[name] = made


class Mini(Full):
    """Full fine-tuning."""


METHODS = {"mini": Mini}
