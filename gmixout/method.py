"""The method on a model: attach by parameter, one call a step, merge at the end."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gmixout import halves, moments, parallel, sharded
from gmixout.accounting import Counts, count, describe, fingerprint, refuse_foreign, warnings
from gmixout.attachment import Attachment
from gmixout.batches import Batch, Batches, end_episode
from gmixout.form import Form
from gmixout.masks import MaskPlan
from gmixout.members import Journal, Member, Record, fresh_weight
from gmixout.sampling import tensor_key
from gmixout.settings import Settings
from gmixout.targets import Pattern, assign

__all__ = ["Counts", "GMixout"]

_LOGGER = logging.getLogger(__name__)


class GMixout:
    r"""Fine-tunes a model through random weight masks around a moving anchor, in place.

    Masked weights read as :math:`W = \Phi + c\, M \odot \Delta` (`Settings`). Attach before building the optimiser,
    call `step` after every optimiser step, and `merge` at the end: the model is then a plain module again.

    In the sparse form (``residual="reset"``, or one mask for the run) a masked weight costs no second copy: the weight
    is updated in place, and values, anchor and optimiser state exist on the support only. Its dense gradient lives
    while the backward pass of that one layer runs. In the dense form student and anchor are stored whole.

    While the method is attached the model computes with the effective weights; `reported` swaps in those that
    ``settings.report`` names. Attach before ``torch.compile`` and before wrapping for data parallel training, and move
    the model to its device and memory format first. Source: arXiv 2510.06982; settings where it is silent.

    Args:
        model: Any module. Its weights are the pretrained ones.
        settings: The levers.
        masked: Which parameters are masked, a regular expression or a list of name parts. Default: every weight of
            two or more dimensions except the head and embeddings.
        dense: Which other parameters train, without a mask. Default: the head, biases and norms. The rest is frozen.
        record: Visited sub-networks to remember for `members`: ``none``, ``all`` or about how many.

    Raises:
        ValueError: If nothing is left to mask, a pattern matches nothing, or the model carries a method already.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> method = GMixout(model, Settings(sparsity=0.5, resample_every=2), dense=r"^2\.|bias")
        >>> optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
        >>> for _ in range(4):
        ...     loss = model(torch.ones(3, 8)).square().mean()
        ...     loss.backward()
        ...     optimizer.step()
        ...     method.step(optimizer)
        ...     optimizer.zero_grad()
        >>> method.counts().trained_per_episode, method.counts().episodes
        (148, 2)
        >>> [name for name, _ in method.merge().named_parameters()]
        ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Settings,
        *,
        masked: Pattern | None = None,
        dense: Pattern | None = None,
        record: Record = "none",
    ) -> None:
        parallel.refuse_wrapped(model)
        roles = assign(model, masked, dense)
        sharded.refuse_sharded(roles)
        plans = [
            MaskPlan(tensor_key(settings.seed, target.name), tuple(target.parameter.shape), settings)
            for target in roles.masked
        ]
        halves.check(roles.masked, plans)
        self.model = model
        self.settings = settings
        self.steps = 0
        self.steps_in_episode = 0
        self.episode = 0
        self.journal = Journal(record)
        self.fingerprint = fingerprint({target.name: target.parameter for target in roles.masked})
        self._roles = roles
        self._dense = {target.name: target.parameter for target in roles.dense}
        self._checked: tuple[Optimizer, ...] = ()
        self._batches = Batches()
        self._attachment = Attachment(roles, plans)
        parallel.keep_local(model)
        for warning in warnings(self.forms, settings):
            _LOGGER.warning(warning)

    @property
    def forms(self) -> list[Form]:
        """What is kept for each masked weight; none after merging."""
        moved = sharded.take_up(self._attachment.forms, self._roles, self.journal.record)
        if moved is not None:
            self._roles = moved
            self._dense = {target.name: target.parameter for target in moved.dense}
            self._attachment.forget()
        return self._attachment.forms

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields what trains: values of masked weights under the weights' names, then dense parameters."""
        yield from ((form.name, form.trained) for form in self.forms)
        yield from self._dense.items()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yields what trains, for any torch optimiser and for gradient clipping.

        A clipped norm covers the trained values only: about ``sqrt(1 - sparsity)`` of full fine-tuning's.
        """
        return (parameter for _, parameter in self.named_parameters())

    def parameter_groups(self, weight_decay: float = 0.0) -> list[dict[str, Any]]:
        """Two groups for an optimiser: weights with the given decay, biases and norms with none.

        Example:
            >>> method = GMixout(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), Settings(resample_every=1))
            >>> [len(group["params"]) for group in method.parameter_groups(weight_decay=0.1)]
            [1, 3]
        """
        masked = [form.trained for form in self.forms]
        matrices = [parameter for parameter in self._dense.values() if parameter.ndim >= 2]
        vectors = [parameter for parameter in self._dense.values() if parameter.ndim < 2]
        return [
            {"params": masked + matrices, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]

    @torch.no_grad()
    def step(self, *optimizers: Optimizer) -> None:
        """Takes up an optimiser step; every ``resample_every`` steps it moves the anchor and draws a new mask.

        Args:
            optimizers: The optimisers that hold `parameters`. Their state is restarted or carried at a new mask.

        Raises:
            ValueError: If they miss a trained parameter, or keep state that cannot be restarted.
        """
        if optimizers != self._checked or not optimizers:
            moments.holders(optimizers, list(self.parameters()))
            self._checked = optimizers
        for batch in self.batches:
            batch.write(self.steps_in_episode)
        self.steps += 1
        self.steps_in_episode += 1
        if self.steps_in_episode == self.settings.resample_every:
            self._end_episode(optimizers)

    def _end_episode(self, optimizers: tuple[Optimizer, ...]) -> None:
        self.journal.note(self.episode, self.steps, self.forms, self._dense)
        found = moments.holders(optimizers, list(self.parameters()))
        for batch in self.batches:
            end_episode(batch, found, resets_moments=self.settings.moments == "reset")
        self.episode += 1
        self.steps_in_episode = 0

    @property
    def batches(self) -> list[Batch]:
        """The masked weights, in batches that are stepped together."""
        return self._batches.of(self._attachment.forms)

    def bind(self, optimizer: Optimizer) -> None:
        """Sorts masked weights by the parameter groups of a `gmixout.AdamW`, which calls this itself."""
        self._batches.bind(optimizer, self.forms)

    def members(self) -> list[Member]:
        """Lists the visited sub-networks that can be rebuilt, oldest first, the unfinished episode's last."""
        members = self.journal.members()
        if self.steps_in_episode:
            members.append(Member("visited", self.episode, self.steps))
        return members

    def fresh(self, number: int) -> list[Member]:
        """Names ``number`` sub-networks of new masks over the final anchor and values.

        With ``residual="reset"`` only the last episode's values differ from the anchor, so fresh members do, too.
        """
        return [Member("fresh", draw, self.steps) for draw in range(number)]

    @contextlib.contextmanager
    def using(self, member: Member) -> Iterator[nn.Module]:
        """The model with a member's weights; afterwards all is as before, bit for bit.

        Raises:
            ValueError: If the member cannot be rebuilt.
        """
        dense: Mapping[str, Tensor] = {}
        if member.kind == "fresh":
            keys = [tensor_key(self.settings.seed, f"fresh:{form.name}") for form in self.forms]
            weights = [fresh_weight(form, member.episode, key) for form, key in zip(self.forms, keys, strict=True)]
        elif self.steps_in_episode and member.episode == self.episode:
            weights = [form.effective_weight() for form in self.forms]
        else:
            weights = [self.journal.rebuild(member, form) for form in self.forms]
            dense = self.journal.entries[member.episode]["dense"]
        with self._swapped(weights, dense):
            yield self.model

    @contextlib.contextmanager
    def reported(self) -> Iterator[nn.Module]:
        """The model with the weights that ``settings.report`` names; afterwards all is as before, bit for bit."""
        with self._swapped([form.reported_weight() for form in self.forms], {}):
            yield self.model

    @contextlib.contextmanager
    def _swapped(self, weights: list[Tensor], dense: Mapping[str, Tensor]) -> Iterator[None]:
        outer = [form.override for form in self.forms]
        kept = {name: self._dense[name].detach().clone() for name in dense}
        try:
            self._put(weights, dense)
            yield
        finally:
            self._put(outer, kept)

    @torch.no_grad()
    def _put(self, weights: list[Tensor] | list[Tensor | None], dense: Mapping[str, Tensor]) -> None:
        for form, weight in zip(self.forms, weights, strict=True):
            form.override = weight
        for name, value in dense.items():
            self._dense[name].copy_(value)

    def counts(self) -> Counts:
        """Counts parameters: in all, by role, trained in one episode, touched over the run."""
        frozen = sum(target.parameter.numel() for target in self._roles.frozen)
        return count(self.forms, sum(p.numel() for p in self._dense.values()), frozen, self.visited)

    @property
    def visited(self) -> int:
        """Sub-networks visited so far: finished episodes, and the current one if it has taken a step."""
        return self.episode + (self.steps_in_episode > 0)

    def describe(self) -> str:
        """A table of every parameter's role and of what its mask keeps."""
        return describe(self.forms, self._roles)

    def state_dict(self) -> dict[str, Any]:
        """Everything the method trains and knows, by reference; module buffers and frozen weights are the model's.

        Saved beside the model's and the optimiser's state, a run resumes bit for bit, also in the middle of an episode.
        """
        return {
            "settings": dataclasses.asdict(self.settings),
            "fingerprint": self.fingerprint,
            "steps": self.steps,
            "steps_in_episode": self.steps_in_episode,
            "episode": self.episode,
            "masked": {form.name: form.state() for form in self.forms},
            "dense": {name: parameter.detach() for name, parameter in self._dense.items()},
            "journal": self.journal.state(),
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up a saved state in place.

        Raises:
            ValueError: If it comes from another base model or from other settings.
        """
        refuse_foreign(state, self.fingerprint, self.settings, set(self._dense))
        self.steps, self.steps_in_episode = state["steps"], state["steps_in_episode"]
        self.episode = state["episode"]
        for form in self.forms:
            form.restore(state["masked"][form.name], self.episode)
        for name, value in state["dense"].items():
            sharded.copy_into(self._dense[name], value)
        self.journal.restore(state["journal"])

    @torch.no_grad()
    def merge(self) -> nn.Module:
        """Writes the reported weights into the model and removes the method: a plain module, a plain state dict.

        Returns:
            The model, the same object; every parameter is the object it was before attaching.

        Raises:
            ValueError: If `fully_shard` has split the model.
        """
        sharded.refuse_merge(self.forms)
        weights = {form.name: form.reported_weight() for form in self.forms}
        parallel.let_go(self.model)
        self._attachment.detach(weights)
        return self.model
