"""Where kernels run: on CUDA tensors, or anywhere when Triton interprets them.

``TRITON_INTERPRET=1``, set before the first import of Triton, interprets kernels on CPU tensors: slow, for tests.
``GMIXOUT_KERNELS`` says which tensors take a kernel: ``auto`` (default) those on a GPU, ``on`` also interpreted ones on
the CPU, ``off`` none, so that plain torch does all the work.
"""

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import Tensor

try:
    import triton
except ImportError:  # Triton has no wheels for some systems.
    triton = None

INTERPRETED: bool = triton is not None and bool(triton.knobs.runtime.interpret)

_SWITCHES = ("auto", "on", "off")


def _checked(choice: str) -> str:
    if choice not in _SWITCHES:
        raise ValueError(f"GMIXOUT_KERNELS must be one of {', '.join(_SWITCHES)}, got {choice!r}")
    return choice


_chosen = {"switch": _checked(os.environ.get("GMIXOUT_KERNELS", "auto"))}


def is_available(tensor: Tensor) -> bool:
    """Whether a kernel can run on a tensor where it lies.

    Example:
        >>> is_available(torch.zeros(1)) == INTERPRETED
        True
    """
    return triton is not None and (tensor.is_cuda or (INTERPRETED and tensor.device.type == "cpu"))


def is_chosen(tensor: Tensor) -> bool:
    """Whether a kernel is to run on a tensor: it can, and the environment leaves it on.

    Example:
        >>> with switched("off"):
        ...     is_chosen(torch.zeros(1))
        False
    """
    choice = _chosen["switch"]
    return choice != "off" and (tensor.is_cuda or choice == "on") and is_available(tensor)


@contextlib.contextmanager
def switched(choice: str) -> Iterator[None]:
    """Another choice in place of the environment's, for comparisons.

    Args:
        choice: ``auto``, ``on`` or ``off``.
    """
    before, _chosen["switch"] = _chosen["switch"], _checked(choice)
    try:
        yield
    finally:
        _chosen["switch"] = before


def on_device(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """A context in which launches go to the tensor's device: Triton launches on the current one."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
