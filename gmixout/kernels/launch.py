"""Where kernels can run: on CUDA tensors, or anywhere when Triton interprets them.

``TRITON_INTERPRET=1``, set before the first import of Triton, interprets kernels on CPU tensors: slow, for tests.
``GMIXOUT_KERNELS=off`` turns every kernel off, so that plain torch does all the work.
"""

import contextlib
import functools
import os

import torch
from torch import Tensor

try:
    import triton
except ImportError:  # Triton has no wheels for some systems.
    triton = None

INTERPRETED: bool = triton is not None and bool(triton.knobs.runtime.interpret)

_SWITCHES = ("auto", "off")


def is_available(tensor: Tensor) -> bool:
    """Whether a kernel can run on a tensor where it lies.

    Example:
        >>> is_available(torch.zeros(1)) == INTERPRETED
        True
    """
    return triton is not None and (tensor.is_cuda or (INTERPRETED and tensor.device.type == "cpu"))


@functools.cache
def are_enabled() -> bool:
    """Whether the environment leaves kernels on: ``GMIXOUT_KERNELS`` is ``auto`` (default) or ``off``; read once.

    Raises:
        ValueError: If the variable holds anything else.
    """
    switch = os.environ.get("GMIXOUT_KERNELS", "auto")
    if switch not in _SWITCHES:
        raise ValueError(f"GMIXOUT_KERNELS must be one of {', '.join(_SWITCHES)}, got {switch!r}")
    return switch == "auto"


def on_device(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """A context in which launches go to the tensor's device: Triton launches on the current one."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
