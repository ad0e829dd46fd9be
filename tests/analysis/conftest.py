"""Fabricated records, made once a process."""

import pytest
from hypothesis import settings

from analysis.records import Records
from tests.analysis.granular import fabricate_granularities
from tests.analysis.rivals import fabricate_rivals
from tests.analysis.synthetic import fabricate

# No deadline: a test must not fail because other processes keep the machine busy.
settings.register_profile("analysis", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("analysis")


@pytest.fixture(scope="session")
def records() -> Records:
    return fabricate()


@pytest.fixture(scope="session")
def small() -> Records:
    return fabricate(anchors=("pretrained", "ema"), periods=(1.0, 10.0), sparsities=(0.5, 0.9), learning_rates=(1e-3,))


@pytest.fixture(scope="session")
def rivals() -> Records:
    return fabricate_rivals()


@pytest.fixture(scope="session")
def crossed() -> Records:
    return fabricate_granularities()
