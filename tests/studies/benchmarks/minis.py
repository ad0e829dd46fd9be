"""A plugin that tells the suite of the miniatures: what is known of each is read from the file beside it.

Its one method is full fine-tuning by another name, since a plugin must bring one.
"""

import functools
import pickle
from pathlib import Path

from studies import benchmarks
from studies.methods.full import Full
from tests.studies.benchmarks.trees import OPTIONS

for name, facts in pickle.loads(Path(__file__).with_suffix(".pickle").read_bytes()).items():
    made = functools.partial(benchmarks.BENCHMARKS[name], facts=facts, **OPTIONS.get(name, {}))
    benchmarks.BENCHMARKS[name] = made


class Mini(Full):
    """Full fine-tuning."""


METHODS = {"mini": Mini}
