"""The dense form of a masked weight: student and anchor are kept whole, and mixed anew at every use.

Carried residuals need it, for the student's weights persist off the mask; so do masks whose size changes.
"""

import torch
from torch import Tensor, nn

from gmixout import ops, reference
from gmixout.form import Form
from gmixout.masks import MaskPlan


class DenseForm(Form):
    """Trains the module's own parameter through `gmixout.reference.mix`; held entries get a zero gradient.

    Args:
        name: Qualified name of the weight.
        plan: How it is masked.
        weight: The module's parameter: from now on the student's weight, or with ``decay_to="anchor"`` its residual.
    """

    keep: Tensor

    def __init__(self, name: str, plan: MaskPlan, weight: nn.Parameter) -> None:
        super().__init__(name, plan, weight)
        pretrained = weight.detach().clone()
        anchor = torch.zeros_like(pretrained) if plan.settings.anchor == "zero" else pretrained
        self.register_buffer("anchor", anchor, persistent=False)
        self.register_buffer("shadow", anchor.clone() if plan.settings.follows_steps else None, persistent=False)
        self.register_buffer("keep", plan.keep(0, weight.device), persistent=False)
        with torch.no_grad():
            weight.copy_(self.trained_of(pretrained, anchor))

    def forward(self, weight: Tensor) -> Tensor:
        """Hands out the effective weight; its gradient reaches the trained parameter on the mask."""
        if self.override is not None:
            return self.override
        student = self.student_of(weight, self.anchor)
        return ops.mix(student, self.anchor, self.keep, self.settings.scale, self.gradient_scale)

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

    def end_episode(self) -> None:
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
        self.redraw()

    def redraw(self) -> None:
        self.keep.copy_(self.plan.keep(self.episode, self.keep.device))

    def _last(self) -> tuple[Tensor, Tensor, Tensor]:
        """Student, anchor and mask that the last step left."""
        if self.finished is None:
            return self._student, self.anchor, self.keep
        trained, anchor = self.finished
        return self.student_of(trained, anchor), anchor, self.plan.keep(self.episode - 1, self.keep.device)

    def anchor_weight(self) -> Tensor:
        return self.anchor.clone()

    def effective_weight(self) -> Tensor:
        student, anchor, keep = self._last()
        return reference.mix(student, anchor, keep, self.settings.scale)

    def student_weight(self) -> Tensor:
        return self._last()[0].clone()
