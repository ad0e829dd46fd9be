"""The precision of a training step's products: autocast, and the scaling of gradients that half precision needs."""

from contextlib import AbstractContextManager

import torch
from torch.amp import GradScaler


class Precision:
    """Products in half precision; weights, their gradients, averages and the optimiser's state stay float32.

    Autocast runs products of matrices and convolutions in the given type and keeps norms, softmax and losses in
    float32. bfloat16 has the range of float32 and needs nothing else. Small gradients vanish in float16, so the loss is
    scaled up before the backward pass and gradients down after it; a step whose gradients overflow is left out, and the
    scale is halved.

    Args:
        name: ``float32``, ``bfloat16`` or ``float16``.
        device: Where the model lives.

    Example:
        >>> with Precision("bfloat16", "cpu").products():
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """

    def __init__(self, name: str, device: str) -> None:
        self._dtype: torch.dtype = getattr(torch, name)
        self._device = torch.device(device).type

    def products(self) -> AbstractContextManager[object]:
        """The context that forward passes run in."""
        is_half = self._dtype != torch.float32
        return torch.autocast(self._device, self._dtype if is_half else None, enabled=is_half)

    def unscaled_products(self) -> AbstractContextManager[object]:
        """The same where no scaler is at work, as in attacks on images: float16 gives way to float32."""
        is_half = self._dtype == torch.bfloat16
        return torch.autocast(self._device, self._dtype if is_half else None, enabled=is_half)

    def scaler(self) -> GradScaler:
        """A new scaler of gradients, which leaves everything as it is but in float16."""
        return GradScaler(self._device, enabled=self._dtype == torch.float16)
