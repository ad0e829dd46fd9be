"""The sparse form of a masked weight: dense is only the weight itself, all else lives on the support.

Off the support the effective weight equals the anchor, so the weight tensor holds both. On the support the form keeps
the trained values, their anchor, a small index and, where asked, a running average.
"""

import torch
from torch import Tensor, nn

from gmixout import ops
from gmixout.form import Form
from gmixout.masks import MaskPlan
from gmixout.supports import support_of


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
        self.support = support_of(plan)
        index = self.support.draw(0, weight.device)
        anchor = self.support.gather(weight.detach(), index)
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("anchor", anchor, persistent=False)
        self.register_buffer("shadow", anchor.clone() if plan.settings.follows_steps else None, persistent=False)
        self.values = nn.Parameter(self.trained_of(anchor, anchor).clone())

    def forward(self, weight: Tensor) -> Tensor:
        """Hands out the weight; its gradient reaches the values on the support."""
        if self.override is not None:
            return self.override
        return ops.route(weight, self.values, self.index, self.support, self.gradient_scale, self.use_dtype(weight))

    @property
    def trained(self) -> nn.Parameter:
        return self.values

    def tensors(self) -> dict[str, Tensor | None]:
        """Everything that is kept of the weight, as a table of kernels names it."""
        names = {"weight": self.weight.detach(), "lo": None, "index": self.index, "values": self.values.detach()}
        return {**names, "anchor": self.anchor, "shadow": self.shadow}

    def weight_as(self, dtype: torch.dtype) -> Tensor:
        """The effective weight in a dtype, without a gradient: the stored one where it has that dtype."""
        return self.weight.detach().to(dtype)

    def dense(self) -> Tensor:
        """The stored weight, in the dtype of the values."""
        return self.weight.detach()

    def read(self, index: Tensor) -> Tensor:
        """The stored weight on a support, a new tensor."""
        return self.support.gather(self.weight.detach(), index)

    def write(self, index: Tensor, values: Tensor) -> None:
        """Writes the stored weight on a support, in place."""
        self.support.scatter(self.weight.detach(), index, values)

    def current_values(self) -> Tensor:
        """What is trained, by reference."""
        return self.values.detach()

    def _effective_values(self) -> Tensor:
        return self.stretched(self.student_of(self.current_values(), self.anchor), self.anchor)

    def written(self, step: int) -> None:
        effective = self._effective_values()
        self.write(self.index, effective)
        self.finished = None
        self.follow(effective, step)

    def remember(self) -> None:
        """Keeps what members and reports of the finished episode need until the next step is taken."""
        self.finished = (self.current_values().clone(), self.anchor.clone())

    def absorb(self) -> None:
        self.remember()
        self.write(self.index, self.next_anchor(self.read(self.index)))
        self.episode += 1

    def positions(self) -> Tensor:
        return self.support.positions(self.index)

    def redraw(self) -> None:
        self.take(self.support.draw(self.episode, self.index.device))

    def take(self, index: Tensor) -> None:
        """Takes up the index of the current episode's support."""
        self.index.copy_(index)

    def restart(self) -> None:
        self.anchor.copy_(self.read(self.index))
        if self.shadow is not None:
            self.shadow.copy_(self.anchor)
        with torch.no_grad():
            self.values.copy_(self.trained_of(self.anchor, self.anchor))

    def _with(self, index: Tensor, values: Tensor) -> Tensor:
        weight = self.dense().clone()
        self.support.scatter(weight, index, values)
        return weight

    def _last(self) -> tuple[Tensor, Tensor, Tensor]:
        """Index, student's values and anchor that the last step left."""
        if self.finished is None:
            return self.index, self.student_of(self.current_values(), self.anchor), self.anchor
        index = self.support.draw(self.episode - 1, self.index.device)
        trained, anchor = self.finished
        return index, self.student_of(trained, anchor), anchor

    def anchor_weight(self) -> Tensor:
        return self._with(self.index, self.anchor)

    def effective_weight(self) -> Tensor:
        index, student, anchor = self._last()
        return self._with(index, self.stretched(student, anchor))

    def student_weight(self) -> Tensor:
        index, student, _ = self._last()
        return self._with(index, student)

    def entry(self) -> tuple[Tensor, Tensor]:
        """What the journal keeps of this episode: the anchor and the effective values on the support, copied."""
        return self.anchor.clone(), self._effective_values().clone()
