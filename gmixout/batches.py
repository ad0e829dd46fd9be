"""Steps all masked weights together: one kernel launch for those that share device and types, plain torch elsewhere.

`gmixout.method` asks for three things: write what an optimiser has trained, end the episode, and, from the method's own
AdamW, take the optimiser's step as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from gmixout import moments
from gmixout.dense import DenseForm
from gmixout.form import Form
from gmixout.halves import HalvesForm
from gmixout.kernels.launch import is_chosen
from gmixout.masks import keep_all
from gmixout.sparse import SparseForm
from gmixout.supports import draw_all

# What a table of kernels holds for each weight, besides the optimiser's state.
_OWN = ("weight", "lo", "index", "values", "anchor", "shadow")
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


Owner = tuple[Any, int]


class Batch:
    """Weights that are stepped alike, each by itself, in plain torch.

    Args:
        forms: The weights.
        owner: The `gmixout.AdamW` that steps them, if any, and the number of its parameter group.

    Attributes:
        forms: The same.
        owner: The same.
        is_written: Whether the weights hold what was trained last, because the optimiser's step wrote them.
    """

    def __init__(self, forms: Sequence[Form], owner: Owner = (None, 0)) -> None:
        self.forms = list(forms)
        self.owner = owner
        self.is_written = False

    def write(self, step: int) -> None:
        """Takes up the trained values after optimiser step number ``step`` of the episode."""
        if not self.is_written:
            for form in self.forms:
                form.written(step)
        self.is_written = False

    def end_episode(self, *, resets_moments: bool) -> bool:
        """Absorbs the weights into the anchors and starts the next episode.

        Args:
            resets_moments: Whether the optimiser's state restarts.

        Returns:
            Whether it has been restarted here.
        """
        for form in self.forms:
            form.absorb()
        dense = [form for form in self.forms if isinstance(form, DenseForm)]
        stored = [form for form in dense if form.stored is not None and not form.draws_in_kernels]
        if stored:
            # Coins of many small weights are flipped in one go.
            keep = keep_all([form.plan for form in stored], stored[0].episode, stored[0].anchor.device)
            for form, mask in zip(stored, keep, strict=True):
                form.take(mask)
        drawing = [form for form in dense if form.stored is None and form.draws_in_kernels]
        if drawing:
            torch._foreach_add_([form.number for form in drawing], 1)
        sparse: list[Any] = [form for form in self.forms if type(form) in (SparseForm, HalvesForm)]
        if sparse:
            indices = draw_all([form.support for form in sparse], sparse[0].episode, sparse[0].anchor.device)
            for form, index in zip(sparse, indices, strict=True):
                form.take(index)
        taken = {id(form) for form in stored + drawing + sparse}
        for form in self.forms:
            if id(form) not in taken:
                form.redraw()
            form.restart()
        return False

    @property
    def steps_itself(self) -> bool:
        """Whether `adamw` takes the optimiser's step, and torch's own should not."""
        return False

    @property
    def takes_some(self) -> bool:
        """Whether `adamw` can leave out weights without a gradient."""
        return False

    def adamw(self, states: Sequence[dict[str, Any]], options: Mapping[str, Any], step: int) -> None:
        """Takes AdamW's step and writes the weights.

        Args:
            states: The optimiser's state of each weight: ``exp_avg``, ``exp_avg_sq``, and ``step``, counted already.
            options: A parameter group's: ``lr``, ``betas``, ``eps``, ``weight_decay``, ``maximize``.
            step: Number of the optimiser's step in the episode.
        """
        raise NotImplementedError


class HalvesBatch(Batch):
    """Weights kept as two halves, where no kernel runs."""

    forms: list[HalvesForm]  # type: ignore[assignment]

    steps_itself = takes_some = True  # type: ignore[assignment]

    def adamw(self, states: Sequence[dict[str, Any]], options: Mapping[str, Any], step: int) -> None:
        _adamw_one_by_one(self.forms, states, options, step)
        self.is_written = True


class KernelBatch(Batch):
    """Sparse forms that share device and types: one launch a step, two to end an episode, no host waiting."""

    forms: list[SparseForm]  # type: ignore[assignment]

    steps_itself = True  # type: ignore[assignment]

    def __init__(self, forms: Sequence[SparseForm], owner: Owner = (None, 0)) -> None:
        from gmixout.kernels.tables import Entry, Table

        super().__init__(forms, owner)
        self._weights: tuple[int, ...] = ()
        self._has_moments = False
        tensors: list[dict[str, Any]] = [form.tensors() for form in self.forms]
        entries = [
            Entry(form.support.geometry, form.plan.key, **own) for form, own in zip(self.forms, tensors, strict=True)
        ]
        self.table = Table(entries, self.forms[0].anchor.device)
        settings = self.forms[0].settings
        self._scale, self._is_residual = settings.scale, settings.decay_to == "anchor"
        self._settings = settings

    def write(self, step: int) -> None:
        if not self.is_written:
            from gmixout.kernels import support

            self._point()
            if not self.table.is_hilo:
                support.write(self.table, self._scale, self._is_residual, self._follow(step))
            self._forget()
        self.is_written = False

    def end_episode(self, *, resets_moments: bool) -> bool:
        from gmixout.kernels import support

        self._point()
        settings, episode = self._settings, self.forms[0].episode
        self._remember()
        for form in self.forms:
            form.episode += 1
        support.absorb(self.table, settings.old_anchor_weight(episode))
        resets_here = resets_moments and self._has_moments
        support.redraw(self.table, episode + 1, self._is_residual, resets_here)
        return resets_here

    @property
    def takes_some(self) -> bool:  # type: ignore[override]
        return self.table.is_hilo

    def adamw(self, states: Sequence[dict[str, Any]], options: Mapping[str, Any], step: int) -> None:
        from gmixout.kernels import adamw

        self._point()
        gradients = [form.values.grad for form in self.forms]
        if any(gradient is None for gradient in gradients):
            _adamw_one_by_one(self.forms, states, options, step)  # type: ignore[arg-type]
            self.is_written = True
            return
        self.table.point("gradient", [None if g is None else _contiguous(g) for g in gradients])
        for name in _MOMENTS:
            self.table.point(name, [state[name] for state in states])
        self._has_moments = True
        beta1, beta2 = options["betas"]
        adamw.adamw(
            self.table,
            float(options["lr"]),
            float(beta1),
            float(beta2),
            options["eps"],
            float(options["weight_decay"]),
            self._scale,
            self._is_residual,
            self._follow(step),
            options["maximize"],
        )
        self._forget()
        self.is_written = True

    def _remember(self) -> None:
        if self.table.is_hilo:
            for form in self.forms:
                form.remember()
            return
        # A product with 1 is a copy that takes one launch for all.
        values = torch._foreach_mul([form.current_values() for form in self.forms], 1.0)
        anchors = torch._foreach_mul([form.anchor for form in self.forms], 1.0)
        for form, *finished in zip(self.forms, values, anchors, strict=True):
            form.finished = (finished[0], finished[1])

    def _follow(self, step: int) -> float | None:
        return self._settings.old_anchor_weight(step) if self._settings.follows_steps else None

    def _point(self) -> None:
        """Names the tensors anew where they may have moved; all of a weight's move together."""
        weights = tuple(form.weight.data_ptr() for form in self.forms)
        if weights != self._weights:
            tensors = [form.tensors() for form in self.forms]
            for name in _OWN:
                self.table.point(name, [one[name] for one in tensors])
            self._weights = weights

    def _forget(self) -> None:
        for form in self.forms:
            form.finished = None


