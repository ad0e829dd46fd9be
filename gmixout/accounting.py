"""Honest numbers about a method: parameters by role, trained at once, touched over the run; the base's fingerprint."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import torch
from torch import Tensor

from gmixout.form import Form
from gmixout.settings import Settings
from gmixout.targets import Roles


@dataclasses.dataclass(frozen=True)
class Counts:
    """Parameters of a model under the method, all in entries.

    Attributes:
        total: All parameters of the model.
        masked: Entries of masked weights.
        dense: Parameters that train without a mask.
        trained_per_episode: Kept entries of the current mask, plus ``dense``.
        touched: Masked entries kept in at least one visited episode, plus ``dense``: what the run may have changed.
        episodes: Sub-networks visited.
    """

    total: int
    masked: int
    dense: int
    trained_per_episode: int
    touched: int
    episodes: int


def count(forms: Sequence[Form], dense: int, frozen: int, visited: int) -> Counts:
    """Counts exactly, by redrawing the visited masks: the time of one redraw per episode.

    Args:
        forms: The masked weights.
        dense: Parameters that train without a mask.
        frozen: Parameters that do not train.
        visited: Episodes to redraw, from number 0.
    """
    masked = sum(form.plan.entries for form in forms)
    kept = sum(int(form.plan.keep(form.episode).sum()) for form in forms)
    touched = sum(_touched(form, visited) for form in forms)
    return Counts(masked + dense + frozen, masked, dense, kept + dense, touched + dense, visited)


def _touched(form: Form, visited: int) -> int:
    union = torch.zeros(form.plan.shape, dtype=torch.bool)
    for episode in range(visited):
        union |= form.plan.keep(episode)
        # Asked rarely, because the question costs a pass over the weight.
        if episode % 16 == 15 and bool(union.all()):
            break
    return int(union.sum())


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """A hash of the base weights, as 64 hexadecimal digits: names, shapes, dtypes and every bit, in order of names.

    Example:
        >>> fingerprint({"w": torch.zeros(2)}) == fingerprint({"w": torch.zeros(2)})
        True
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        weight = weights[name].detach()
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype};".encode())
        digest.update(weight.contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def refuse_foreign(state: Mapping[str, Any], fingerprint: str, settings: Settings, dense: AbstractSet[str]) -> None:
    """Raises a ValueError unless a saved state belongs to this base model, these settings and these parameters."""
    if state["fingerprint"] != fingerprint:
        raise ValueError(
            f"the state belongs to another base model: its weights' fingerprint is {state['fingerprint'][:12]}, "
            f"this model's is {fingerprint[:12]}; attach to the pretrained weights that the run started from"
        )
    ours = dataclasses.asdict(settings)
    other = {name: value for name, value in state["settings"].items() if ours.get(name) != value}
    if other:
        named = ", ".join(f"{name}={value!r} (here {ours.get(name)!r})" for name, value in other.items())
        raise ValueError(f"the state was saved with other settings: {named}; attach with the same settings")
    if set(state["dense"]) != dense:
        names = ", ".join(sorted(set(state["dense"]) ^ dense)[:5])
        raise ValueError(f"the state trains other dense parameters: {names}; attach with the same dense=...")


def describe(forms: Sequence[Form], roles: Roles) -> str:
    """A table with a line for every parameter: its role, shape, kept entries and realised sparsity."""
    plans = {form.name: form.plan for form in forms}
    targets = [(role, target) for role in ("masked", "dense", "frozen") for target in getattr(roles, role)]
    width = max(len(name) for name in ("parameter", *(target.name for _, target in targets)))
    lines = [f"{'parameter':<{width}} {'role':<7} {'shape':<20} {'kept':>12} {'sparsity':>9}"]
    for role, target in targets:
        shape = "×".join(str(size) for size in target.parameter.shape) or "scalar"
        line = f"{target.name:<{width}} {role:<7} {shape:<20}"
        if role == "masked":
            plan = plans[target.name]
            line += f" {plan.kept_entries:>12} {1 - plan.kept_entries / plan.entries:>9.4f}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def warnings(forms: Sequence[Form], settings: Settings) -> list[str]:
    """What a user should know before training starts: masks that may keep nothing, residuals that may grow."""
    found = []
    if rounded := [form.name for form in forms if form.plan.is_rounded_up]:
        found.append(
            f"sparsity={settings.sparsity} rounds to nothing kept in {_listed(rounded)}: "
            "each keeps one unit all the same"
        )
    if empty := [form.name for form in forms if form.plan.chance_of_nothing > 0.001]:
        chance = max(form.plan.chance_of_nothing for form in forms)
        found.append(
            f"coin flips keep nothing in an episode with a chance of up to {chance:.1%} in {_listed(empty)}; "
            "count='exact' always keeps something"
        )
    if settings.residual_growth > 1.0:
        found.append(
            f"carried residuals grow {settings.residual_growth:.3g} times when their entry is absorbed, so the run may "
            "diverge: use residual='reset', rescale=False, or an anchor that absorbs at most "
            f"{2.0 / settings.scale:.3g} of the weights"
        )
    return found


def _listed(names: Sequence[str]) -> str:
    tensors = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
    return f"{tensors} ({', '.join(names[:3])}{' …' if len(names) > 3 else ''})"
