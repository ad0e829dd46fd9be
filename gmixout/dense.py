"""The dense form of a masked weight: student and anchor are kept whole, and mixed anew at every use.

Carried residuals need it, for the student's weights persist off the mask; so do masks whose size changes.
"""

import torch
from torch import Tensor, nn

from gmixout import ops, reference
from gmixout.form import Form
from gmixout.kernels.launch import is_chosen
from gmixout.masks import MaskPlan
from gmixout.sampling import coin_threshold


class DenseForm(Form):
    """Trains the module's own parameter through `gmixout.reference.mix`; held entries get a zero gradient.

    Args:
        name: Qualified name of the weight.
        plan: How it is masked.
        weight: The module's parameter: from now on the student's weight, or with ``decay_to="anchor"`` its residual.
    """

    stored: Tensor | None
    number: Tensor

    def __init__(self, name: str, plan: MaskPlan, weight: nn.Parameter) -> None:
        super().__init__(name, plan, weight)
        pretrained = weight.detach().clone()
        anchor = torch.zeros_like(pretrained) if plan.settings.anchor == "zero" else pretrained
        self.register_buffer("anchor", anchor, persistent=False)
        self.register_buffer("shadow", anchor.clone() if plan.settings.follows_steps else None, persistent=False)
        # On the device, so that a compiled or captured step sees the next episode's.
        self.register_buffer("number", torch.zeros(1, dtype=torch.int64, device=weight.device), persistent=False)
        self.register_buffer("stored", None, persistent=False)
        key = plan.key - 2**64 if plan.key >= 2**63 else plan.key
        self._coins = (key, coin_threshold(plan.settings.sparsity))
        if not self.draws_in_kernels:
            self.stored = plan.keep(0, weight.device)
        with torch.no_grad():
            weight.copy_(self.trained_of(pretrained, anchor))

    def forward(self, weight: Tensor) -> Tensor:
        """Hands out the effective weight; its gradient reaches the trained parameter on the mask."""
        if self.override is not None:
            return self.override
        if self.stored is None and not self.draws_in_kernels:
            self.redraw()
        student = self.student_of(weight, self.anchor)
        mask = ops.Mask(self.stored, self.number, self._coins)
        return ops.mix(student, self.anchor, mask, self.settings.scale, self.gradient_scale, self.use_dtype(weight))

    @property
    def draws_in_kernels(self) -> bool:
        """Whether each use draws the mask anew, so that none is stored: single coins, where kernels run."""
        settings = self.settings
        return settings.count == "bernoulli" and settings.granularity == "element" and is_chosen(self.weight)

    @property
    def keep(self) -> Tensor:
        """The mask of the current episode, bool, shape of the weight."""
        return self.plan.keep(self.episode, self.anchor.device) if self.stored is None else self.stored

    def take(self, keep: Tensor | None) -> None:
        """Takes up the mask of the current episode; None where kernels draw it."""
        self.number.fill_(self.episode)
        if keep is None or self.stored is None:
            self.stored = keep
        else:
            self.stored.copy_(keep)

    @property
    def trained(self) -> nn.Parameter:
        return self.weight

    @property
    def _student(self) -> Tensor:
        return self.student_of(self.weight.detach(), self.anchor)

    @property
    def _is_anchor_fixed(self) -> bool:
        return self.settings.anchor in ("pretrained", "zero")

    def written(self, step: int) -> None:
        self.finished = None
        if self.shadow is not None:
            self.follow(reference.mix(self._student, self.anchor, self.keep, self.settings.scale), step)

    def absorb(self) -> None:
        restarts = self.settings.residual == "reset"
        # A fixed anchor and a persistent student can be read later as they are: no copies at every step of Mixout.
        if restarts or not self._is_anchor_fixed:
            self.finished = (self.weight.detach().clone(), self.anchor.clone())
        else:
            self.finished = (self.weight.detach(), self.anchor)
        student = self._student
        if not self._is_anchor_fixed:
            effective = reference.mix(student, self.anchor, self.keep, self.settings.scale)
            self.anchor.copy_(self.next_anchor(effective))
            if self.shadow is not None:
                self.shadow.copy_(self.anchor)
        with torch.no_grad():
            if restarts:
                self.weight.copy_(self.trained_of(self.anchor, self.anchor))
            elif self.settings.decay_to == "anchor":
                self.weight.copy_(student - self.anchor)
        self.episode += 1

    def redraw(self) -> None:
        self.take(None if self.draws_in_kernels else self.plan.keep(self.episode, self.anchor.device))

    def restart(self) -> None:
        pass

    def _last(self) -> tuple[Tensor, Tensor, Tensor]:
        """Student, anchor and mask that the last step left."""
        if self.finished is None:
            return self._student, self.anchor, self.keep
        trained, anchor = self.finished
        return self.student_of(trained, anchor), anchor, self.plan.keep(self.episode - 1, self.anchor.device)

    def anchor_weight(self) -> Tensor:
        return self.anchor.clone()

    def effective_weight(self) -> Tensor:
        student, anchor, keep = self._last()
        return reference.mix(student, anchor, keep, self.settings.scale)

    def student_weight(self) -> Tensor:
        return self._last()[0].clone()
