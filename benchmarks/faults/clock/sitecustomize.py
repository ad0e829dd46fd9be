"""Found by Python at its start where this folder is on the path: the clock goes wrong by what a file says, in seconds.

What a machine whose clock jumps would tell and write: `time.time`, and the times of files that are touched.
"""

import os
import time
from pathlib import Path

_OFFSET = Path(os.environ["GMIXOUT_FAULTY_CLOCK"])
_true_time, _true_utime = time.time, os.utime


def _time() -> float:
    return _true_time() + float(_OFFSET.read_text() or 0)


def _utime(path, times=None, **options) -> None:
    if times is None and "ns" not in options:
        now = _time()
        times = (now, now)
    _true_utime(path, times, **options)


time.time, os.utime = _time, _utime
