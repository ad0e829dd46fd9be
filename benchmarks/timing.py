"""Times that can be compared on a machine whose speed drifts: turns in one process, ratios within a round.

Every round gives each contestant one turn, in an order that rotates, so that none always follows the same neighbour's
cache. On a CPU a turn is one call in this process's own CPU time; on a GPU it is a few calls between two events. Caches
are not flushed: what a step finds there is what training finds there.
"""

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping

import pandas as pd
import torch

CALLS_PER_TURN = {"cpu": 1, "cuda": 3}


def rounds_of(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    device: torch.device,
    *,
    warmup: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> pd.DataFrame:
    """Milliseconds of one call, a row for every round and a column for every contestant.

    Args:
        contestants: What to call, by name.
        rounds: Timed rounds, from 1.
        device: CPU time on a CPU, device time on a GPU.
        warmup: Rounds before that, not timed.
        say: Told of progress.
    """
    names = list(contestants)
    times: dict[str, list[float]] = {name: [] for name in names}
    calls = CALLS_PER_TURN[device.type]
    for number in range(-warmup, rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            spent = milliseconds(contestants[name], calls if number >= 0 else 1, device)
            if number >= 0:
                times[name].append(spent)
        say(f"round {number + 1} of {rounds}" if number >= 0 else "warming up")
    return pd.DataFrame(times)


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


def paired_ratios(times: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Median and quartiles, over rounds, of each column's ratio to the reference in the same round.

    Returns:
        Columns ``ratio``, ``ratio_q25``, ``ratio_q75``; a row for every column of ``times``. NaN if the reference is
        not among them.

    Example:
        >>> times = pd.DataFrame({"full": [10.0, 20.0, 10.0], "ours": [8.0, 16.0, 9.0]})
        >>> paired_ratios(times, "full").loc["ours"].tolist()
        [0.8, 0.8, 0.85]
    """
    if reference not in times:
        return pd.DataFrame(float("nan"), index=times.columns, columns=["ratio", "ratio_q25", "ratio_q75"])
    ratios = times.div(times[reference], axis=0)
    quantiles = ratios.quantile([0.5, 0.25, 0.75]).T
    return quantiles.set_axis(["ratio", "ratio_q25", "ratio_q75"], axis=1)


def clocks(device: torch.device) -> str:
    """The GPU's clocks and power as nvidia-smi gives them right now, or nothing."""
    if device.type != "cuda" or shutil.which("nvidia-smi") is None:
        return ""
    fields = "clocks.sm,clocks.mem,power.draw,temperature.gpu"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", f"--id={torch.cuda.current_device()}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip().replace(", ", " / ") if answer.returncode == 0 else ""
