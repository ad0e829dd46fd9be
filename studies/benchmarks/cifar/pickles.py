"""Reads CIFAR's Python pickles without running anything: a pickle is a program, and these come from the network."""

from __future__ import annotations

import codecs
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core import multiarray

from studies.benchmarks.roots import DataError


def _encode(text: str, encoding: str) -> bytes:
    # How newer Pythons write bytes in old pickles; other codecs could expand without limit.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
    return codecs.encode(text, "latin1")


ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): multiarray._reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): multiarray._reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}
"""All that such a pickle may name: what makes a NumPy array."""


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no CIFAR file does")
        return ALLOWED[module, name]


def read_pickle(file: Path) -> dict[str, Any]:
    """Reads one of CIFAR's files: a table with names such as ``data`` and ``fine_labels``.

    Args:
        file: A pickle of Python 2 (the publisher's) or 3.

    Returns:
        The table; keys as text.

    Raises:
        DataError: If the file is absent, cut off, not such a table, or names anything but arrays.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"there is no file {file}") from error
    try:
        found = _Restricted(io.BytesIO(content), encoding="bytes").load()
    # A damaged pickle can raise nearly anything on its way.
    except Exception as error:
        raise DataError(f"cannot read {file}: {error}; get it again from its publisher") from error
    if not isinstance(found, dict):
        raise DataError(f"{file} must hold a table, it holds {type(found).__name__}")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in found.items()}
