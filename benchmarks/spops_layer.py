"""A linear layer whose sparse weight gradient is spops' sampled product, as RoSA uses it; needs IST-DASLab's spops.

Its values are written into the dense weight after every step, as ours are, so that only the gradient differs.
Source of the calling convention: github.com/IST-DASLab/spops, and `RoSALinearFunction` of peft-rosa.
"""

from typing import Any

import spops
import torch
from torch import Tensor, nn

from benchmarks.models import masked_layers
from benchmarks.run import Run, fused_adamw


class _SampledLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, values: Tensor, *places: Tensor) -> Tensor:  # type: ignore[override]
        tokens = inputs.reshape(-1, inputs.shape[-1])
        if torch.is_autocast_enabled(inputs.device.type):
            dtype = torch.get_autocast_dtype(inputs.device.type)
            tokens, weight, bias = tokens.to(dtype), weight.to(dtype), bias.to(dtype)
        ctx.save_for_backward(tokens, weight, *places)
        ctx.shape = inputs.shape
        return torch.addmm(bias, tokens, weight.t()).reshape(*inputs.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        tokens, weight, offsets, order, columns = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, gradients[0].shape[-1])
        for_values = spops.sddmm(offsets, order, columns, gradient.t().contiguous(), tokens.t().contiguous())
        return (gradient @ weight).reshape(ctx.shape), None, gradient.sum(0), for_values, None, None, None


class SampledLinear(nn.Module):
    """A linear layer that trains the given fraction of every row's entries."""

    def __init__(self, layer: nn.Linear, density: float) -> None:
        super().__init__()
        rows, inputs = layer.weight.shape
        count = max(1, round(density * inputs))
        device = layer.weight.device
        drawn = torch.rand(rows, inputs, device=device).topk(count, dim=1).indices.sort(dim=1).values
        self.weight, self.bias = layer.weight.requires_grad_(False), layer.bias
        self.columns = drawn.reshape(-1).to(torch.int16)
        self.offsets = torch.arange(0, rows * count + 1, count, dtype=torch.int32, device=device)
        self.order = torch.arange(rows, dtype=torch.int16, device=device)
        self.places = (torch.arange(rows, device=device)[:, None] * inputs + drawn).reshape(-1)
        self.values = nn.Parameter(self.weight.detach().view(-1)[self.places])

    def forward(self, inputs: Tensor) -> Tensor:
        return _SampledLinear.apply(inputs, self.weight, self.bias, self.values, self.offsets, self.order, self.columns)

    @torch.no_grad()
    def write(self) -> None:
        """Puts the values into the weight."""
        self.weight.view(-1).index_copy_(0, self.places, self.values)


def build(model: nn.Module, density: float) -> Run:
    """Replaces the linear layers of the blocks; biases, norms and the head train densely."""
    targets = set(masked_layers(model))
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.ndim < 2)
    model.head.requires_grad_(True)  # type: ignore[union-attr]
    replaced = []
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and child in targets:
                replaced.append(SampledLinear(child, density))
                setattr(module, name, replaced[-1])

    def write() -> None:
        for layer in replaced:
            layer.write()

    return Run(model, fused_adamw(model.parameters()), after=write)
