"""Members of the implicit ensemble: the sub-networks a run visited, and how they are remembered.

A visited sub-network is the model's weights at the end of an episode, before the anchor absorbs them. Sparse forms need
few numbers for it: masks are redrawn, and walking back from the present over what each episode changed on its support
restores any earlier weight bit for bit. Dense forms, and a limited journal, store whole weights.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gmixout.form import Form
from gmixout.reference import mix
from gmixout.sparse import SparseForm

Record = Literal["none", "all"] | int


@dataclasses.dataclass(frozen=True)
class Member:
    """One sub-network of a run.

    Attributes:
        kind: ``visited`` (weights at the end of an episode) or ``fresh`` (a new mask on the final anchor and values).
        episode: Number of the episode, from 0; for fresh members the number of the draw.
        step: Optimiser steps taken when it was visited; for fresh members those of the run.
    """

    kind: Literal["visited", "fresh"]
    episode: int
    step: int


class Journal:
    """Remembers visited sub-networks.

    Args:
        record: ``all`` remembers every episode, a number at most twice so many, evenly spread over the run whatever
            its length, ``none`` nothing.

    Raises:
        ValueError: If ``record`` is none of these.
    """

    def __init__(self, record: Record) -> None:
        if record not in ("none", "all") and (isinstance(record, (str, bool)) or record < 1):
            raise ValueError(f"record must be 'none', 'all' or a number of members from 1, got {record!r}")
        self.record = record
        self.stride = 1
        self.entries: dict[int, dict[str, Any]] = {}

    def note(self, episode: int, step: int, forms: Sequence[Form], dense: Mapping[str, nn.Parameter]) -> None:
        """Remembers an episode that is about to end, if it is one of those to keep."""
        if self.record == "none" or (episode + 1) % self.stride:
            return
        weights: dict[str, Any] = {}
        for form in forms:
            if self.record == "all" and isinstance(form, SparseForm):
                weights[form.name] = tuple(part.cpu() for part in form.entry())
            else:
                weights[form.name] = form.effective_weight().cpu()
        kept = {name: parameter.detach().cpu().clone() for name, parameter in dense.items()}
        self.entries[episode] = {"step": step, "weights": weights, "dense": kept}
        if isinstance(self.record, int) and len(self.entries) > 2 * self.record:
            self.stride *= 2
            self.entries = {key: entry for key, entry in self.entries.items() if (key + 1) % self.stride == 0}

    def members(self) -> list[Member]:
        """The remembered episodes, oldest first."""
        return [Member("visited", episode, entry["step"]) for episode, entry in sorted(self.entries.items())]

    def rebuild(self, member: Member, form: Form) -> Tensor:
        """The effective weight of a visited sub-network, bit for bit, on the form's device.

        Raises:
            ValueError: If the episode was not remembered.
        """
        if member.episode not in self.entries:
            known = ", ".join(str(episode) for episode in sorted(self.entries)) or "none"
            raise ValueError(
                f"episode {member.episode} was not remembered (record={self.record!r}; remembered: {known}); "
                "attach with record='all' or a larger number"
            )
        stored = self.entries[member.episode]["weights"][form.name]
        if isinstance(stored, Tensor):
            return stored.to(form.anchor.device, copy=True)
        assert isinstance(form, SparseForm)
        weight = form.anchor_weight()
        for episode in range(form.episode - 1, member.episode - 1, -1):
            anchor, effective = self.entries[episode]["weights"][form.name]
            values = effective if episode == member.episode else anchor
            form.support.scatter(weight, form.support.draw(episode, weight.device), values.to(weight.device))
        return weight

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {"record": self.record, "stride": self.stride, "entries": self.entries}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up what an interrupted run had remembered."""
        self.stride, self.entries = state["stride"], dict(state["entries"])


def fresh_weight(form: Form, draw: int, key: int) -> Tensor:
    """A sub-network never trained: a new mask over the final anchor and the final student's values."""
    plan = dataclasses.replace(form.plan, key=key)
    anchor = form.anchor_weight()
    keep = plan.keep(draw, anchor.device)
    with torch.no_grad():
        return mix(form.student_weight(), anchor, keep, form.settings.scale)
