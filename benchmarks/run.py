"""One rival at work: a model, its optimiser, and a training step."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

LEARNING_RATE = 1e-4


class Run:
    """A training step, and everything that lives between two of them.

    Args:
        model: The network. On a GPU it runs in bfloat16 autocast, on a CPU in float32.
        optimizer: Steps what trains.
        forward: From images to logits; the model's own if it is None.
        after: Called after every optimiser step, or None.
        kept: Whatever else the rival keeps, for counting its memory.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        forward: Callable[[Tensor], Tensor] | None = None,
        after: Callable[[], object] | None = None,
        kept: object = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.forward = forward or model
        self.after = after
        self.kept = kept

    def compile(self) -> "Run":
        """Compiles the forward pass, and the backward pass with it; optimisers are fused already."""
        self.forward = torch.compile(self.forward, fullgraph=False)
        return self

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The forward pass."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
            return functional.cross_entropy(self.forward(images), labels)

    def update(self) -> None:
        """What follows the backward pass, up to dropping the gradients."""
        self.optimizer.step()
        if self.after is not None:
            self.after()

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One training step."""
        self.loss(images, labels).backward()
        self.update()
        self.optimizer.zero_grad()


def fused_adamw(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """torch's own fused AdamW over what trains, the same for all rivals."""
    return torch.optim.AdamW([p for p in parameters if p.requires_grad], lr=LEARNING_RATE, fused=True)
