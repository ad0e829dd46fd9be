"""GMixout and the methods that are points in its space (Mixout, random masking), through `gmixout` itself."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gmixout import GMixout
from studies.methods.method import Accounting, Member, Method, spaced_steps
from studies.settings import CellSettings, point_settings


class Masked(Method):
    """Training through random weight masks.

    Members are visited sub-networks; each is what the model computed with at the end of an episode. A run with a single
    episode visits only one, so snapshots along its trajectory stand in: the control at the same sparsity.

    Args:
        model: Trained in place.
        cell: Gives the levers, the masks' seed and the number of members.
    """

    def __init__(self, model: nn.Module, cell: CellSettings) -> None:
        settings = point_settings(cell.method, cell.levers, cell.seed)
        wanted = cell.evaluation.members
        self._has_episodes = settings.resample_every < cell.steps
        self.member_kind = "visited" if self._has_episodes else "trajectory"
        self._names = list(model.state_dict())
        self._buffers = [name for name, _ in model.named_buffers()]
        # More are remembered than asked for, since the ones nearest to even spacing are chosen from them.
        super().__init__(model, cell)
        self.method = GMixout(model, settings, record=2 * wanted if wanted and self._has_episodes else "none")
        self._member_steps = spaced_steps(cell.steps, wanted)
        self._snapshots: dict[int, dict[str, Tensor]] = {}

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        return [group for group in self.method.parameter_groups(weight_decay=weight_decay) if group["params"]]

    def after_step(self, optimizer: Optimizer) -> None:
        self.method.step(optimizer)
        if not self._has_episodes and self.method.steps in self._member_steps:
            self._snapshots[self.method.steps] = self.held_weights()

    def reported(self) -> AbstractContextManager[object]:
        return self.method.reported()

    @torch.no_grad()
    def held_weights(self) -> dict[str, Tensor]:
        # By attribute: while the method is attached a masked weight's own name is a property that computes it.
        found = {}
        for name in self._names:
            owner, _, attribute = name.rpartition(".")
            found[name] = getattr(self.model.get_submodule(owner), attribute).detach().clone()
        return found

    def anchor_weights(self) -> dict[str, Tensor]:
        anchors = {form.name: form.anchor_weight() for form in self.method.forms}
        return self.held_weights() | {name: anchor.detach().clone() for name, anchor in anchors.items()}

    def members(self) -> list[Member]:
        if not self._has_episodes:
            return [Member(step, partial(self._holding, weights)) for step, weights in sorted(self._snapshots.items())]
        visited = self.method.members()
        chosen = _nearest([member.step for member in visited], self._member_steps)
        return [Member(visited[index].step, partial(self.method.using, visited[index])) for index in chosen]

    def fresh_members(self, number: int) -> list[Member]:
        return [Member(member.step, partial(self.method.using, member)) for member in self.method.fresh(number)]

    def accounting(self) -> Accounting:
        counts = self.method.counts()
        return Accounting(counts.total, counts.trained_per_episode, counts.touched, counts.episodes)

    def state_dict(self) -> dict[str, Any]:
        buffers = {name: self.model.get_buffer(name) for name in self._buffers}
        state = self.method.state_dict()
        # What is remembered of visited sub-networks serves to measure them, as snapshots do.
        journal = state.pop("journal")
        return {"method": state, "buffers": buffers, "snapshots": {"journal": journal, "weights": self._snapshots}}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        snapshots = state["snapshots"]
        self.method.load_state_dict(state["method"] | {"journal": snapshots["journal"]})
        for name in self._buffers:
            self.model.get_buffer(name).copy_(state["buffers"][name])
        self._snapshots = dict(snapshots["weights"])

    def merge(self) -> nn.Module:
        return self.method.merge()

    @contextmanager
    def _holding(self, weights: dict[str, Tensor]) -> Iterator[None]:
        masked = {form.name: form for form in self.method.forms}
        dense = {name: parameter for name, parameter in self.method.named_parameters() if name not in masked}
        own = {name: parameter.detach().clone() for name, parameter in dense.items()}
        try:
            for name, form in masked.items():
                form.override = weights[name]
            _put(dense, weights)
            yield
        finally:
            for form in masked.values():
                form.override = None
            _put(dense, own)


@torch.no_grad()
def _put(parameters: dict[str, nn.Parameter], weights: dict[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])


def _nearest(steps: list[int], wanted: tuple[int, ...]) -> list[int]:
    """Positions of the steps nearest to the wanted ones, each taken once, in order."""
    chosen: set[int] = set()
    for target in wanted:
        free = [index for index in range(len(steps)) if index not in chosen]
        if free:
            chosen.add(min(free, key=lambda index: (abs(steps[index] - target), index)))
    return sorted(chosen)
