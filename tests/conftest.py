"""Settings every test shares: kernels are interpreted where there is no GPU, and each worker uses one thread."""

import os

from tests.browser import browser

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRITON_INTERPRET", "1")

__all__ = ["browser"]
