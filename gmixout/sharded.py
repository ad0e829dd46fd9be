"""Weights that `torch.distributed.fsdp.fully_shard` splits by rows: every rank updates the rows that it holds.

Values of single entries and of columns are shaped like the rows they lie in, so equal parts of the weight and of the
values belong together, and taking a step, absorbing and redrawing need no traffic. Indices are drawn in full on every
rank, because the forward pass sees the gathered weight; anchors and the optimiser's state exist for a rank's rows only.
Attach, then shard every block and the model, then build the optimiser on `GMixout.parameters`. Supported are single
entries and columns on one mesh dimension, in plain storage, where the ranks divide the segments or rows; anything else
stops there with an error. Reports and members gather every masked weight on every rank.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gmixout.form import Form
from gmixout.masks import MaskPlan
from gmixout.sparse import SparseForm
from gmixout.supports import ElementSupport
from gmixout.targets import Roles, Target


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is one rank's view of a distributed one."""
    # By name: importing torch.distributed.tensor takes time that unsharded runs need not spend.
    return hasattr(tensor, "to_local")


@torch.no_grad()
def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank holds, by reference: all of a plain one."""
    return tensor.to_local().detach() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def full(state: Any) -> Any:
    """A state whose split tensors are gathered: what a run on one process would have saved. All ranks must call it.

    A sharded model cannot be merged in place: load the gathered state into a method on an unsharded model and merge
    that one.

    Args:
        state: Anything that `GMixout.state_dict` or an optimiser's ``state_dict`` returns.

    Example:
        >>> full({"steps": 3, "masked": (torch.ones(2), None)})
        {'steps': 3, 'masked': (tensor([1., 1.]), None)}
    """
    return _mapped(state, lambda tensor: tensor.full_tensor() if is_sharded(tensor) else tensor)  # type: ignore[attr-defined]


def copy_into(parameter: Tensor, value: Tensor) -> None:
    """Copies a whole or an equally split tensor into a parameter, split or not, without traffic."""
    if is_sharded(parameter) and not is_sharded(value):
        from torch.distributed.tensor import distribute_tensor

        held: Any = parameter
        value = distribute_tensor(value.to(held.device), held.device_mesh, held.placements, src_data_rank=None)
    local(parameter).copy_(local(value))


def refuse_sharded(roles: Roles) -> None:
    """Raises a ValueError if a weight to mask is split already."""
    for target in roles.masked:
        if is_sharded(target.parameter):
            raise ValueError(
                f"the method must come before the model is sharded, got {target.name} split over ranks already; "
                "attach to the plain model, then call fully_shard"
            )


def refuse_merge(forms: Sequence[Form]) -> None:
    """Raises a ValueError if forms are split over ranks."""
    if any(isinstance(form, ShardedForm) for form in forms):
        raise ValueError(
            "a model that fully_shard has split cannot be merged in place; load "
            "gmixout.sharded.full(method.state_dict()) into a method on an unsharded model and merge that one"
        )


def take_up(forms: Sequence[Form], roles: Roles, record: Any) -> Roles | None:
    """Makes forms work on this rank's rows where `fully_shard` has split their weights since the last call.

    Args:
        forms: One for every masked weight; they change in place.
        roles: The model's parameters.
        record: What the journal records.

    Returns:
        The roles with the parameters that have taken the old ones' places, or None if none has.

    Raises:
        ValueError: If a weight is split in a way that the method cannot train; nothing has changed then.
    """
    if not (forms and dist.is_available() and dist.is_initialized()):
        return None
    new = [form for form in forms if not isinstance(form, ShardedForm) and _is_split(form)]
    if new:
        for form in forms:
            _check(form, record)
        for form in new:
            # The modules, their hooks and the optimiser refer to the form itself.
            form.__class__ = ShardedForm
            form.shard()  # type: ignore[operator]
    masked = tuple(_moved(target, form.weight) for target, form in zip(roles.masked, forms, strict=True))
    dense, frozen = (tuple(_moved(t, _registered(t)) for t in targets) for targets in (roles.dense, roles.frozen))
    now = Roles(masked, dense, frozen)
    pairs = zip(roles.masked + roles.dense + roles.frozen, masked + dense + frozen, strict=True)
    return None if all(old is target for old, target in pairs) else now


class ShardedForm(SparseForm):
    """A sparse form whose weight and values are split: it computes with all of them and updates this rank's part."""

    _parts: "list[_Shard]"
    _split: tuple[Any, Any]

    def shard(self) -> None:
        """Takes the place of a sparse form; only this rank's part of the anchor is kept."""
        self._split = (self.weight, self.values)
        # In a list, so that torch does not register its values as parameters of the model.
        self._parts = [_Shard(self)]
        self.anchor, self.shadow = self._parts[0].anchor, self._parts[0].shadow

    def forward(self, weight: Tensor) -> Tensor:
        if self.override is not None:
            return self.override.to(weight.dtype)
        return super().forward(weight)

    @property
    def trained(self) -> nn.Parameter:
        return self._current()[1]

    def written(self, step: int) -> None:
        self._part().written(step)

    def remember(self) -> None:
        self._part().remember()

    def absorb(self) -> None:
        part = self._part()
        part.absorb()
        self.episode = part.episode

    def positions(self) -> Tensor:
        """Flat positions of this rank's values in this rank's rows."""
        return self._part().positions()

    def restart(self) -> None:
        self._part().restart()

    def anchor_weight(self) -> Tensor:
        return self._gathered(self._part().anchor_weight())

    def effective_weight(self) -> Tensor:
        return self._gathered(self._part().effective_weight())

    def student_weight(self) -> Tensor:
        return self._gathered(self._part().student_weight())

    def state(self) -> dict[str, Any]:
        """What `restore` needs, by reference, as distributed tensors."""
        return _mapped(self._part().state(), self._distributed)

    def restore(self, state: Mapping[str, Any], episode: int) -> None:
        """Takes up a state, whole or split like this one."""
        self.episode = episode
        self._part().restore(_mapped(dict(state), self._cut), episode)

    def _current(self) -> tuple[Any, Any]:
        """The split weight and values, also while the model holds gathered ones in their places."""
        weight, values = self.weight, self.values
        if is_sharded(weight) and is_sharded(values):
            self._split = (weight, values)
        return self._split

    def _part(self) -> "_Shard":
        part = self._parts[0]
        # Looked up at every use: loading a state may put other tensors in their place.
        weight, values = self._current()
        part.weight.data, part.values.data = local(weight), local(values)
        return part

    def _distributed(self, part: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor

        weight = self._split[0]
        return DTensor.from_local(part, weight.device_mesh, weight.placements, run_check=False)

    def _gathered(self, part: Tensor) -> Tensor:
        with torch.no_grad():
            return self._distributed(part).full_tensor()  # type: ignore[attr-defined]

    def _cut(self, value: Tensor) -> Tensor:
        if is_sharded(value):
            return local(value)
        mesh = self._split[0].device_mesh
        return value.tensor_split(mesh.size())[mesh.get_local_rank()]


class _Shard(SparseForm):
    """A rank's rows of a weight, a sparse form of their own; its index is a part of the whole weight's."""

    def __init__(self, whole: ShardedForm) -> None:
        weight = whole._split[0]
        mesh, rows = weight.device_mesh, local(weight)
        rank, world = mesh.get_local_rank(), mesh.size()
        super().__init__(whole.name, dataclasses.replace(whole.plan, shape=tuple(rows.shape)), nn.Parameter(rows))
        self._whole = [whole]
        self.episode = whole.episode
        assert (self.support.length, self.support.count) == (whole.support.length, whole.support.count)
        self.index = whole.index
        if isinstance(whole.support, ElementSupport):
            self.index = whole.index.tensor_split(world)[rank]
            self.support = _ElementShard(self.plan, whole.support, rank)
        self.anchor.copy_(whole.anchor.tensor_split(world)[rank])
        if self.shadow is not None and whole.shadow is not None:
            self.shadow.copy_(whole.shadow.tensor_split(world)[rank])
        if whole.finished is not None:
            trained, anchor = (value.tensor_split(world)[rank].clone() for value in whole.finished)
            self.finished = (trained, anchor)

    def redraw(self) -> None:
        # Only when a state is restored. This index is a view of the whole one.
        whole = self._whole[0]
        whole.index.copy_(whole.support.draw(self.episode, whole.index.device))


class _ElementShard(ElementSupport):
    """A rank's segments of a weight: drawn with all others, so that the mask is the one of a single process."""

    def __init__(self, plan: MaskPlan, whole: ElementSupport, rank: int) -> None:
        super().__init__(plan)
        self.whole, self.rank = whole, rank

    def draw(self, episode: int, device: torch.device | str = "cpu") -> Tensor:
        start = self.rank * self.segments
        return self.whole.draw(episode, device)[start : start + self.segments].clone()


def _is_split(form: Form) -> bool:
    return is_sharded(form.weight) or is_sharded(form.trained)


def _check(form: Form, record: Any) -> None:
    """Raises a ValueError if a form of a sharded model cannot be trained."""
    rule = f"fully_shard can train single entries and columns of evenly split weights: {form.name}"
    instead = "use DistributedDataParallel, or"
    if type(form) not in (SparseForm, ShardedForm):
        raise ValueError(
            f"{rule} is kept in a {type(form).__name__}; {instead} residual='reset', count='exact' and storage='plain'"
        )
    granularity, weight = form.settings.granularity, form.weight
    if granularity not in ("element", "column"):
        raise ValueError(f"{rule} has granularity={granularity!r}; {instead} granularity='element' or 'column'")
    if not (is_sharded(weight) and is_sharded(form.trained)):
        raise ValueError(
            f"{rule} is not split, or its values are not; call fully_shard on the whole model without ignored "
            "parameters, and model.reshard() after a forward pass without a backward pass"
        )
    mesh, placements = weight.device_mesh, weight.placements  # type: ignore[attr-defined]
    if mesh.ndim != 1 or not placements[0].is_shard(0) or placements != form.trained.placements:  # type: ignore[attr-defined]
        raise ValueError(f"{rule} has placements {placements} on {mesh}; use a mesh of one dimension and Shard(0)")
    segments = form.plan.segments[0] if granularity == "element" else form.plan.shape[0]
    if segments % mesh.size():
        raise ValueError(
            f"{rule} has {segments} {'segments' if granularity == 'element' else 'rows'} for {mesh.size()} ranks, "
            f"which must divide them; leave it out with masked=..., or {instead} other ranks"
        )
    if local(weight).device != form.anchor.device:
        raise ValueError(f"{rule} lies on {local(weight).device}, its mask on {form.anchor.device}; do not offload it")
    if record != "none":
        raise ValueError(f"a sharded model cannot remember members, got record={record!r}; attach with record='none'")


def _registered(target: Target) -> Tensor:
    module, attribute = target.owners[0]
    return module._parameters[attribute]  # type: ignore[return-value]


def _moved(target: Target, parameter: Any) -> Target:
    is_new = parameter is not target.parameter and is_sharded(parameter)
    return dataclasses.replace(target, parameter=parameter) if is_new else target


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _mapped(part, change) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(part, change) for part in value)
    return value
