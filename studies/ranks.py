"""Several processes that train one model: what they say to each other, and how one of them sees the rest fail."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gmixout.accounting import fingerprint
from gmixout.parallel import keep_local
from studies.recipe.streams import generator

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: the first one looks at ID validation while they do."""
MEETING = timedelta(minutes=2)
"""How long it waits for them to come at all."""


class Ranks:
    """One process alone: nothing is sent. The base of :class:`Group`.

    Attributes:
        rank: Number of this process, from 0.
        size: How many there are.
    """

    rank = 0
    size = 1

    @property
    def is_first(self) -> bool:
        """Whether this process saves, evaluates and reports."""
        return self.rank == 0

    def wrapped(self, module: nn.Module) -> nn.Module:
        """A module whose backward pass leaves the mean of all processes' gradients."""
        return module

    def alone(self, module: nn.Module) -> AbstractContextManager[object]:
        """A context in which a wrapped module's gradients add up here and are not sent yet."""
        return contextlib.nullcontext()

    def mean(self, loss: Tensor) -> Tensor:
        """The mean of a number over all processes; the same bits on each."""
        return loss

    def told(self, value: float) -> float:
        """What the first process says; the others' values do not matter."""
        return value

    def seed(self, seed: int, step: int) -> None:
        """Gives every process random numbers of its own for a step; a process alone goes on with those it has."""

    def require_equal(self, model: nn.Module) -> None:
        """Compares all parameters and buffers of all processes.

        Raises:
            RuntimeError: On every process, if they differ.
        """


ALONE = Ranks()


def alone() -> AbstractContextManager[Ranks]:
    """The context of a process that trains by itself."""
    return contextlib.nullcontext(ALONE)


class Group(Ranks):
    """Processes of one machine, over gloo on the CPU and NCCL on GPUs; see :func:`joined`.

    Gradients are torch's `DistributedDataParallel`'s to send: those of what trains, once a step. Besides them a step
    sends two numbers.
    """

    def __init__(self, device: str) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._device = device
        # Numbers on the CPU, so that a GPU need not wait for them.
        self._control: Any = dist.new_group(backend="gloo", timeout=PATIENCE)

    def wrapped(self, module: nn.Module) -> nn.Module:
        keep_local(module)
        # Buffers are equal by construction: batch norms that follow batches are refused.
        return DistributedDataParallel(module, **_NO_BUFFERS)

    def alone(self, module: nn.Module) -> AbstractContextManager[object]:
        assert isinstance(module, DistributedDataParallel)
        return module.no_sync()

    def mean(self, loss: Tensor) -> Tensor:
        total = loss.detach().double().cpu().reshape(1)
        dist.all_reduce(total, group=self._control)
        return (total / self.size).reshape(())

    def told(self, value: float) -> float:
        said = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(said, 0, group=self._control)
        return float(said)

    def seed(self, seed: int, step: int) -> None:
        # A function of the step, so that nothing need be saved for each process.
        torch.manual_seed(generator("rank", seed, step, self.rank).initial_seed())

    def require_equal(self, model: nn.Module) -> None:
        held: Mapping[str, Tensor] = dict(model.named_parameters()) | dict(model.named_buffers())
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, {name: fingerprint({"": value}) for name, value in held.items()}, self._control)
        wrong = [name for name in found[0] if any(other.get(name) != found[0][name] for other in found)]
        if wrong:
            raise RuntimeError(
                f"processes that train one model must hold the same numbers, but {wrong[0]} differs"
                f"{f' and {len(wrong) - 1} more do' if len(wrong) > 1 else ''}; this is a fault of the program or of "
                "the machine, and the run's checkpoint is older than it"
            )


# torch 2.15 has renamed the argument, and warns about the old name.
_NO_BUFFERS: dict[str, Any] = {
    "forward_sync_buffers"
    if "forward_sync_buffers" in signature(DistributedDataParallel).parameters
    else "broadcast_buffers": False
}


@contextmanager
def joined(store: Path, rank: int, size: int, device: str) -> Iterator[Group]:
    """Meets the other processes of one machine at a file, and leaves them at the end.

    Args:
        store: A file that none of them has made yet.
        rank: Number of this process.
        size: How many there are; all must come.
        device: ``cpu``, or ``cuda``: then process r takes GPU r.
    """
    # Nothing leaves the machine.
    if Path("/sys/class/net/lo").exists():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "gloo"
    if device == "cuda":
        torch.cuda.set_device(rank)
        backend = "cpu:gloo,cuda:nccl"
    meeting = dist.FileStore(str(store), size)
    meeting.set_timeout(MEETING)
    dist.init_process_group(backend, store=meeting, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield Group(device)
    finally:
        dist.destroy_process_group()


def is_echo(error: BaseException) -> bool:
    """Whether an error only says that another process has gone.

    Example:
        >>> is_echo(RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:3000"))
        True
        >>> is_echo(MemoryError())
        False
    """
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo/transport", "Socket Timeout")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, dist.DistError) or any(sign in str(cause) for sign in signs):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
