"""Two processes that check things together, and small nets for them. Nothing leaves the loopback device."""

import os
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional

WORLD = 2
MASKED = r"^[02]\.weight$"
DENSE = r"^4\.|bias"


def on_two_ranks(folder, *checks):
    """Calls every check with the rank, in order, on two processes of one group; an error of either is raised here."""
    context = mp.start_processes(_rank, (str(folder / "store"), checks), WORLD, join=False, start_method="spawn")
    deadline = time.monotonic() + 300
    while not context.join(timeout=5):
        if time.monotonic() > deadline:
            for process in context.processes:
                process.kill()
            raise TimeoutError(f"the ranks were not done after 300 s with {[check.__name__ for check in checks]}")


def _rank(rank, store, checks):
    if Path("/sys/class/net/lo").exists():
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    limit = timedelta(seconds=120)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD, timeout=limit)
    for check in checks:
        check(rank)
        # An uncaught error of one rank must not leave the other one in the next check.
        dist.barrier()
    dist.destroy_process_group()


def network(dtype=torch.float32, hidden=128):
    """A perceptron of tiles of 64 whose large weights are drawn in several segments; the head has an odd size."""
    torch.manual_seed(0)
    layers = nn.Linear(64, hidden), nn.Tanh(), nn.Linear(hidden, 64), nn.Tanh(), nn.Linear(64, 3)
    return nn.Sequential(*layers).to(dtype)


def batch(step, rank, dtype=torch.float32, size=6):
    """A rank's batch at a step; for rank None those of all ranks."""
    if rank is None:
        inputs, labels = zip(*[batch(step, other, dtype, size) for other in range(WORLD)], strict=True)
        return torch.cat(inputs), torch.cat(labels)
    generator = torch.Generator().manual_seed(1000 * rank + step)
    return torch.randn(size, 64, generator=generator).to(dtype), torch.randint(0, 3, (size,), generator=generator)


def train(model, method, optimizer, steps, rank, start=0):
    """Steps on a rank's data; for rank None on everybody's."""
    for step in range(start, start + steps):
        inputs, labels = batch(step, rank, next(method.parameters()).dtype)
        functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        method.step(optimizer)
        optimizer.zero_grad()


def adam(method):
    return torch.optim.AdamW(method.parameters(), lr=1e-2, weight_decay=0.01)


def traffic(work):
    """The collective calls that some work makes, by name."""
    # The calls, not what gloo's own threads make of them: those may end after the profile.
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work()
    return [event.name for event in profile.events() or [] if event.name.startswith("c10d::")]


def error_of(work):
    """The text of the ValueError that some work must raise."""
    try:
        work()
    except ValueError as error:
        return str(error)
    raise AssertionError("no ValueError was raised")
