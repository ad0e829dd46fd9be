"""Data parallel training: what `DistributedDataParallel` leaves alone, and a check that all ranks hold the same.

Masks are functions of the seed, the weight's name and the episode, so every rank draws the same ones and nothing is
sent but the gradients of what trains: the values on the support, and dense parameters. Ranks therefore agree for as
long as they start from the same weights. With ``storage="hilo"`` wrap with ``init_sync=False``: values without storage
cannot receive DDP's first broadcast. For models that `fully_shard` splits see `gmixout.sharded`.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gmixout.accounting import fingerprint
from gmixout.form import Form
from gmixout.sharded import ShardedForm

if TYPE_CHECKING:
    from gmixout.method import GMixout

# The list that DistributedDataParallel reads from the module it wraps; torch's own setter writes it, too, and marks
# tensors besides, which could not be undone.
_LIST = "_ddp_params_and_buffers_to_ignore"


def keep_local(module: nn.Module) -> None:
    """Tells `DistributedDataParallel` not to broadcast the method's buffers before every forward pass.

    Attaching does this for the model itself, and merging undoes it. DDP reads the list from the very module that it
    wraps: where that is a module around the model, call this with it before wrapping. Without it DDP sends anchors at
    every step, and stops with "Invalid scalar type" where it cannot send an index of 16 bits (gloo). What a module
    ignores already stays ignored. Ignored buffers are not sent at the start either: `check_agreement` compares them.

    Args:
        module: The module that `DistributedDataParallel` will wrap.

    Raises:
        ValueError: If it is wrapped already.

    Example:
        >>> from gmixout import GMixout, Settings
        >>> outer = nn.Sequential(nn.Linear(4, 4))
        >>> method = GMixout(outer[0], Settings())
        >>> keep_local(outer)
        >>> getattr(outer, "_ddp_params_and_buffers_to_ignore")[:2]
        ['0.parametrizations.weight.0.index', '0.parametrizations.weight.0.anchor']
    """
    refuse_wrapped(module)
    listed = list(getattr(module, _LIST, ()))
    setattr(module, _LIST, listed + [name for name in _buffer_names(module) if name not in listed])


def refuse_wrapped(module: nn.Module) -> None:
    """Raises a ValueError if `DistributedDataParallel` wraps a module, or a part of it, already."""
    if any(isinstance(part, DistributedDataParallel) for part in module.modules()):
        raise ValueError(
            "the method must come before DistributedDataParallel, got a model that is wrapped already; "
            "attach to the plain model, then wrap it"
        )


def let_go(module: nn.Module) -> None:
    """Undoes `keep_local`; the method must still be attached."""
    ours = set(_buffer_names(module))
    others = [name for name in getattr(module, _LIST, ()) if name not in ours]
    if others:
        setattr(module, _LIST, others)
    elif hasattr(module, _LIST):
        delattr(module, _LIST)


def check_agreement(method: "GMixout", group: dist.ProcessGroup | None = None) -> None:
    """Checks that all ranks hold the same run: settings, base weights, steps, masks, values, anchors.

    All ranks of the group must call it. It reads every number that the method keeps and sends a few kilobytes, so call
    it once before training, and now and then, not at every step. Without a process group there is nothing to check. Of
    weights that `fully_shard` has split only the masks are compared: every rank holds its own part of the rest.

    Args:
        method: The attached method.
        group: The ranks to compare; default: all.

    Raises:
        ValueError: If ranks differ, on all of them: which ranks, and in what.

    Example:
        >>> from gmixout import GMixout, Settings
        >>> method = GMixout(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), Settings(), dense="1")
        >>> check_agreement(method)
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    gathered: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(gathered, _parts(method), group)
    first, ranks = gathered[0], dist.get_process_group_ranks(group)
    found = []
    for rank, parts in zip(ranks, gathered, strict=True):
        names = [name for name in {**first, **parts} if parts.get(name) != first.get(name)]
        if names:
            listed = [_difference(name, parts, first) for name in names[:5]] + ["…"] * (len(names) > 5)
            found.append(f"rank {rank} differs from rank {ranks[0]} in {', '.join(listed)}")
    if found:
        raise ValueError(
            f"all ranks must hold the same run: {'; '.join(found)}; "
            "attach to the same pretrained weights with the same settings, and call step on every rank after every step"
        )


def _buffer_names(module: nn.Module) -> list[str]:
    forms = [(prefix, part) for prefix, part in module.named_modules(remove_duplicate=False) if isinstance(part, Form)]
    return [f"{prefix}.{name}" for prefix, form in forms for name in form._buffers]


def _parts(method: "GMixout") -> dict[str, Any]:
    """What must be equal on all ranks, by what it is called in an error: plain values, and digests as bytes."""
    parts: dict[str, Any] = {f"settings.{name}": value for name, value in dataclasses.asdict(method.settings).items()}
    parts |= {"base weights": bytes.fromhex(method.fingerprint)}
    parts |= {"steps": method.steps, "steps_in_episode": method.steps_in_episode, "episode": method.episode}
    tensors: dict[str, Any] = {}
    for form in method.forms:
        held = dict(form.named_buffers())
        if isinstance(form, ShardedForm):
            held = {"index": form.index}
        else:
            held |= {"weight": form.weight, "trained values": form.trained}
        tensors |= {f"{name} of {form.name}": tensor for name, tensor in held.items()}
    masked = {id(form.trained) for form in method.forms}
    tensors |= {name: parameter for name, parameter in method.named_parameters() if id(parameter) not in masked}
    plain = {name: tensor for name, tensor in tensors.items() if not hasattr(tensor, "to_local")}
    return parts | {name: bytes.fromhex(fingerprint({"": tensor})) for name, tensor in plain.items()}


def _difference(name: str, parts: dict[str, Any], first: dict[str, Any]) -> str:
    ours, theirs = parts.get(name), first.get(name)
    return name if bytes in (type(ours), type(theirs)) else f"{name} ({ours!r}, not {theirs!r})"