class Batches:
    """The batches of a method, sorted anew where an optimiser, a device or the choice of kernels changes."""

    def __init__(self) -> None:
        self._owners: dict[int, Owner] = {}
        self._key: Any = None
        self._sorted: list[Batch] = []

    def of(self, forms: Sequence[Form]) -> list[Batch]:
        """The batches of all masked weights of a method."""
        first = forms[0].anchor if forms else None
        key = first is not None and (first.device, is_chosen(first), type(forms[0]), len(forms))
        if key != self._key:
            self._key, self._sorted = key, _sorted(forms, self._owners)
        return self._sorted

    def bind(self, optimizer: Optimizer, forms: Sequence[Form]) -> None:
        """Takes up a `gmixout.AdamW`: each batch lies in one of its parameter groups, or in none."""
        groups = enumerate(optimizer.param_groups)
        self._owners |= {id(p): (optimizer, number) for number, group in groups for p in group["params"]}
        self._key = None
        for form in forms:
            if isinstance(form, HalvesForm) and id(form.trained) in self._owners:
                form.bind()


def end_episode(batch: Batch, holders: Mapping[int, Optimizer], *, resets_moments: bool) -> None:
    """Ends an episode of a batch, and restarts or moves the optimisers' state with it.

    Args:
        batch: The weights.
        holders: The optimiser of each trained parameter, by the parameter's id.
        resets_moments: Whether the state restarts, or stays with the entries that do.
    """
    old = [] if resets_moments else [form.positions() for form in batch.forms]
    is_reset = batch.end_episode(resets_moments=resets_moments)
    if resets_moments and not is_reset:
        moments.restart([(holders[id(form.trained)], form.trained) for form in batch.forms])
    for form, before in zip(batch.forms, old, strict=False):
        after = form.positions()
        if before is not None and after is not None:
            moments.carry(holders[id(form.trained)], form.trained, before, after, form.plan.entries)


def _sorted(forms: Sequence[Form], owners: Mapping[int, Owner]) -> list[Batch]:
    alike: dict[Any, list[Any]] = {}
    for form in forms:
        owner = owners.get(id(form.trained), (None, 0))
        kind: type[Batch] = Batch
        if type(form) in (SparseForm, HalvesForm):
            if is_chosen(form.anchor):
                kind = KernelBatch
            elif isinstance(form, HalvesForm):
                kind = HalvesBatch
        types = (form.anchor.device, form.weight.dtype, form.anchor.dtype, type(form)) if kind is KernelBatch else ()
        # Optimisers are told apart by who they are, for they may compare by what they hold.
        alike.setdefault((kind, id(owner[0]), owner[1], types), []).append((owner, form))
    return [key[0]([form for _, form in found], found[0][0]) for key, found in alike.items()]


def _adamw_one_by_one(
    forms: Sequence[HalvesForm], states: Sequence[dict[str, Any]], options: Mapping[str, Any], step: int
) -> None:
    for form, state in zip(forms, states, strict=True):
        if form.values.grad is not None:
            form.adamw(state, options)
            form.written(step)


def _contiguous(gradient: Tensor) -> Tensor:
    if not gradient.is_contiguous():
        raise ValueError(f"gradients of values must be contiguous, got strides {gradient.stride()}")
    return gradient
