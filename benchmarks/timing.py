"""Times that can be compared on a machine whose speed drifts: turns in one process, ratios within a round.

Every round gives each contestant one turn, in an order that rotates, so that none always follows the same neighbour's
cache. On a CPU a turn is one call in this process's own CPU time; on a GPU it is a few calls between two events. Caches
are not flushed: what a step finds there is what training finds there.
"""

import contextlib
import gc
import math
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping

import pandas as pd
import torch

from benchmarks.budget import Budget

CALLS_PER_TURN = {"cpu": 1, "cuda": 3}
# What a median with quartiles needs at the very least.
FEWEST_ROUNDS = 3
# Overwritten before a cold call on a GPU: more than any cache holds, and long enough to launch the call meanwhile.
_SCRATCH_BYTES = 512 * 2**20


def rounds_of(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    device: torch.device,
    *,
    warmup: int = 2,
    seconds: float = math.inf,
    say: Callable[[str], None] = lambda text: None,
) -> pd.DataFrame:
    """Milliseconds of one call, a row for every round and a column for every contestant.

    Args:
        contestants: What to call, by name.
        rounds: Timed rounds, from 1.
        device: CPU time on a CPU, device time on a GPU.
        warmup: Rounds before that, not timed.
        seconds: After so long no further round is begun, but for the first three.
        say: Told of progress.
    """
    budget = Budget(seconds)
    names = list(contestants)
    times: dict[str, list[float]] = {name: [] for name in names}
    calls = CALLS_PER_TURN[device.type]
    with _few_to_collect():
        for number in range(-warmup, rounds):
            if number >= FEWEST_ROUNDS and budget.is_spent:
                break
            start = number % len(names)
            for name in names[start:] + names[:start]:
                spent = milliseconds(contestants[name], calls if number >= 0 else 1, device)
                if number >= 0:
                    times[name].append(spent)
            say(f"round {number + 1} of {rounds}" if number >= 0 else "warming up")
    return pd.DataFrame(times)


@contextlib.contextmanager
def _few_to_collect() -> Iterator[None]:
    """Spares whoever is timed a search for garbage through all that was imported: .3 s where peft is."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def milliseconds(call: Callable[[], object], calls: int, device: torch.device) -> float:
    """Time of one call, the mean of some in a row."""
    if device.type == "cpu":
        began = time.process_time()
        for _ in range(calls):
            call()
        return 1e3 * (time.process_time() - began) / calls
    before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize(device)
    before.record()
    for _ in range(calls):
        call()
    after.record()
    torch.cuda.synchronize(device)
    return before.elapsed_time(after) / calls


def cold_milliseconds(call: Callable[[], object], times: int, device: torch.device) -> list[float]:
    """Times of single calls; on a GPU with cold caches, and without the time that launching takes the host."""
    call()
    if device.type == "cpu":
        return [milliseconds(call, 1, device) for _ in range(times)]
    scratch = torch.empty(_SCRATCH_BYTES, dtype=torch.int8, device=device)
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(times)]
    for before, after in events:
        scratch.zero_()
        before.record()
        call()
        after.record()
    torch.cuda.synchronize(device)
    return [before.elapsed_time(after) for before, after in events]


def paired_ratios(times: pd.DataFrame, reference: str, name: str = "ratio") -> pd.DataFrame:
    """Median and quartiles, over rounds, of each column's ratio to the reference in the same round.

    Args:
        times: A row for every round, a column for every contestant.
        reference: One of them.
        name: What to call the ratio.

    Returns:
        Columns ``ratio``, ``ratio_q25``, ``ratio_q75``, whatever ``name`` says for ``ratio``; a row for every column of
        ``times``. NaN if the reference is not among them.

    Example:
        >>> times = pd.DataFrame({"full": [10.0, 20.0, 10.0], "ours": [5.0, 10.0, 7.5]})
        >>> paired_ratios(times, "full").loc["ours"].tolist()
        [0.5, 0.5, 0.625]
    """
    names = [name, f"{name}_q25", f"{name}_q75"]
    if reference not in times:
        return pd.DataFrame(float("nan"), index=times.columns, columns=names)
    ratios = times.div(times[reference], axis=0)
    return ratios.quantile([0.5, 0.25, 0.75]).T.set_axis(names, axis=1)


def clocks(device: torch.device) -> str:
    """The GPU's clocks and power as nvidia-smi gives them right now, or nothing."""
    if device.type != "cuda" or shutil.which("nvidia-smi") is None:
        return ""
    fields = "clocks.sm,clocks.mem,power.draw,temperature.gpu"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", f"--id={torch.cuda.current_device()}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip().replace(", ", " / ") if answer.returncode == 0 else ""
