"""What the method keeps for one masked weight: the interface that both of its forms share.

A form is a torch parametrisation: it sits between a module and its weight, and the module that reads its weight gets
the effective weight. `gmixout.sparse.SparseForm` keeps one dense tensor, the weight itself, and everything else on the
support. `gmixout.dense.DenseForm` keeps the student and the anchor densely, for carried residuals, coin-flip masks and
supports that change size. Where both apply they hold the same mathematics.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gmixout import reference
from gmixout.masks import MaskPlan


def is_sparse(plan: MaskPlan) -> bool:
    """Whether the sparse form can hold a weight: residuals that restart on a support that never changes size."""
    settings = plan.settings
    restarts = settings.residual == "reset" or math.isinf(settings.resample_every)
    return restarts and settings.count == "exact" and plan.has_equal_units and settings.anchor != "zero"


class Form(nn.Module):
    """One masked weight: its mask, its trained values, its anchor.

    Attributes:
        name: Qualified name of the weight in the model.
        plan: How the weight is masked.
        episode: Number of the current episode, from 0.
        override: A weight to hand out in place of the effective one, or None. Members are swapped in through it.
        finished: Trained values and anchor at the end of the last episode, until the next step is taken; else None.
        casts: Whether every layer that reads the weight has it cast under autocast, so that the form may do it itself.
    """

    anchor: Tensor
    shadow: Tensor | None

    def __init__(self, name: str, plan: MaskPlan, weight: nn.Parameter) -> None:
        super().__init__()
        self.name = name
        self.plan = plan
        self.settings = plan.settings
        self.episode = 0
        self.override: Tensor | None = None
        self.finished: tuple[Tensor, Tensor] | None = None
        self.casts = False
        self._home: dict[str, Any] = {"original": weight}

    @property
    def weight(self) -> nn.Parameter:
        """The module's own parameter: the effective weight (sparse form) or what is trained (dense form)."""
        return self._home["original"]

    def live_in(self, home: dict[str, Any]) -> None:
        """Looks the weight up, from now on, among the parameters of the module that torch moved it to.

        `fully_shard` puts other tensors in its place; and held as an attribute it would be registered a second time.
        """
        self._home = home

    @property
    def trained(self) -> nn.Parameter:
        """The parameter that an optimiser trains."""
        raise NotImplementedError

    def written(self, step: int) -> None:
        """Takes up the trained values after an optimiser step, number ``step`` (from 0) of the episode."""
        raise NotImplementedError

    def end_episode(self) -> None:
        """Absorbs the weights into the anchor and draws the next mask. `gmixout.batches` does it for many at once."""
        self.absorb()
        self.redraw()
        self.restart()

    def absorb(self) -> None:
        """Ends the episode: moves the anchor, and counts to the next episode."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draws the mask of the current episode."""
        raise NotImplementedError

    def restart(self) -> None:
        """Begins the episode whose mask has been drawn."""
        raise NotImplementedError

    def positions(self) -> Tensor | None:
        """Flat positions of the trained values in the weight, or None where they never move."""
        return None

    def anchor_weight(self) -> Tensor:
        """The anchor Φ, a new dense tensor."""
        raise NotImplementedError

    def effective_weight(self) -> Tensor:
        """The effective weight W that the last step left, a new dense tensor."""
        raise NotImplementedError

    def student_weight(self) -> Tensor:
        """The student's weight Φ + Δ that the last step left, a new dense tensor."""
        raise NotImplementedError

    def reported_weight(self) -> Tensor:
        """The weight that ``settings.report`` names, a new dense tensor."""
        weights = {"anchor": self.anchor_weight, "effective": self.effective_weight, "student": self.student_weight}
        return weights[self.settings.report]()

    def state(self) -> dict[str, Any]:
        """What `restore` needs, by reference. Masks are not stored: they are redrawn."""
        return {
            "weight": self.weight.detach(),
            "trained": self.trained.detach(),
            "anchor": self.anchor,
            "shadow": self.shadow,
            "finished": self.finished,
        }

    def restore(self, state: Mapping[str, Any], episode: int) -> None:
        """Takes up a state in place, bit for bit, so that optimisers keep their parameters."""
        self.episode = episode
        with torch.no_grad():
            self._restore_weight(state)
            self.anchor.copy_(state["anchor"])
            if self.shadow is not None:
                self.shadow.copy_(state["shadow"])
        finished = state["finished"]
        self.finished = None if finished is None else (finished[0].to(self.anchor), finished[1].to(self.anchor))
        self.redraw()

    def _restore_weight(self, state: Mapping[str, Any]) -> None:
        self.weight.copy_(state["weight"])
        self.trained.copy_(state["trained"])

    def stretched(self, student: Tensor, anchor: Tensor) -> Tensor:
        """Effective values on the mask."""
        return reference.stretch(student, anchor, self.settings.scale)

    def student_of(self, trained: Tensor, anchor: Tensor) -> Tensor:
        """The student's values: what is trained, or the anchor plus the trained residual."""
        return anchor + trained if self.settings.decay_to == "anchor" else trained

    def trained_of(self, student: Tensor, anchor: Tensor) -> Tensor:
        """The inverse of `student_of`."""
        return student - anchor if self.settings.decay_to == "anchor" else student

    def use_dtype(self, weight: Tensor) -> torch.dtype:
        """The dtype to hand a weight out in: autocast's own where its layers would cast it anyway."""
        device = weight.device.type
        is_cast = self.casts and weight.dtype == torch.float32 and torch.is_autocast_enabled(device)
        return torch.get_autocast_dtype(device) if is_cast else weight.dtype

    @property
    def gradient_scale(self) -> float:
        """The factor of the gradient: c, or 1 as the public Mixout code has it."""
        return self.settings.scale if self.settings.gradient == "exact" else 1.0

    def follow(self, effective: Tensor, step: int) -> None:
        """Moves the per-step average, where the settings ask for one."""
        if self.shadow is not None:
            self.shadow.copy_(reference.absorb(self.shadow, effective, self.settings.old_anchor_weight(step)))

    def next_anchor(self, effective: Tensor) -> Tensor:
        """The anchor after this episode: the per-step average, or the old anchor mixed with the weights."""
        if self.shadow is not None:
            return self.shadow.clone()
        return reference.absorb(self.anchor, effective, self.settings.old_anchor_weight(self.episode))
