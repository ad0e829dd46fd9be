"""Rendered pictures on disk: every process of a study reads in 0.1 s what takes 5 s of one core to draw."""

from __future__ import annotations

import functools
import hashlib
import logging
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from studies.atomic import write_atomically
from studies.benchmarks.benchmark import Split
from studies.benchmarks.roots import cache_folder

LIBRARIES = ("numpy", "scipy", "scikit-learn", "matplotlib", "pillow")
"""What pictures are drawn with; another version draws them anew."""

PARTS = ("images", "labels", "sources")
_HASH_BYTES = 32
_log = logging.getLogger(__name__)


def keep(splits: Iterable[Split]) -> None:
    """Writes splits to the cache folder; one that cannot be written is logged, and nothing else."""
    arrays: dict[str, np.ndarray] = {}
    for split in splits:
        # A transposed array's memory is not in its order, and memory is what is written.
        arrays |= {f"{split.name} {part}": np.ascontiguousarray(getattr(split, part)) for part in PARTS}
    content = save(arrays)
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: (file.write(hashlib.sha256(content).digest()), file.write(content)))
    except OSError as error:
        _log.info("cannot keep the rendered digits in %s: %s", path.parent, error)


def kept() -> dict[str, Split]:
    """The splits in the cache folder, by name; empty where there are none, or damaged ones."""
    try:
        stored = _path().read_bytes()
    except OSError:
        return {}
    content = stored[_HASH_BYTES:]
    if hashlib.sha256(content).digest() != stored[:_HASH_BYTES]:
        _log.warning("the rendered digits in %s are damaged (hash mismatch); drawing them again", _path())
        return {}
    try:
        arrays = load(content)
    except SafetensorError:
        return {}
    names = {key.rpartition(" ")[0] for key in arrays}
    return {name: Split(name, *(arrays[f"{name} {part}"] for part in PARTS)) for name in names}


def _path() -> Path:
    return cache_folder() / "digits" / f"{_key()[:16]}.bin"


@functools.cache
def _key() -> str:
    """SHA-256 (hex) of all that decides the pictures: our code, byte for byte, the libraries, the kind of processor."""
    digest = hashlib.sha256(platform.machine().encode())
    digest.update(" ".join(f"{library} {version(library)}" for library in LIBRARIES).encode())
    folder = Path(__file__).parents[1]
    for path in sorted([*folder.glob("*.py"), *folder.glob("corruptions/*.py"), *folder.glob("digits/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()
