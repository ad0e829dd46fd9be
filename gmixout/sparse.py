"""The sparse form of a masked weight: dense is only the weight itself, all else lives on the support.

Off the support the effective weight equals the anchor, so the weight tensor holds both. On the support the form keeps
the trained values, their anchor, a 32-bit index and, where asked, a running average.
"""

import torch
from torch import Tensor, nn

from gmixout import ops
from gmixout.form import Form
from gmixout.masks import MaskPlan


class SparseForm(Form):
    """Trains ``plan.kept_entries`` values of a weight and writes them into it in place.

    Args:
        name: Qualified name of the weight.
        plan: How it is masked; `gmixout.form.is_sparse` must hold.
        weight: The module's parameter, contiguous. It stops requiring a gradient.
    """

    index: Tensor

    def __init__(self, name: str, plan: MaskPlan, weight: nn.Parameter) -> None:
        super().__init__(name, plan, weight)
        weight.requires_grad_(False)
        support = plan.support(0, weight.device)
        index_dtype = torch.int32 if plan.entries < 2**31 else torch.int64
        anchor = self._flat[support]
        self.register_buffer("index", support.to(index_dtype), persistent=False)
        self.register_buffer("anchor", anchor, persistent=False)
        self.register_buffer("shadow", anchor.clone() if plan.settings.follows_steps else None, persistent=False)
        self.values = nn.Parameter(self.trained_of(anchor, anchor).clone())

    def forward(self, weight: Tensor) -> Tensor:
        """Hands out the weight; its gradient reaches the values on the support."""
        if self.override is not None:
            return self.override
        return ops.route(weight, self.values, self.index, self.gradient_scale)

    @property
    def trained(self) -> nn.Parameter:
        return self.values

    @property
    def _flat(self) -> Tensor:
        return self.weight.detach().view(-1)

    def _effective_values(self) -> Tensor:
        return self.stretched(self.student_of(self.values.detach(), self.anchor), self.anchor)

    def written(self, step: int) -> None:
        effective = self._effective_values()
        self._flat.index_copy_(0, self.index.long(), effective)
        self.finished = None
        self.follow(effective, step)

    def end_episode(self) -> tuple[Tensor, Tensor]:
        old = self.index.long()
        flat = self._flat
        self.finished = (self.values.detach().clone(), self.anchor.clone())
        flat.index_copy_(0, old, self.next_anchor(flat[old]))
        self.episode += 1
        self.redraw()
        new = self.index.long()
        self.anchor.copy_(flat[new])
        if self.shadow is not None:
            self.shadow.copy_(self.anchor)
        with torch.no_grad():
            self.values.copy_(self.trained_of(self.anchor, self.anchor))
        return old, new

    def redraw(self) -> None:
        self.index.copy_(self.plan.support(self.episode, self.index.device))

    def _with(self, support: Tensor, values: Tensor) -> Tensor:
        weight = self.weight.detach().clone()
        weight.view(-1).index_copy_(0, support, values)
        return weight

    def _last(self) -> tuple[Tensor, Tensor, Tensor]:
        """Support, student's values and anchor that the last step left."""
        if self.finished is None:
            return self.index.long(), self.student_of(self.values.detach(), self.anchor), self.anchor
        support = self.plan.support(self.episode - 1, self.index.device)
        trained, anchor = self.finished
        return support, self.student_of(trained, anchor), anchor

    def anchor_weight(self) -> Tensor:
        return self._with(self.index.long(), self.anchor)

    def effective_weight(self) -> Tensor:
        support, student, anchor = self._last()
        return self._with(support, self.stretched(student, anchor))

    def student_weight(self) -> Tensor:
        support, student, _ = self._last()
        return self._with(support, student)

    def entry(self) -> tuple[Tensor, Tensor]:
        """What the journal keeps of this episode: the anchor and the effective values on the support, copied."""
        return self.anchor.clone(), self._effective_values().clone()
