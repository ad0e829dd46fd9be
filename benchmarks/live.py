"""How many bytes of tensors are alive: what a run keeps between steps, what autograd keeps within one, and the peak."""

import contextlib
import gc
import json
import pathlib
import tempfile
import types
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile


def tensors_within(*roots: object) -> list[Tensor]:
    """Every tensor that can be reached from some objects, gradients included, whatever attribute holds it.

    Modules, classes and the globals of functions are not entered; closures and defaults are.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(3))
        >>> weight.grad = torch.zeros(3)
        >>> len(tensors_within({"a": [weight]}, lambda: weight))
        2
    """
    found: dict[int, Tensor] = {}
    seen: set[int] = set()
    waiting: list[object] = list(roots)
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, types.ModuleType | type | types.FrameType):
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            found[id(item)] = item
            if item.grad is not None:
                waiting.append(item.grad)
        if isinstance(item, types.FunctionType):
            waiting += [item.__closure__, item.__defaults__, item.__kwdefaults__, item.__dict__]
        else:
            waiting += gc.get_referents(item)
    return list(found.values())


def storage_bytes(tensors: list[Tensor]) -> dict[int, int]:
    """Bytes of the distinct storages behind some tensors, by address; views count once.

    Example:
        >>> weight = torch.ones(4, 2)
        >>> list(storage_bytes([weight, weight.t(), weight.to_sparse()]).values())
        [32, 128, 32]
    """
    dense = (part for tensor in tensors for part in _strided(tensor))
    storages = (tensor.untyped_storage() for tensor in dense)
    return {storage.data_ptr(): storage.nbytes() for storage in storages if storage.nbytes()}


def _strided(tensor: Tensor) -> tuple[Tensor, ...]:
    if tensor.layout == torch.sparse_coo:
        return tensor._indices(), tensor._values()
    return (tensor,)


@contextlib.contextmanager
def saved_for_backward(kept: dict[int, int]) -> Iterator[dict[int, int]]:
    """Collects the storages that autograd saves within, by address, but for those that are kept anyway."""
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved.update((key, size) for key, size in storage_bytes([tensor]).items() if key not in kept)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def peak_growth(call: Callable[[], object], device: torch.device) -> int:
    """Bytes by which a call's highest point lies above its start.

    On a GPU the allocator's own count of allocated bytes. On a CPU the running sum of every allocation and release
    that passes torch's allocator, as its profiler reports them: workspaces inside operators are in, memory that a
    library takes from the system by itself is not. There a call that lets go of older memory is not credited for it.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        start = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - start
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = [event for event in events if event.get("name") == "[memory]"]
    level = highest = 0
    for change in sorted(changes, key=lambda event: event["ts"]):
        level += change["args"]["Bytes"]
        highest = max(highest, level)
    return highest
